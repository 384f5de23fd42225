//! The bench: a bare hyper server and the gateway under the same load, on the same machine, in
//! turns; the sandbox call by itself; memory, start and delivery. `cargo xtask bench` builds what
//! it measures and runs it.
//!
//! It fails unless every event that is stored was delivered, and the answers that clients counted
//! agree with what is stored.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a command line program speaks on its standard output")]

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use clap::Parser;
use sluice_tests::bench::adapters;
use sluice_tests::bench::counts::{Lines, stored_events};
use sluice_tests::bench::load::{self, Plan};
use sluice_tests::bench::table::{Bar, Figure, render};
use sluice_tests::bench::wrk::{self, Run};
use sluice_tests::bench::{
    DRAIN_MAX, against, call, http, median, percentile, settled, show, state,
};
use sluice_tests::provider::{VKYC_PATH, vkyc_payload};
use sluice_tests::{Gateway, Home, HomeBuilder, artifacts, wait_until};

/// Starts that are measured; the median counts.
const STARTS: usize = 5;

#[derive(Debug, Parser)]
#[expect(clippy::struct_excessive_bools, reason = "switches of a command line")]
#[command(name = "bench", about = "Measures the gateway beside a bare HTTP server")]
struct Options {
    /// Live idempotency keys in the store before anything is measured.
    #[arg(long, default_value_t = 1_000_000)]
    keys: u64,
    /// Length of each run under load.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Runs of each server, in turns.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Adapter calls in process.
    #[arg(long, default_value_t = 20_000)]
    calls: usize,
    /// Measure the bare server alone.
    #[arg(long)]
    bare: bool,
    /// Measure the adapters alone: a call of each, and its component.
    #[arg(long)]
    adapters: bool,
    /// Measure what has to do with adapters' state alone.
    #[arg(long)]
    state: bool,
    /// Measure HTTP/1.1 and HTTP/2, in the clear and by TLS, alone.
    #[arg(long)]
    http: bool,
    /// Measure the gateway in pairs with this other one, and fail where it is slower by a tenth.
    #[arg(long, value_name = "SLUICE")]
    against: Option<PathBuf>,
    /// Calls in the smaller and the larger store in which a payout is matched.
    #[arg(long, num_args = 2, default_values_t = [1_000, 1_000_000])]
    stored_calls: Vec<u64>,
    /// Expired entries of state, and as many ended keys, for retention to delete.
    #[arg(long, default_value_t = 500_000)]
    expired: u64,
}

/// The bare server as a process, killed on drop.
struct Bare {
    child: Child,
}

impl Bare {
    fn start() -> anyhow::Result<(Self, SocketAddr)> {
        let child = Command::new(artifacts::program("bare_hyper")?)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("starting bare_hyper")?;
        let mut bare = Self { child };
        let output = bare.child.stdout.take().context("bare_hyper has no output")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).context("reading bare_hyper's address")?;
        Ok((bare, line.trim().parse().context("bare_hyper's address")?))
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait()) {
            println!("could not end bare_hyper: {error}");
        }
    }
}

/// What clients know of all requests they sent to the gateway.
#[derive(Default)]
struct Told {
    answered_200: u64,
    /// Requests that wrk may have left without an answer when its time was up.
    abandoned_max: u64,
    runs: u64,
}

impl Told {
    fn wrk(&mut self, gateway: &Gateway, time: Duration) -> anyhow::Result<Run> {
        self.runs += 1;
        let ids = format!("{}-{}", std::process::id(), self.runs);
        let run = wrk::run(gateway.ingest(), VKYC_PATH, &ids, time)?;
        ensure!(run.refused == 0, "the gateway refused {} requests of wrk", run.refused);
        self.answered_200 += run.answered_200();
        self.abandoned_max += u64::from(wrk::CONNECTIONS);
        Ok(run)
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let time = Duration::from_secs(options.seconds);
    if options.bare {
        let (_bare, address) = Bare::start()?;
        for _ in 0..options.rounds {
            show("bare hyper", &wrk::run(address, VKYC_PATH, "bare", time)?);
        }
        return Ok(());
    }
    if let Some(other) = &options.against {
        let figures = against::figures(other, time, options.rounds).await?;
        println!("\n{}", render(&figures));
        ensure!(figures.iter().all(Figure::reached), "slower than the other by more than a tenth");
        return Ok(());
    }
    if options.state {
        return with_state(&options).await;
    }
    if options.http {
        return with_http(&options).await;
    }
    println!("Calling each adapter {} times", options.calls);
    println!("\n{}", adapters::render(&adapters::costs(options.calls)?));
    if options.adapters {
        return Ok(());
    }
    println!("Calling the adapter {} times", options.calls);
    let calls = call::times(options.calls)?;
    let home = HomeBuilder::new().vkyc(&["events"])?.events_file().build()?;
    let mut lines = Lines::of(home.data().join("events.jsonl"));
    let mut told = Told::default();
    fill(&home, &mut lines, &mut told, &options).await?;
    let starts = starts(&home, &mut told).await?;
    let gateway = home.start_with(&[]).await?;
    let (bare, loaded) = peaks(&gateway, &mut told, &options)?;
    let peak_memory = gateway.peak_memory()?;
    drained(&gateway, &mut lines, &told).await?;
    let peak = median_of(&loaded, Run::per_second);
    let half = half_load(&gateway, &mut lines, peak / 2.0, time, &mut told).await?;
    gateway.terminate().await?;
    let stored = stored_events(&home.data().join("sluice.db"))?;
    let delivered = lines.count()?;
    println!("\n{}", render(&figures(&calls, &starts, (&bare, &loaded), peak_memory, &half)));
    println!(
        "{stored} events stored, {} answers 200 counted by clients, {delivered} lines delivered",
        told.answered_200
    );
    ensure!(stored == delivered, "{stored} events are stored and {delivered} were delivered");
    agree(&told, stored)?;
    with_http(&options).await?;
    with_state(&options).await
}

async fn with_http(options: &Options) -> anyhow::Result<()> {
    let time = Duration::from_secs(options.seconds);
    println!("\n{}", render(&http::figures(time, options.rounds).await?));
    Ok(())
}

async fn with_state(options: &Options) -> anyhow::Result<()> {
    let Options { stored_calls, expired, seconds, rounds, .. } = options;
    let [few, many] = stored_calls.as_slice() else { bail!("two numbers of calls are wanted") };
    let time = Duration::from_secs(*seconds);
    let plan = state::Plan { calls: (*few, *many), expired: *expired, time, rounds: *rounds };
    println!("\n{}", render(&state::figures(&plan).await?));
    Ok(())
}

/// wrk closes its connections when its time is up, and does not count the requests in flight: they
/// may have been stored. Nothing else may be.
fn agree(told: &Told, stored: u64) -> anyhow::Result<()> {
    let Told { answered_200, abandoned_max, .. } = told;
    if stored < *answered_200 || stored > answered_200 + abandoned_max {
        bail!(
            "clients were answered 200 {answered_200} times, and at most {abandoned_max} of their \
             requests were abandoned; {stored} events are stored"
        );
    }
    Ok(())
}

/// Posts until the store holds the keys, as any provider would: what they weigh is real.
async fn fill(
    home: &Home,
    lines: &mut Lines,
    told: &mut Told,
    options: &Options,
) -> anyhow::Result<()> {
    println!("Filling the store with {} live idempotency keys", options.keys);
    let gateway = home.start_with(&[]).await?;
    while told.answered_200 < options.keys {
        let run = told.wrk(&gateway, Duration::from_secs(options.seconds))?;
        show("filling", &run);
        ensure!(run.answered_200() > 0, "the gateway answers nothing");
    }
    drained(&gateway, lines, told).await?;
    gateway.terminate().await?;
    Ok(())
}

/// Waits until everything that was answered is delivered.
async fn drained(gateway: &Gateway, lines: &mut Lines, told: &Told) -> anyhow::Result<()> {
    wait_until("delivery to catch up", DRAIN_MAX, || {
        let enough = lines.count().is_ok_and(|lines| lines >= told.answered_200);
        async move { enough.then_some(()) }
    })
    .await?;
    // What wrk abandoned is delivered too; nothing more comes once nothing is pending.
    settled(gateway).await
}

/// From the start of the process to the first answer 200.
async fn starts(home: &Home, told: &mut Told) -> anyhow::Result<Vec<f64>> {
    println!("Starting {STARTS} times");
    let mut times = Vec::new();
    for number in 0..STARTS {
        let started = Instant::now();
        let gateway = home.start_with(&[]).await?;
        let id = format!("trn:vkyc:start-{}-{number}", std::process::id());
        let answer = gateway.post_vkyc(vkyc_payload(&id)).await?;
        times.push(started.elapsed().as_secs_f64() * 1_000.0);
        ensure!(answer.status == 200, "the first answer was {}", answer.status);
        told.answered_200 += 1;
        gateway.terminate().await?;
    }
    Ok(times)
}

/// Both servers in turns, so that what else the machine does hits both.
fn peaks(
    gateway: &Gateway,
    told: &mut Told,
    options: &Options,
) -> anyhow::Result<(Vec<Run>, Vec<Run>)> {
    println!("Loading both servers in turns, {} connections", wrk::CONNECTIONS);
    let time = Duration::from_secs(options.seconds);
    let (mut bare, mut loaded) = (Vec::new(), Vec::new());
    for _ in 0..options.rounds {
        let (_server, address) = Bare::start()?;
        let run = wrk::run(address, VKYC_PATH, "bare", time)?;
        show("bare hyper", &run);
        bare.push(run);
        let run = told.wrk(gateway, time)?;
        show("gateway", &run);
        loaded.push(run);
    }
    Ok((bare, loaded))
}

/// The run at half of peak load.
struct Half {
    latencies: Vec<Duration>,
    /// Share of what was accepted that was delivered one second after the end.
    delivered: f64,
}

async fn half_load(
    gateway: &Gateway,
    lines: &mut Lines,
    per_second: f64,
    time: Duration,
    told: &mut Told,
) -> anyhow::Result<Half> {
    println!("Loading the gateway with {per_second:.0} requests a second");
    let before = lines.count()?;
    let ids = format!("half-{}", std::process::id());
    let plan = Plan { ids, per_second, time, connections: wrk::CONNECTIONS };
    let outcome = load::run(gateway.ingest(), plan).await?;
    let ended = Instant::now();
    ensure!(outcome.refused == 0, "the gateway refused {} requests", outcome.refused);
    told.answered_200 += outcome.answered_200;
    // The bar allows one second: wait no longer than that for what is owed.
    let mut delivered = lines.count()? - before;
    while delivered < outcome.answered_200 && ended.elapsed() < Duration::from_secs(1) {
        tokio::time::sleep(Duration::from_millis(5)).await;
        delivered = lines.count()? - before;
    }
    #[expect(clippy::cast_precision_loss, reason = "counts of requests in some seconds")]
    let share = delivered as f64 / outcome.answered_200 as f64;
    drained(gateway, lines, told).await?;
    Ok(Half { latencies: outcome.latencies, delivered: share })
}

fn figures(
    calls: &[Duration],
    starts: &[f64],
    (bare, loaded): (&[Run], &[Run]),
    peak_memory: u64,
    half: &Half,
) -> Vec<Figure> {
    let figure = |name, value, unit, bar| Figure { name, value, unit, bar };
    let micros = |time: Duration| time.as_secs_f64() * 1e6;
    let (bare_peak, peak) = (median_of(bare, Run::per_second), median_of(loaded, Run::per_second));
    #[expect(clippy::cast_precision_loss, reason = "a process holds far less than 2^53 bytes")]
    let mebibytes = peak_memory as f64 / f64::from(1 << 20);
    vec![
        figure("bare hyper", bare_peak, "requests/s", Bar::None),
        figure("bare hyper, p50", median_of(bare, |run| run.p50_us), "us", Bar::None),
        figure("bare hyper, p99", median_of(bare, |run| run.p99_us), "us", Bar::None),
        figure("durable ingest", peak, "requests/s", Bar::None),
        figure("durable ingest, p50", median_of(loaded, |run| run.p50_us), "us", Bar::None),
        figure("durable ingest, p99", median_of(loaded, |run| run.p99_us), "us", Bar::None),
        figure("durable ingest : bare hyper", peak / bare_peak, "", Bar::AtLeast(0.40)),
        figure("one adapter call, p50", micros(percentile(calls, 0.5)), "us", Bar::AtMost(15.0)),
        figure("one adapter call, p99", micros(percentile(calls, 0.99)), "us", Bar::None),
        figure("peak memory during that load", mebibytes, "MiB", Bar::AtMost(96.0)),
        figure("start to first 200, warm cache", median(starts), "ms", Bar::AtMost(150.0)),
        figure("half load, p50", micros(percentile(&half.latencies, 0.5)), "us", Bar::None),
        figure("half load, p99", micros(percentile(&half.latencies, 0.99)), "us", Bar::None),
        figure("half load, delivered : accepted, 1 s after", half.delivered, "", Bar::AtLeast(1.0)),
    ]
}

fn median_of(runs: &[Run], value: impl Fn(&Run) -> f64) -> f64 {
    median(&runs.iter().map(value).collect::<Vec<_>>())
}
