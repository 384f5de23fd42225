//! Who is slow, or silent, or opens everything there is, hurts nobody else and is closed in time.
//!
//! In a program of its own, because it measures: other tests beside it would show in every figure.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "in tests a panic is the way to tell, and figures are printed"
)]

mod attacks;
mod burst;
mod descriptors;
mod healthy;
mod rounds;
mod shares;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use sluice_tests::{Gateway, Home, HomeBuilder};
use tempfile::TempDir;
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

/// Deadlines of the gateways here: short, so that the tests are, and longer than a healthy client
/// waits for its turn on a busy machine.
const HEAD: Duration = Duration::from_secs(3);
const BODY: Duration = Duration::from_secs(4);
const IDLE: Duration = Duration::from_secs(3);

/// An offender may be open for this much longer than the deadline that it passes.
const LATE: Duration = Duration::from_secs(2);

/// Connections that the silent open in a second: twenty times what slowhttptest does by itself. As
/// fast as they can be made, two thousand take the processors for a moment from everybody, the
/// gateway or no gateway.
const SILENT_RATE: u32 = 1_000;

/// One of these tests at a time.
static MACHINE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// A home whose store lies in memory. A disk that others use as well answers a hundredth of its syncs
/// late by chance, and what is asked here is not its work.
struct Site {
    home: Home,
    _store: TempDir,
}

impl Site {
    fn new(more: &str) -> Self {
        Self::with_deadlines(HEAD, IDLE, more)
    }

    /// One whose gateway waits for a head, and for the next, longer than any test does.
    fn patient(more: &str) -> Self {
        Self::with_deadlines(Duration::from_secs(60), Duration::from_secs(60), more)
    }

    fn with_deadlines(head: Duration, idle: Duration, more: &str) -> Self {
        let store = tempfile::Builder::new().prefix("sluice-").tempdir_in("/dev/shm").unwrap();
        let seconds = |duration: Duration| format!("\"{}s\"", duration.as_secs());
        let home = HomeBuilder::new()
            .vkyc(&["events"])
            .unwrap()
            .events_file()
            .data(store.path().join("data"))
            .ingest(&format!(
                "head_deadline = {}\nbody_deadline = {}\nidle_deadline = {}\n{more}",
                seconds(head),
                seconds(BODY),
                seconds(idle)
            ))
            .build()
            .unwrap();
        Self { home, _store: store }
    }

    async fn start(&self, fault: &str) -> Gateway {
        let environment = [("SLUICE_LOG", "info"), ("SLUICE_FAULT", fault)];
        self.home.start_with(&environment).await.unwrap()
    }
}

/// Connects from elsewhere than healthy providers do: bounds and shares are of a client.
async fn connect_from_elsewhere(to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(([127, 0, 0, 2], 0).into())?;
    socket.connect(to).await
}

/// Connections that say nothing.
struct Silent(JoinSet<Duration>);

impl Silent {
    /// Opens so many; each tells after what time it was closed.
    async fn open(to: SocketAddr, count: u32) -> Self {
        let mut silent = JoinSet::new();
        let mut ticks = tokio::time::interval(Duration::from_millis(10));
        for number in 0..count {
            if number.is_multiple_of(SILENT_RATE / 100) {
                ticks.tick().await;
            }
            let mut stream = connect_from_elsewhere(to).await.unwrap();
            let since = Instant::now();
            silent.spawn(async move {
                // A reset is an end as well.
                stream.read_to_end(&mut Vec::new()).await.ok();
                since.elapsed()
            });
        }
        Self(silent)
    }

    /// How long each was open, shortest first.
    async fn closed(self) -> Vec<Duration> {
        let mut open = self.0.join_all().await;
        open.sort();
        open
    }

    /// Opens so many and waits until they are closed, out of the way of whoever measures.
    async fn open_apart(to: SocketAddr, count: u32) -> Vec<Duration> {
        apart(move || async move { Self::open(to, count).await.closed().await }).await
    }
}

/// Runs in a thread and a runtime of its own: whoever measures does not wait behind it.
async fn apart<F: Future>(work: impl FnOnce() -> F + Send + 'static) -> F::Output
where
    F::Output: Send + 'static,
{
    let apart = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.unwrap().block_on(work())
    });
    apart.await.unwrap()
}
