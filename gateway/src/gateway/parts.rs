//! The running parts, and the order in which they start and stop.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use arc_swap::ArcSwap;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::refusals::Refusals;
use super::{Shared, maintenance, ready};
use crate::admin::{AdminState, Phase};
use crate::config::Listen;
use crate::delivery::DeliveryService;
use crate::ingest::{self, Ingest, Listener};
use crate::telemetry::chain;

/// What a part may take beyond its own bound: for the last commits and records.
const STEP_MARGIN: Duration = Duration::from_secs(5);

/// How long storage may take to finish what is queued and to close.
const CLOSE_DEADLINE: Duration = Duration::from_secs(20);

/// The tokens that stop each part, in the order of shutdown.
#[derive(Debug, Default)]
struct Stops {
    ingest: CancellationToken,
    delivery: CancellationToken,
    maintenance: CancellationToken,
    admin: CancellationToken,
}

/// Binds, serves until told to stop or until a part fails, and stops in order.
pub(super) async fn serve(shared: Shared) -> anyhow::Result<()> {
    let mut signals = Signals::new()?;
    let stops = Stops::default();
    let ingest = Listener::bind(&shared.config.ingest.listen)
        .with_context(|| format!("listening on `ingest.listen` {}", shared.config.ingest.listen))?;
    let ingest_address = ingest.local_addr();
    let (admin_address, admin) = start_admin(&shared, stops.admin.clone())?;

    let mut parts = start_parts(&shared, ingest, &stops);
    shared.phase.send_replace(Phase::Serving);
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        ingest = %ingest_address,
        admin = %admin_address,
        routes = shared.config.routes.len(),
        destinations = shared.config.destinations.len(),
        "Serving."
    );
    let reason = match tell_ready(&shared, ingest_address, admin_address) {
        Ok(()) => until_stopped(&shared, &mut signals, &mut parts, &admin).await,
        Err(error) => Err(error),
    };
    shared.phase.send_replace(Phase::Draining);
    match &reason {
        Ok(name) => tracing::info!(signal = name, "Draining."),
        Err(error) => tracing::error!(error = %format!("{error:#}"), "Stopping after a failure."),
    }
    let stopped = tokio::select! {
        biased;
        name = signals.next() => Err(anyhow!("a second signal ({name}) cut the drain short")),
        stopped = stop(&mut parts, &shared, &stops) => stopped,
    };
    drop(parts);
    stops.admin.cancel();
    let admin_ended = admin.join();
    tracing::info!("Stopped.");
    reason.map(drop).and(stopped).and(admin_ended)
}

fn tell_ready(shared: &Shared, ingest: SocketAddr, admin: SocketAddr) -> anyhow::Result<()> {
    match &shared.ready_file {
        Some(path) => ready::write(path, ingest, admin),
        None => Ok(()),
    }
}

/// Waits for a reason to stop: the name of a signal, or what failed.
async fn until_stopped(
    shared: &Shared,
    signals: &mut Signals,
    parts: &mut Parts,
    admin: &AdminThread,
) -> anyhow::Result<&'static str> {
    tokio::select! {
        biased;
        name = signals.next() => Ok(name),
        detail = shared.storage.failed() => Err(anyhow!("storage failed: {detail}")),
        ended = parts.ingest.join_next() => Err(ended_early("ingest", ended)),
        ended = parts.delivery.join_next() => Err(ended_early("delivery", ended)),
        ended = parts.maintenance.join_next() => Err(ended_early("maintenance", ended)),
        () = admin.ended.cancelled() => Err(anyhow!("the admin side ended by itself")),
    }
}

/// The running parts. Each set holds one task, or none once that has ended; dropping aborts.
#[derive(Debug)]
struct Parts {
    ingest: JoinSet<()>,
    delivery: JoinSet<()>,
    maintenance: JoinSet<()>,
}

fn start_parts(shared: &Shared, listener: Listener, stops: &Stops) -> Parts {
    let ingest = Ingest::new(
        listener,
        ingest::Parts {
            snapshot: Arc::clone(&shared.snapshot),
            storage: Arc::clone(&shared.storage),
            clock: Arc::clone(&shared.clock),
            ring: Arc::clone(&shared.ring),
            calls_in_flight_max: shared.calls_in_flight_max,
        },
    );
    let ingest_stop = stops.ingest.clone();
    let delivery = DeliveryService::new(
        Arc::clone(&shared.storage),
        Arc::clone(&shared.clock),
        Arc::clone(&shared.snapshot),
    );
    let retention = shared.config.storage.retention;
    let storage = Arc::clone(&shared.storage);
    Parts {
        ingest: part(async move {
            let drained = ingest.run(ingest_stop).await;
            if drained.connections_left > 0 {
                tracing::warn!(connections = drained.connections_left, "Connections were cut off.");
            }
        }),
        delivery: part(delivery.run(stops.delivery.clone())),
        maintenance: part(maintenance::run(storage, retention, stops.maintenance.clone())),
    }
}

fn part(run: impl Future<Output = ()> + Send + 'static) -> JoinSet<()> {
    let mut part = JoinSet::new();
    part.spawn(run);
    part
}

fn ended_early(name: &str, ended: Option<Result<(), JoinError>>) -> anyhow::Error {
    match ended {
        Some(Err(error)) => anyhow!("the part `{name}` failed: {}", chain(&error)),
        Some(Ok(())) | None => anyhow!("the part `{name}` ended by itself"),
    }
}

/// Ingest first, so that all it accepted is stored; then delivery, so that attempts in flight are
/// recorded; then storage, whatever became of the others. What does not end in time is aborted:
/// leases end and nothing is lost.
async fn stop(parts: &mut Parts, shared: &Shared, stops: &Stops) -> anyhow::Result<()> {
    stops.ingest.cancel();
    let drain = shared.config.ingest.drain + STEP_MARGIN;
    let ingest = finish("ingest", &mut parts.ingest, drain).await;
    stops.delivery.cancel();
    stops.maintenance.cancel();
    // An attempt under way ends within its destination's timeout.
    let timeouts = shared.config.destinations.values().map(|destination| destination.timeout);
    let longest = timeouts.max().unwrap_or_default() + STEP_MARGIN;
    let (delivery, maintenance) = tokio::join!(
        finish("delivery", &mut parts.delivery, longest),
        finish("maintenance", &mut parts.maintenance, longest),
    );
    let closed = tokio::time::timeout(CLOSE_DEADLINE, shared.storage.close())
        .await
        .map_err(|_| anyhow!("storage did not close in {CLOSE_DEADLINE:?}"));
    ingest.and(delivery).and(maintenance).and(closed)
}

/// Waits for a part, at most for `at_most`, and then aborts it.
async fn finish(name: &str, part: &mut JoinSet<()>, at_most: Duration) -> anyhow::Result<()> {
    match tokio::time::timeout(at_most, part.join_next()).await {
        Ok(None | Some(Ok(()))) => Ok(()),
        Ok(Some(Err(error))) => Err(anyhow!("the part `{name}` failed: {}", chain(&error))),
        Err(_) => {
            part.shutdown().await;
            Err(anyhow!("the part `{name}` did not end in {at_most:?} and was aborted"))
        }
    }
}

/// The admin side's thread, and a token that is cancelled when it has ended.
#[derive(Debug)]
struct AdminThread {
    thread: JoinHandle<anyhow::Result<()>>,
    ended: CancellationToken,
}

impl AdminThread {
    fn join(self) -> anyhow::Result<()> {
        self.thread.join().map_err(|_| anyhow!("the admin thread panicked"))?
    }
}

/// The admin side has a thread and a runtime of its own, so that it answers when traffic keeps
/// every other thread busy.
fn start_admin(
    shared: &Shared,
    stop: CancellationToken,
) -> anyhow::Result<(SocketAddr, AdminThread)> {
    let Listen::Tcp(address) = shared.config.admin.listen;
    let listener = std::net::TcpListener::bind(address)
        .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
        .with_context(|| format!("listening on `admin.listen` {address}"))?;
    let address = listener.local_addr().context("reading the admin listener's address")?;
    let state = AdminState {
        storage: Arc::clone(&shared.storage),
        refused: Arc::new(Refusals(Arc::clone(&shared.ring))),
        metrics: shared.metrics.handle(),
        phase: shared.phase.subscribe(),
        token: Arc::new(ArcSwap::from_pointee(shared.config.admin.token.clone())),
        clock: Arc::clone(&shared.clock),
    };
    let ended = CancellationToken::new();
    let guard = ended.clone().drop_guard();
    let thread = std::thread::Builder::new()
        .name("sluice-admin".to_owned())
        .spawn(move || {
            let _ended = guard;
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .context("starting the admin runtime")?;
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener)?;
                crate::admin::run(listener, state, stop).await.context("serving operators")
            })
        })
        .context("starting the admin thread")?;
    Ok((address, AdminThread { thread, ended }))
}

/// SIGTERM and SIGINT, whichever comes.
#[derive(Debug)]
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate()).context("listening for SIGTERM")?,
            interrupt: signal(SignalKind::interrupt()).context("listening for SIGINT")?,
        })
    }

    /// Cancel safe: a dropped call loses no signal.
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
