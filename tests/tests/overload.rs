//! More than can be done: the excess is told at once to come again, and what can be done is done.
//!
//! Open loop: a request is due when it is due, whatever became of those before, and its time counts
//! from then. In a program of its own, because it takes the whole machine, and measures it.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "in tests a panic is the way to tell, and a figure is printed"
)]

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sluice_tests::bench::percentile;
use sluice_tests::{Gateway, HomeBuilder, long};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{interval, timeout};

const SECRET: &str = "canary-overload-9d1e22b07c55";

/// What a call costs.
const CALL: Duration = Duration::from_millis(5);

/// Within which the excess is answered.
const SHED_MAX: Duration = Duration::from_millis(50);

/// Within which all are taken again, once there are no more than can be called.
const RECOVERY_MAX: Duration = Duration::from_secs(5);

/// Most memory that the gateway may ever take.
const MEMORY_MAX: u64 = 512 << 20;

/// Who has no answer by then has none.
const PATIENCE: Duration = Duration::from_secs(10);

/// One answer: whether it was taken, and how long after it was due.
#[derive(Clone, Copy, Debug)]
struct Answered {
    taken: bool,
    took: Duration,
}

/// What came of one load.
#[derive(Debug)]
struct Ran {
    goodput: f64,
    /// The share of the gateway's processor time that went into calls that were taken.
    useful: f64,
    shed: usize,
    shed_p50: Duration,
    shed_p99: Duration,
    /// Those of them that were answered later than [`RECOVERY_MAX`] after the beginning.
    shed_late: usize,
}

impl Ran {
    /// The better of two in each respect.
    fn or_better(self, other: &Self) -> Self {
        Self {
            goodput: self.goodput.max(other.goodput),
            useful: self.useful.max(other.useful),
            shed: self.shed.max(other.shed),
            shed_p50: self.shed_p50.min(other.shed_p50),
            shed_p99: self.shed_p99.min(other.shed_p99),
            shed_late: self.shed_late.min(other.shed_late),
        }
    }
}

async fn start(environment: &[(&str, &str)]) -> Gateway {
    let home = HomeBuilder::new()
        .guest("hostile")
        .unwrap()
        .secret("hostile-secret", SECRET)
        .ingest("requests_in_flight_max = 512")
        .toml(
            "[routes.hostile]\npath = \"/hooks/hostile\"\nplugin = \"hostile\"\n\
             secrets = { shared = \"hostile-secret\" }\ndeadline = \"3s\"\n",
        )
        .build()
        .unwrap();
    home.start_with(environment).await.unwrap()
}

fn request(work: u64) -> Arc<[u8]> {
    let body = format!("work {work}");
    let length = body.len();
    let head = format!(
        "POST /hooks/hostile HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {SECRET}\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    );
    head.into_bytes().into()
}

/// A kept connection that does as little as it can: the load shares its machine with the gateway.
struct Kept {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Kept {
    async fn open(gateway: &Gateway) -> Self {
        let stream = TcpStream::connect(gateway.ingest()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, buffer: Vec::with_capacity(1_024) }
    }

    /// The status; 503 only with `Retry-After`.
    async fn ask(&mut self, request: &[u8]) -> u16 {
        self.stream.write_all(request).await.unwrap();
        self.buffer.clear();
        loop {
            let read = self.stream.read_buf(&mut self.buffer).await.unwrap();
            assert!(read > 0, "closed within an answer");
            let Some(end) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") else {
                continue;
            };
            let head = std::str::from_utf8(&self.buffer[..end]).unwrap();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.unwrap().parse().unwrap();
            if self.buffer.len() < end + 4 + length {
                continue;
            }
            let status: u16 = head.split(' ').nth(1).unwrap().parse().unwrap();
            assert!(status == 200 || status == 503, "{head}");
            assert!(status == 200 || head.contains("\r\nretry-after: "), "{head}");
            return status;
        }
    }
}

/// So much work that a call takes about [`CALL`] of a processor.
async fn calibrate(gateway: &Gateway) -> u64 {
    const CALLS: u32 = 20;
    let mut kept = Kept::open(gateway).await;
    let mut work = 1_000_000;
    for _ in 0..4 {
        let (request, before) = (request(work), gateway.processor_time().unwrap());
        for _ in 0..CALLS {
            kept.ask(&request).await;
        }
        let call = (gateway.processor_time().unwrap() - before) / CALLS;
        let share = CALL.as_secs_f64() / call.as_secs_f64();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "an amount of work among millions"
        )]
        {
            work = (work as f64 * share.clamp(0.1, 10.0)) as u64;
        }
    }
    work
}

/// Calls a second that the machine's processors have room for.
fn capacity() -> f64 {
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    #[expect(clippy::cast_precision_loss, reason = "there are few")]
    let rate = cores as f64 / CALL.as_secs_f64();
    rate
}

/// Offers `rate` requests a second for so long.
async fn offer(gateway: &Gateway, work: u64, rate: f64, lasts: Duration) -> Ran {
    let idle: Arc<Mutex<Vec<Kept>>> = Arc::default();
    let answers: Arc<Mutex<Vec<(Duration, Answered)>>> = Arc::default();
    let request = request(work);
    let before = gateway.processor_time().unwrap();
    let began = Instant::now();
    let mut ticks = interval(Duration::from_millis(2));
    let mut sent: u32 = 0;
    let mut clients = JoinSet::new();
    while began.elapsed() < lasts {
        ticks.tick().await;
        while began.elapsed().as_secs_f64() * rate > f64::from(sent) {
            let due = began + Duration::from_secs_f64(f64::from(sent) / rate);
            sent += 1;
            let kept = idle.lock().unwrap().pop();
            let mut kept = match kept {
                Some(kept) => kept,
                None => Kept::open(gateway).await,
            };
            let (request, idle) = (Arc::clone(&request), Arc::clone(&idle));
            let answers = Arc::clone(&answers);
            clients.spawn(async move {
                let asked = timeout(PATIENCE, kept.ask(&request)).await;
                let answered = Answered { taken: asked == Ok(200), took: due.elapsed() };
                answers.lock().unwrap().push((began.elapsed(), answered));
                if asked.is_ok() {
                    idle.lock().unwrap().push(kept);
                }
            });
        }
        while clients.try_join_next().is_some() {}
    }
    clients.join_all().await;
    let spent = (gateway.processor_time().unwrap() - before).as_secs_f64();
    let answers = answers.lock().unwrap();
    let mut shed: Vec<Duration> =
        answers.iter().filter(|(_, one)| !one.taken).map(|(_, one)| one.took).collect();
    shed.sort();
    let taken = answers.iter().filter(|(at, one)| one.taken && *at <= lasts).count();
    let all_taken = answers.iter().filter(|(_, one)| one.taken).count();
    #[expect(clippy::cast_precision_loss, reason = "some thousands")]
    let (goodput, useful) =
        (taken as f64 / lasts.as_secs_f64(), all_taken as f64 * CALL.as_secs_f64() / spent);
    let ran = Ran {
        goodput,
        useful,
        shed: shed.len(),
        shed_p50: percentile(&shed, 0.5),
        shed_p99: percentile(&shed, 0.99),
        shed_late: answers.iter().filter(|(at, one)| !one.taken && *at > RECOVERY_MAX).count(),
    };
    println!("{rate:.0} a second: {ran:?}");
    ran
}

/// One of these tests at a time.
static MACHINE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

#[tokio::test(flavor = "multi_thread")]
async fn the_excess_is_shed_at_once_and_goodput_stays() {
    let _machine = MACHINE.lock().await;
    let (rounds, lasts) = if long() { (3, 20) } else { (2, 3) };
    let gateway = start(&[]).await;
    let (work, capacity) = (calibrate(&gateway).await, capacity());
    println!("{work} steps a call, room for {capacity:.0} calls a second");
    // The best of some rounds: what else the machine does can only make each of them worse.
    let (mut most_useful, mut best) = (0.0, None::<Ran>);
    let mut kept = Vec::new();
    for _ in 0..rounds {
        // Of the same round: a minute later the machine may have less for everybody.
        let mut peak = 0.0;
        for factor in [1.0, 2.0, 5.0, 10.0] {
            let ran = offer(&gateway, work, capacity * factor, Duration::from_secs(lasts)).await;
            peak = f64::max(peak, ran.goodput);
            most_useful = f64::max(most_useful, ran.useful);
            if factor < 10.0 {
                continue;
            }
            assert!(ran.shed > 0, "no overload: {ran:?}");
            kept.push(ran.goodput / peak);
            best = Some(match best {
                Some(best) => best.or_better(&ran),
                None => ran,
            });
        }
    }
    let best = best.unwrap();
    kept.sort_by(f64::total_cmp);
    let kept = kept[kept.len() / 2];
    println!("at ten times what it can do: {best:?}, {kept:.2} of the round's most by the median");
    // A short run is made beside whatever else the machine does: that shows in the last hundredth of
    // the times, and in how much of the machine there is for the calls.
    if long() {
        assert!(best.shed_p99 <= SHED_MAX, "{best:?}");
        assert!(kept >= 0.8, "{kept:.2} of the round's most: {best:?}");
    }
    assert!(best.shed_p50 <= SHED_MAX, "{best:?}");
    assert!(best.useful >= 0.7 * most_useful, "{best:?}, of {most_useful:.2}");
    let after = offer(&gateway, work, capacity * 0.5, Duration::from_secs(6)).await;
    // Beside other work a call may run out of its own time, which is 503 as well: a few in the last
    // second's two hundred.
    assert!(after.shed_late <= 4, "it has not recovered: {after:?}");
    let memory = gateway.peak_memory().unwrap();
    println!("{} MiB at most", memory >> 20);
    assert!(memory <= MEMORY_MAX, "{memory} bytes");
}

/// The control: where everybody may wait, everybody does, and in vain.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_bound_of_the_queue_the_excess_waits_in_vain() {
    let _machine = MACHINE.lock().await;
    let gateway = start(&[("SLUICE_FAULT", "queue-without-bound")]).await;
    let work = calibrate(&gateway).await;
    let ran = offer(&gateway, work, capacity() * 3.0, Duration::from_secs(4)).await;
    assert!(ran.shed > 0 && ran.shed_p50 > SHED_MAX, "{ran:?}");
}
