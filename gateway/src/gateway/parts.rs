//! The running parts, and the order in which they start and stop.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::adapters::AdaptersInForce;
use super::addresses::Addresses;
use super::refusals::Refusals;
use super::reloading::{Reloading, Sides, bind_admin};
use super::routes::RoutesInForce;
use super::watchdog::Watchdog;
use super::{BLOCKING_DEADLINE, Shared, maintenance};
use crate::admin::{AdminState, Phase};
use crate::config::ListenerConfig;
use crate::delivery::DeliveryService;
use crate::ingest::{self, Ingest, Listener};
use crate::reload::{self, AskKind, Fared, ReloadRecord, Reloads, Trigger};
use crate::service_manager::{self, Handed};
use crate::telemetry::reload::Started;
use crate::telemetry::{Happening as _, chain};

/// What a part may take beyond its own bound: for the last commits and records.
const STEP_MARGIN: Duration = Duration::from_secs(5);

/// How long the reload under way may go on: it ends before its next plugin.
const RELOAD_DEADLINE: Duration = Duration::from_secs(20);

/// How long storage may take to finish what is queued and to close.
const CLOSE_DEADLINE: Duration = Duration::from_secs(20);

/// The tokens that stop each part, in the order of shutdown.
#[derive(Debug, Default)]
struct Stops {
    reloading: CancellationToken,
    ingest: CancellationToken,
    delivery: CancellationToken,
    maintenance: CancellationToken,
    admin: CancellationToken,
}

/// Binds, serves until told to stop or until a part fails, and stops in order. `claimed`: whether
/// adapters have been granted their state.
pub(super) async fn serve(shared: Arc<Shared>, claimed: bool) -> anyhow::Result<()> {
    let mut signals = Signals::new()?;
    // From here on: before it is listened for, it would end the process.
    let hang_up = signal(SignalKind::hangup()).context("listening for SIGHUP")?;
    let stops = Stops::default();
    let config = shared.config();
    let listeners = open(&config.ingest.listeners, &shared.handed)?;
    let addresses = Addresses::of(&listeners);
    let (reloads, asks) = Reloads::new();
    let ingest = Ingest::new(listeners, ingest_parts(&shared));
    let refused = Refusals { ring: Arc::clone(&shared.ring), reverifier: ingest.reverifier() };
    let admin = start_admin(&shared, refused, reloads.clone(), stops.admin.clone())?;
    let sides = Sides {
        ingest: ingest.listeners(),
        addresses: addresses.clone(),
        admin: admin.moves.clone(),
        admin_address: admin.address,
    };
    // Written before anything can move.
    let told = sides.tell_ready(shared.ready_file.as_deref());
    let reloading = Reloading {
        known: watch::Sender::new(shared.known.clone()),
        shared: Arc::clone(&shared),
        asks,
        reloads: reloads.clone(),
        sides,
    };
    let mut parts = start_parts(&shared, ingest, (reloading, hang_up), (&stops, claimed));
    shared.phase.send_replace(Phase::Serving);
    service_manager::tell_ready(&format!("Serving on {addresses}"));
    tell_started(&shared, &reloads, &addresses, admin.address);
    let reason = match told {
        Ok(()) => until_stopped(&shared, &mut signals, &mut parts, &admin).await,
        Err(error) => Err(error),
    };
    shared.phase.send_replace(Phase::Draining);
    service_manager::tell_stopping();
    match &reason {
        Ok(name) => tracing::info!(signal = name, "Draining."),
        Err(error) => tracing::error!(error = %format!("{error:#}"), "Stopping after a failure."),
    }
    let stopped = tokio::select! {
        biased;
        name = signals.stop() => Err(anyhow!("a second signal ({name}) cut the drain short")),
        stopped = stop(&mut parts, &shared, &stops) => stopped,
    };
    drop(parts);
    stops.admin.cancel();
    let admin_ended = admin.join();
    tracing::info!("Stopped.");
    reason.map(drop).and(stopped).and(admin_ended)
}

fn open(listeners: &[Arc<ListenerConfig>], handed: &Handed) -> anyhow::Result<Vec<Listener>> {
    let mut open = Vec::new();
    for config in listeners {
        let ListenerConfig { at, listen, .. } = &**config;
        let opened = Listener::open(config, handed);
        open.extend(opened.with_context(|| format!("listening on `{}` {listen}", at.key))?);
    }
    Ok(open)
}

/// The start is the first entry of the reload history.
fn tell_started(shared: &Shared, reloads: &Reloads, ingest: &Addresses, admin: SocketAddr) {
    let snapshot = shared.snapshot.load();
    let outcome = (Fared::Applied, snapshot.generation);
    let when = (shared.clock.now(), 0);
    reloads.history().keep(ReloadRecord::new(
        when,
        Trigger::Start,
        outcome,
        Vec::new(),
        Vec::new(),
    ));
    Started { generation: snapshot.generation }.emit();
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        ingest = %ingest,
        admin = %admin,
        routes = snapshot.config.routes.len(),
        destinations = snapshot.config.destinations.len(),
        "Serving."
    );
}

/// Waits for a reason to stop: the name of a signal, or what failed. SIGHUP reloads meanwhile.
async fn until_stopped(
    shared: &Shared,
    signals: &mut Signals,
    parts: &mut Parts,
    admin: &AdminThread,
) -> anyhow::Result<&'static str> {
    tokio::select! {
        biased;
        name = signals.stop() => Ok(name),
        detail = shared.storage.failed() => Err(anyhow!("storage failed: {detail}")),
        ended = parts.ingest.join_next() => Err(ended_early("ingest", ended)),
        ended = parts.delivery.join_next() => Err(ended_early("delivery", ended)),
        ended = parts.maintenance.join_next() => Err(ended_early("maintenance", ended)),
        ended = parts.reloading.join_next() => Err(ended_early("reloading", ended)),
        () = admin.ended.cancelled() => Err(anyhow!("the admin side ended by itself")),
    }
}

/// The running parts. Each set holds its tasks, or fewer once they have ended; dropping aborts.
#[derive(Debug)]
struct Parts {
    reloading: JoinSet<()>,
    ingest: JoinSet<()>,
    delivery: JoinSet<()>,
    maintenance: JoinSet<()>,
}

fn ingest_parts(shared: &Shared) -> ingest::Parts {
    ingest::Parts {
        snapshot: Arc::clone(&shared.snapshot),
        storage: Arc::clone(&shared.storage),
        clock: Arc::clone(&shared.clock),
        ring: Arc::clone(&shared.ring),
        switches: Arc::clone(&shared.switches),
        calls: Arc::clone(&shared.calls),
    }
}

fn start_parts(
    shared: &Shared,
    ingest: Ingest,
    (reloading, hang_up): (Reloading, Signal),
    (stops, claimed): (&Stops, bool),
) -> Parts {
    let ingest_stop = stops.ingest.clone();
    let delivery = DeliveryService::new(
        Arc::clone(&shared.storage),
        Arc::clone(&shared.clock),
        Arc::clone(&shared.snapshot),
        Arc::clone(&shared.swapped),
        Arc::clone(&shared.calls),
    );
    let upkeep = maintenance::Upkeep {
        storage: Arc::clone(&shared.storage),
        snapshot: Arc::clone(&shared.snapshot),
        switches: Arc::clone(&shared.switches),
        claimed,
    };
    let mut maintenance = part(upkeep.run(stops.maintenance.clone()));
    if let Some(period) = service_manager::watchdog() {
        let storage = Arc::clone(&shared.storage);
        let watchdog = Watchdog { ingest: ingest.listeners(), storage };
        maintenance.spawn(watchdog.run(period, stops.maintenance.clone()));
    }
    Parts {
        ingest: part(async move {
            let drained = ingest.run(ingest_stop).await;
            if drained.connections_left > 0 {
                tracing::warn!(connections = drained.connections_left, "Connections were cut off.");
            }
        }),
        delivery: part(delivery.run(stops.delivery.clone())),
        maintenance,
        reloading: start_reloading(reloading, hang_up, &stops.reloading),
    }
}

/// What reloads, and what asks for it: the watcher of the files, and SIGHUP.
fn start_reloading(reloading: Reloading, hang_up: Signal, stop: &CancellationToken) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    let known = reloading.known.subscribe();
    let reloads = reloading.reloads.clone();
    tasks.spawn(reload::watch::run(known, reloads.clone(), stop.clone()));
    tasks.spawn(ask_at_hang_up(reloads, hang_up, stop.clone()));
    let stop = stop.clone();
    tasks.spawn(async move {
        if let Err(error) = reloading.run(stop).await {
            tracing::error!(error = %format!("{error:#}"), "Nothing can be reloaded.");
        }
    });
    tasks
}

/// However many signals come while one reload waits, one more is made.
async fn ask_at_hang_up(reloads: Reloads, mut hang_up: Signal, stop: CancellationToken) {
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            told = hang_up.recv() => {
                let (answer, record) = oneshot::channel();
                if told.is_none() || reloads.ask(AskKind::Signal, Some(answer)).await.is_err() {
                    return;
                }
                // An error says that it is stopping.
                record.await.ok();
            }
        }
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
    // Nothing changes any more, or a reload would start what has just been stopped.
    stops.reloading.cancel();
    let reloading = finish("reloading", &mut parts.reloading, RELOAD_DEADLINE).await;
    let config = shared.config();
    stops.ingest.cancel();
    let drain = config.ingest.drain + STEP_MARGIN;
    let ingest = finish("ingest", &mut parts.ingest, drain).await;
    stops.delivery.cancel();
    stops.maintenance.cancel();
    // An attempt under way ends within its destination's timeout.
    let timeouts = config.destinations.values().map(|destination| destination.timeout);
    let longest = timeouts.max().unwrap_or_default() + STEP_MARGIN;
    let (delivery, maintenance) = tokio::join!(
        finish("delivery", &mut parts.delivery, longest),
        finish("maintenance", &mut parts.maintenance, longest),
    );
    let closed = tokio::time::timeout(CLOSE_DEADLINE, shared.storage.close())
        .await
        .map_err(|_| anyhow!("storage did not close in {CLOSE_DEADLINE:?}"));
    reloading.and(ingest).and(delivery).and(maintenance).and(closed)
}

/// Waits for a part, at most for `at_most`, and then aborts it.
async fn finish(name: &str, part: &mut JoinSet<()>, at_most: Duration) -> anyhow::Result<()> {
    let all = async {
        while let Some(ended) = part.join_next().await {
            ended?;
        }
        Ok(())
    };
    match tokio::time::timeout(at_most, all).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => {
            let error: JoinError = error;
            Err(anyhow!("the part `{name}` failed: {}", chain(&error)))
        }
        Err(_) => {
            part.shutdown().await;
            Err(anyhow!("the part `{name}` did not end in {at_most:?} and was aborted"))
        }
    }
}

/// The admin side's thread, and a token that is cancelled when it has ended.
#[derive(Debug)]
struct AdminThread {
    address: SocketAddr,
    moves: mpsc::Sender<std::net::TcpListener>,
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
    refused: Refusals,
    reloads: Reloads,
    stop: CancellationToken,
) -> anyhow::Result<AdminThread> {
    let listen = shared.config().admin.listen;
    let listener =
        bind_admin(listen).with_context(|| format!("listening on `admin.listen` {listen}"))?;
    let address = listener.local_addr().context("reading the admin listener's address")?;
    let state = AdminState {
        storage: Arc::clone(&shared.storage),
        refused: Arc::new(refused),
        adapters: Arc::new(AdaptersInForce {
            snapshot: Arc::clone(&shared.snapshot),
            storage: Arc::clone(&shared.storage),
            clock: Arc::clone(&shared.clock),
        }),
        routes: Arc::new(RoutesInForce {
            snapshot: Arc::clone(&shared.snapshot),
            switches: Arc::clone(&shared.switches),
            clock: Arc::clone(&shared.clock),
        }),
        metrics: shared.metrics.handle(),
        phase: shared.phase.subscribe(),
        token: Arc::clone(&shared.admin_token),
        clock: Arc::clone(&shared.clock),
        reloads,
    };
    // A reload moves it once.
    let (moves, moved) = mpsc::channel(1);
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
            let served = runtime.block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener)?;
                crate::admin::run(listener, state, moved, stop).await.context("serving operators")
            });
            runtime.shutdown_timeout(BLOCKING_DEADLINE);
            served
        })
        .context("starting the admin thread")?;
    Ok(AdminThread { address, moves, thread, ended })
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
    async fn stop(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
