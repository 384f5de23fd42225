//! Who is slow, or silent, or opens everything there is, hurts nobody else and is closed in time.

mod attacks;
mod descriptors;
mod healthy;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use sluice_tests::{Gateway, Home, HomeBuilder};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Deadlines of the gateways here: short, so that the tests are, and longer than a healthy client
/// waits for its turn on a busy machine.
const HEAD: Duration = Duration::from_secs(4);
const BODY: Duration = Duration::from_secs(5);
const IDLE: Duration = Duration::from_secs(4);

/// An offender may be open for this much longer than the deadline that it passes.
const LATE: Duration = Duration::from_secs(2);

fn home(more: &str) -> Home {
    let seconds = |duration: Duration| format!("\"{}s\"", duration.as_secs());
    HomeBuilder::new()
        .vkyc(&["events"])
        .unwrap()
        .events_file()
        .ingest(&format!(
            "head_deadline = {}\nbody_deadline = {}\nidle_deadline = {}\n{more}",
            seconds(HEAD),
            seconds(BODY),
            seconds(IDLE)
        ))
        .build()
        .unwrap()
}

/// A home whose gateway waits for a head longer than any test does.
fn patient(more: &str) -> Home {
    let home = home(more);
    let text = home.config_text().unwrap();
    assert!(text.contains("head_deadline = \"4s\""));
    let text = text.replace("head_deadline = \"4s\"", "head_deadline = \"60s\"");
    std::fs::write(home.config(), text).unwrap();
    home
}

async fn started(home: &Home) -> Gateway {
    home.start_with(&[("SLUICE_LOG", "info")]).await.unwrap()
}

/// Connections that say nothing.
struct Silent(JoinSet<Duration>);

impl Silent {
    /// Opens so many; each tells after what time it was closed.
    async fn open(to: SocketAddr, count: usize) -> Self {
        let mut connecting = JoinSet::new();
        for _ in 0..count {
            connecting.spawn(async move {
                let stream = TcpStream::connect(to).await.unwrap();
                (stream, Instant::now())
            });
        }
        let mut silent = JoinSet::new();
        for (mut stream, since) in connecting.join_all().await {
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
}
