//! A provider that posts at a steady rate, whatever else goes on.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use sluice_tests::http::Connection;
use sluice_tests::provider::vkyc_payload;
use sluice_tests::vkyc_request;
use tokio::sync::Mutex;
use tokio::task::JoinSet;

/// Requests in a second: a busy provider, and no load that matters.
const RATE: u32 = 100;

/// A healthy provider gives up after this, as GitHub does.
const GIVES_UP: Duration = Duration::from_secs(10);

/// What a provider saw.
#[derive(Debug)]
pub(super) struct Seen {
    /// Of each request, how long it took; none: it was not answered 200 in time.
    took: Vec<Option<Duration>>,
}

impl Seen {
    pub(super) fn failed(&self) -> usize {
        self.took.iter().filter(|took| took.is_none()).count()
    }

    pub(super) fn p99(&self) -> Duration {
        let mut took: Vec<Duration> = self.took.iter().flatten().copied().collect();
        took.sort();
        took[(took.len() * 99 / 100).min(took.len() - 1)]
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} requests, p99 {:.1?}", self.took.len(), self.p99())
    }
}

/// Posts until told to stop: every second request over a connection that it keeps, the others over
/// one of their own.
#[derive(Default)]
pub(super) struct Healthy {
    sent: AtomicUsize,
    stop: AtomicBool,
    kept: Arc<Mutex<Option<Connection>>>,
    /// Opens no other connections.
    keeps: bool,
}

impl Healthy {
    /// Posts over the one connection that it keeps.
    pub(super) fn keeping() -> Self {
        Self { keeps: true, ..Self::default() }
    }

    pub(super) async fn run(&self, to: SocketAddr) -> Seen {
        let mut sending = JoinSet::new();
        let mut tick = tokio::time::interval(Duration::from_secs(1) / RATE);
        while !self.stop.load(Ordering::Relaxed) {
            tick.tick().await;
            let number = self.sent.fetch_add(1, Ordering::Relaxed);
            let keeps = self.keeps || number.is_multiple_of(2);
            let kept = keeps.then(|| Arc::clone(&self.kept));
            let due = Instant::now();
            sending.spawn(async move {
                let posted = tokio::time::timeout(GIVES_UP, post(to, number, kept)).await;
                if !matches!(posted, Ok(Ok(200))) {
                    println!("a healthy request failed: {posted:?}");
                    return None;
                }
                Some(due.elapsed())
            });
        }
        self.stop.store(false, Ordering::Relaxed);
        Seen { took: sending.join_all().await }
    }

    /// For some time, with nothing else going on.
    pub(super) async fn alone(&self, to: SocketAddr, time: Duration) -> Seen {
        let (seen, ()) = tokio::join!(self.run(to), async {
            tokio::time::sleep(time).await;
            self.stop();
        });
        seen
    }

    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

async fn post(
    to: SocketAddr,
    number: usize,
    kept: Option<Arc<Mutex<Option<Connection>>>>,
) -> anyhow::Result<u16> {
    let request = vkyc_request(vkyc_payload(&format!("healthy-{number}")));
    let Some(kept) = kept else {
        return Ok(Connection::open(to).await?.send(request).await?.status);
    };
    let mut kept = kept.lock().await;
    if kept.is_none() {
        *kept = Some(Connection::open(to).await?);
    }
    let Some(connection) = kept.as_mut() else { anyhow::bail!("no connection") };
    Ok(connection.send(request).await?.status)
}
