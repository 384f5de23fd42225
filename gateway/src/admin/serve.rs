use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::access::Client;
use super::long_answer::LongAnswer;
use super::{Admin, AdminState, router};

/// Open connections at once: some operators, a scraper and a few probes. Others wait in the
/// kernel's queue.
const CONNECTIONS_MAX: usize = 64;

/// From an open or silent connection to a whole head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Largest head, in bytes. Tokens and queries are short.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// How long shutdown waits for answers under way.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// Pause after a failed accept, which is nearly always a lack of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How often histograms are folded, so that they do not grow when nobody scrapes.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Serves operators until `shutdown`, then finishes the answers under way. A listener that comes
/// from `moves` takes the place of the one before, whose connections finish their answers.
///
/// # Errors
///
/// Where a listener cannot be used in this runtime, or does not know its own address.
pub async fn run(
    listener: TcpListener,
    state: AdminState,
    mut moves: mpsc::Receiver<std::net::TcpListener>,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let mut listener = listener;
    let loopback = is_loopback(&listener)?.into();
    let mut stopping = shutdown.child_token();
    let metrics = state.metrics.clone();
    let admin = Arc::new(Admin {
        state,
        failures: super::access::Failures::default(),
        health: super::health::HealthCache::default(),
        views: super::adapters::ViewPlaces::default(),
        imports: super::state::ImportPlaces::default(),
        loopback,
    });
    let router = router(&admin);
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    let mut upkeep = tokio::time::interval(UPKEEP_INTERVAL);
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            Some(_) = connections.join_next() => {}
            _ = upkeep.tick() => metrics.run_upkeep(),
            Some(moved) = moves.recv() => {
                listener = TcpListener::from_std(moved)?;
                admin.loopback.store(is_loopback(&listener)?, Ordering::Relaxed);
                std::mem::replace(&mut stopping, shutdown.child_token()).cancel();
            }
            (place, accepted) = accept(&listener, &places) => match accepted {
                Ok((stream, peer)) => {
                    let serving = serve(stream, peer.ip(), router.clone(), stopping.clone());
                    connections.spawn(async move {
                        serving.await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "The admin listener could not accept.");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
    drop(listener);
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN_TIMEOUT, drained).await.is_err() {
        tracing::warn!("Connections to the admin listener were cut at shutdown.");
    }
    Ok(())
}

fn is_loopback(listener: &TcpListener) -> io::Result<bool> {
    Ok(listener.local_addr()?.ip().to_canonical().is_loopback())
}

/// A place first, then a connection: overload waits in the kernel. Cancel safe.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> (Option<OwnedSemaphorePermit>, io::Result<(TcpStream, SocketAddr)>) {
    // `None` only if the semaphore were closed, which nobody does.
    let place = Arc::clone(places).acquire_owned().await.ok();
    (place, listener.accept().await)
}

async fn serve(stream: TcpStream, peer: IpAddr, router: Router, stopping: CancellationToken) {
    let long = LongAnswer::default();
    let router = router.layer(Extension(Client(peer))).layer(Extension(long.clone()));
    let service = TowerToHyperService::new(router);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let served = async {
        tokio::select! {
            biased;
            () = stopping.cancelled() => {}
            ended = &mut connection => return ended,
        }
        connection.as_mut().graceful_shutdown();
        connection.await
    };
    let ended = tokio::select! {
        biased;
        ended = served => ended,
        () = long.lifetime() => Ok(()),
    };
    if let Err(error) = ended {
        tracing::debug!(error = crate::telemetry::chain(&error), "An admin connection broke off.");
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::admin::long_answer::CONNECTION_LIFETIME;

    /// Longer than any connection may live. Time is paused: it passes at once.
    const FOR_EVER: Duration = Duration::from_secs(48 * 60 * 60);

    /// A connection, and how it is served.
    async fn served(router: Router) -> (TcpStream, CancellationToken, JoinSet<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, peer) = listener.accept().await.unwrap();
        let (stopping, mut serving) = (CancellationToken::new(), JoinSet::new());
        serving.spawn(serve(stream, peer.ip(), router, stopping.clone()));
        (client, stopping, serving)
    }

    #[tokio::test(start_paused = true)]
    async fn who_reads_no_more_is_cut_off_also_after_the_listener_has_moved() {
        // More than the kernel holds.
        let endless = || async { Body::from(vec![0; 64 << 20]) };
        for moved in [false, true] {
            let router = Router::new().route("/", get(endless));
            let (mut client, stopping, mut serving) = served(router).await;
            client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
            client.read_u8().await.unwrap();
            let began = tokio::time::Instant::now();
            if moved {
                stopping.cancel();
            }
            let ended = tokio::time::timeout(FOR_EVER, serving.join_next()).await;
            ended.expect("a lifetime").unwrap().unwrap();
            assert!(began.elapsed() <= CONNECTION_LIFETIME, "{:?}", began.elapsed());
        }
    }
}
