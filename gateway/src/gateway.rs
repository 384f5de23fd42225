//! Composition: the only module that knows all parts.
//!
//! [`run`] is the whole life of the process: read and check the configuration, open storage, bind
//! the listeners, serve, and stop in order. Each part is one task (the admin side: one thread) that
//! this module owns and waits for; a part that ends early, or panics, ends the gateway with that
//! reason.

mod adapters;
mod addresses;
mod digest_key;
mod maintenance;
mod parts;
mod refusals;
mod reloading;
mod routes;
mod watchdog;

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use arc_swap::ArcSwap;
use tokio::sync::{Notify, Semaphore, watch};

use crate::adapter::Sandbox;
use crate::admin::Phase;
use crate::config::{self, Config, Look, Problems, Secret};
use crate::faults;
use crate::ingest::{self, PauseSwitches, RefusedRing};
use crate::model::Clock;
use crate::reload::watch::Known;
use crate::service_manager::Handed;
use crate::snapshot::{self, OnBrokenAdapter, Snapshot};
use crate::storage::sqlite::{SqliteOptions, SqliteStorage};
use crate::storage::{Claiming, Storage, StorageError};
use crate::telemetry::reload::Hinted;
use crate::telemetry::{self, Happening as _, LogControl, Metrics};

/// What the command line decides.
#[derive(Clone, Debug)]
pub struct Options {
    pub config: PathBuf,
    /// Written once the gateway serves.
    pub ready_file: Option<PathBuf>,
    /// The log, where its level is to follow the configuration.
    pub log: Option<LogControl>,
}

/// Why the gateway did not start, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Config(#[from] Problems),
    #[error(transparent)]
    Other(#[from] anyhow::Error),
}

/// Everything the parts share, ready before the first listener is bound.
#[derive(Debug)]
struct Shared {
    /// The main configuration file.
    main: PathBuf,
    snapshot: Arc<ArcSwap<Snapshot>>,
    /// Tells delivery of each swap of `snapshot`.
    swapped: Arc<Notify>,
    admin_token: Arc<ArcSwap<Secret>>,
    storage: Arc<dyn Storage>,
    ring: Arc<RefusedRing>,
    switches: Arc<PauseSwitches>,
    phase: watch::Sender<Phase>,
    metrics: Metrics,
    clock: Arc<dyn Clock>,
    calls_in_flight_max: usize,
    /// So many, ingest's and delivery's together.
    calls: Arc<Semaphore>,
    /// Kept to the end: its ticker thread is what ends a spinning adapter.
    sandbox: Sandbox,
    digest_key: ring::hmac::Key,
    log: Option<LogControl>,
    ready_file: Option<PathBuf>,
    /// The sockets that the service manager opened for it.
    handed: Handed,
    /// What was read at the start.
    known: Known,
}

impl Shared {
    /// The configuration in force.
    fn config(&self) -> Arc<Config> {
        Arc::clone(&self.snapshot.load().config)
    }
}

/// Runs the gateway until SIGTERM or SIGINT, or until a part fails.
///
/// # Errors
///
/// Problems in the configuration, what kept it from starting, or the part that failed.
pub fn run(options: &Options) -> Result<(), StartError> {
    let shared = prepare(options)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_name("sluice")
        // An adapter call holds its thread for up to its deadline: with one thread more than calls
        // at once, connections move on all the same.
        .worker_threads(shared.calls_in_flight_max + 1)
        .enable_all()
        .build()
        .context("starting the runtime")?;
    let served = runtime.block_on(async {
        let claimed = claim_state(&shared).await?;
        Ok(parts::serve(Arc::new(shared), claimed).await?)
    });
    // A thread may be held in a name look-up or a file system that does not answer: what waits for
    // it has been given up, and so has it.
    runtime.shutdown_timeout(BLOCKING_DEADLINE);
    served
}

/// Grants adapters their state; `false` where a full disk does not allow it yet.
async fn claim_state(shared: &Shared) -> Result<bool, StartError> {
    match snapshot::claim_state(&shared.snapshot.load(), &*shared.storage, Claiming::Grant).await {
        Ok(claimed) => Ok(claimed.map(|()| true)?),
        Err(StorageError::Full) => Ok(false),
        Err(error) => Err(StartError::Other(anyhow::Error::from(error).context("granting state"))),
    }
}

/// How long blocking calls that nobody waits for any more may go on.
const BLOCKING_DEADLINE: std::time::Duration = std::time::Duration::from_secs(2);

/// The first generation's number.
const FIRST_GENERATION: u64 = 1;

fn prepare(options: &Options) -> Result<Shared, StartError> {
    let handed = Handed::take().context("taking over the sockets of the service manager")?;
    ingest::raise_limit();
    telemetry::install_tls_provider();
    let metrics = Metrics::install()?;
    telemetry::ingest::describe();
    telemetry::delivery::describe();
    telemetry::reload::describe();
    telemetry::describe_log();
    let clock: Arc<dyn Clock> = faults::clock();
    // Taken before the files are read: whatever changes meanwhile is seen as a change.
    let inputs = config::read(&options.config).inputs;
    let known = Known { done: inputs.fingerprint(Look::Bytes), inputs };
    let config = Arc::new(config::load(&options.config)?);
    if let Some(log) = &options.log {
        log.set(config.log.level);
    }
    let limits = snapshot::sandbox_limits(&config);
    let calls_in_flight_max = limits.calls_in_flight_max;
    let sandbox = Sandbox::new(limits).context("starting the sandbox")?;
    let digest_key = digest_key::open(&config.storage.sqlite_path)?;
    let snapshot = snapshot::build(
        FIRST_GENERATION,
        Arc::clone(&config),
        &sandbox,
        &digest_key,
        OnBrokenAdapter::ServeTheRest,
    )?;
    for hint in snapshot.hints(clock.now()) {
        Hinted { hint: &hint }.emit();
    }
    let storage = SqliteStorage::open(
        &config.storage.sqlite_path,
        SqliteOptions {
            ballast_bytes: config.storage.ballast,
            ..SqliteOptions::new(Arc::clone(&clock))
        },
    )
    .with_context(|| format!("opening storage {}", config.storage.sqlite_path.display()))?;
    Ok(Shared {
        main: options.config.clone(),
        snapshot: Arc::new(ArcSwap::from_pointee(snapshot)),
        swapped: Arc::default(),
        admin_token: Arc::new(ArcSwap::from_pointee(config.admin.token.clone())),
        switches: Arc::new(PauseSwitches::new(Arc::clone(&storage) as _)),
        storage,
        ring: Arc::new(RefusedRing::default()),
        phase: watch::Sender::new(Phase::Starting),
        metrics,
        clock,
        calls_in_flight_max,
        calls: Arc::new(Semaphore::new(calls_in_flight_max.min(Semaphore::MAX_PERMITS))),
        sandbox,
        digest_key,
        log: options.log.clone(),
        ready_file: options.ready_file.clone(),
        handed,
        known,
    })
}
