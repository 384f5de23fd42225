//! Carries out reloads: builds the next snapshot beside the one that serves, binds what it listens
//! on, and only then swaps.
//!
//! Whatever is wrong is found before the swap, so nothing is ever half applied and nothing is ever
//! taken back. What follows the swap cannot fail.

mod build;
mod builder;
mod listeners;

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::build::{Attempt, Attempted};
use self::builder::Builder;
use self::listeners::Bound;
pub(super) use self::listeners::{Sides, bind_admin};
use super::Shared;
use crate::adapter::CacheFolder;
use crate::config::{Location, Problems};
use crate::reload::watch::Known;
use crate::reload::{Ask, AskKind, Change, Fared, ReloadRecord, Reloads, Trigger, diff};
use crate::service_manager;
use crate::snapshot::{self, Snapshot};
use crate::storage::Claiming;
use crate::telemetry::reload::{Hinted, ReloadRefused, Reloaded};
use crate::telemetry::{Happening as _, chain};

/// How often a reload that was asked for begins again because files changed while they were read.
const TRIES: u32 = 3;

/// The part that reloads, one reload after the other.
#[derive(Debug)]
pub(super) struct Reloading {
    pub(super) shared: Arc<Shared>,
    pub(super) asks: mpsc::Receiver<Ask>,
    pub(super) reloads: Reloads,
    pub(super) sides: Sides,
    /// For the watcher.
    pub(super) known: watch::Sender<Known>,
}

/// A generation that is ready to serve.
struct Ready {
    snapshot: Snapshot,
    cache: Option<CacheFolder>,
    changes: Vec<Change>,
    bound: Bound,
}

/// A reload under way.
struct Under {
    trigger: Trigger,
    began: Instant,
    serving: Arc<Snapshot>,
}

impl Reloading {
    /// Runs until `shutdown`, and finishes the reload under way.
    ///
    /// # Errors
    ///
    /// Where the building thread cannot be started.
    pub(super) async fn run(mut self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let builder = Builder::start()?;
        loop {
            let ask = tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                ask = self.asks.recv() => ask,
            };
            let Some(Ask { kind, answer }) = ask else { break };
            let dry_run = matches!(kind, AskKind::Admin { dry_run: true });
            if !dry_run {
                service_manager::tell_reloading();
            }
            let record = self.reload(kind, &builder, &shutdown).await;
            if !dry_run {
                service_manager::tell_ready(&self.status());
            }
            if let (Some(record), Some(answer)) = (record, answer) {
                // Who asked may have given up waiting.
                answer.send(record).ok();
            }
        }
        builder.end();
        Ok(())
    }

    /// For the service manager.
    fn status(&self) -> String {
        let serving = format!("Serving on {}", self.sides.addresses);
        let refused =
            self.reloads.history().last().is_some_and(|last| last.result == Fared::Refused);
        if refused { format!("{serving}; the last reload was refused") } else { serving }
    }

    /// One reload. `None` where there was nothing to do.
    async fn reload(
        &mut self,
        kind: AskKind,
        builder: &Builder,
        shutdown: &CancellationToken,
    ) -> Option<Arc<ReloadRecord>> {
        let trigger = match kind {
            AskKind::Files(_) => Trigger::Files,
            AskKind::Signal => Trigger::Signal,
            AskKind::Admin { .. } => Trigger::Admin,
        };
        let serving = self.shared.snapshot.load_full();
        let under = Under { trigger, began: Instant::now(), serving };
        let mut tries = TRIES;
        let Attempted { known, steady, result } = loop {
            let attempted = self.attempt(kind, &under, builder, shutdown).await;
            tries -= 1;
            // The watcher waits for the files to come to rest; who asks does not.
            if attempted.steady || trigger == Trigger::Files || tries == 0 {
                break attempted;
            }
        };
        if !steady && trigger == Trigger::Files {
            self.known.send_replace(known);
            return None;
        }
        let result = if steady { result } else { Err(self.unsteady()) };
        let result = result.and_then(|built| self.ready(built, &under.serving));
        let result = match result {
            Ok(ready) => self.grant_state(kind, &ready.snapshot).await.map(|()| ready),
            Err(problems) => Err(problems),
        };
        let record = match (result, kind) {
            (result, AskKind::Admin { dry_run: true }) => return Some(self.told(&under, result)),
            (Err(problems), _) => Some(self.refuse(&under, problems)),
            (Ok(ready), AskKind::Files(_)) if self.changes_nothing(&ready) => None,
            (Ok(ready), _) => Some(self.apply(&under, ready).await),
        };
        self.known.send_replace(known);
        record
    }

    async fn attempt(
        &self,
        kind: AskKind,
        under: &Under,
        builder: &Builder,
        shutdown: &CancellationToken,
    ) -> Attempted {
        let attempt = Attempt {
            shared: Arc::clone(&self.shared),
            serving: Arc::clone(&under.serving),
            known: self.known.borrow().clone(),
            settled: match kind {
                AskKind::Files(settled) => Some(settled),
                AskKind::Signal | AskKind::Admin { .. } => None,
            },
            stop: shutdown.clone(),
        };
        let known = attempt.known.clone();
        builder.run(move || attempt.make()).await.unwrap_or_else(|| {
            let mut problems = Problems::default();
            let message = "the next configuration could not be built: its building panicked";
            problems.push(&self.main(), message, None);
            Attempted { known, steady: true, result: Err(problems) }
        })
    }

    /// Grants adapters their state: the last thing that can refuse a reload. Where nothing will be
    /// applied, it is only asked.
    async fn grant_state(&self, kind: AskKind, snapshot: &Snapshot) -> Result<(), Problems> {
        let claiming = match kind {
            AskKind::Admin { dry_run: true } => Claiming::Ask,
            AskKind::Admin { dry_run: false } | AskKind::Files(_) | AskKind::Signal => {
                Claiming::Grant
            }
        };
        let granted = snapshot::claim_state(snapshot, &*self.shared.storage, claiming).await;
        granted.unwrap_or_else(|error| {
            let mut problems = Problems::default();
            let message = format!("adapters cannot be granted their state: {}", chain(&error));
            problems.push(&self.main(), message, None);
            Err(problems)
        })
    }

    fn main(&self) -> Location {
        let main: &PathBuf = &self.shared.main;
        Location::whole(Arc::new(main.clone()))
    }

    fn unsteady(&self) -> Problems {
        let mut problems = Problems::default();
        let help = "ask again once they are written".to_owned();
        problems.push(&self.main(), "files changed while they were read", Some(help));
        problems
    }

    /// Binds what the next generation listens on.
    fn ready(
        &self,
        (snapshot, cache): (Snapshot, Option<CacheFolder>),
        serving: &Snapshot,
    ) -> Result<Ready, Problems> {
        let bound = Sides::bind(&serving.config, &snapshot.config, &self.shared.handed)?;
        let changes = diff(&serving.outline(), &snapshot.outline());
        Ok(Ready { snapshot, cache, changes, bound })
    }

    /// Whether files changed that say the same as before, as when a comment is written. After a
    /// refusal the operator wants to be told that all is well again.
    fn changes_nothing(&self, ready: &Ready) -> bool {
        let last = self.reloads.history().last();
        ready.changes.is_empty() && last.is_none_or(|last| last.result != Fared::Refused)
    }

    /// What a dry run tells; what was built and bound is let go of.
    fn told(&self, under: &Under, result: Result<Ready, Problems>) -> Arc<ReloadRecord> {
        let generation = under.serving.generation;
        let record = match result {
            Ok(ready) => under.record(
                &self.shared,
                (Fared::WouldApply, generation),
                ready.changes,
                Vec::new(),
            ),
            Err(Problems(problems)) => {
                under.record(&self.shared, (Fared::Refused, generation), Vec::new(), problems)
            }
        };
        Arc::new(record)
    }

    fn refuse(&self, under: &Under, problems: Problems) -> Arc<ReloadRecord> {
        let generation = under.serving.generation;
        let took = under.began.elapsed();
        ReloadRefused { trigger: under.trigger.as_str(), generation, problems: &problems, took }
            .emit();
        let record =
            under.record(&self.shared, (Fared::Refused, generation), Vec::new(), problems.0);
        self.reloads.history().keep(record)
    }

    async fn apply(&mut self, under: &Under, ready: Ready) -> Arc<ReloadRecord> {
        let Ready { snapshot, cache, changes, bound } = ready;
        let generation = snapshot.generation;
        let config = Arc::clone(&snapshot.config);
        let hints = snapshot.new_hints(&under.serving, self.shared.clock.now());
        self.shared.snapshot.store(Arc::new(snapshot));
        self.shared.swapped.notify_one();
        self.shared.admin_token.store(Arc::new(config.admin.token.clone()));
        if let Some(cache) = cache {
            self.shared.sandbox.use_cache(cache);
        }
        if let Some(log) = &self.shared.log {
            log.set(config.log.level);
        }
        let moved = self.sides.take_up(&under.serving.config, &config, bound).await;
        if moved && let Err(error) = self.sides.tell_ready(self.shared.ready_file.as_deref()) {
            tracing::warn!(error = %format!("{error:#}"), "The ready file was not written again.");
        }
        if under.serving.config.storage.ballast != config.storage.ballast
            && let Err(error) = self.shared.storage.set_ballast(config.storage.ballast).await
        {
            tracing::warn!(error = chain(&error), "The size of the ballast was not changed.");
        }
        let took = under.began.elapsed();
        let by_files = under.trigger == Trigger::Files;
        let routes_gone = changes.iter().filter(|change| change.takes_a_route()).count();
        Reloaded {
            trigger: under.trigger.as_str(),
            generation,
            changes: &changes,
            routes_lost: if by_files { routes_gone } else { 0 },
            took,
        }
        .emit();
        for hint in &hints {
            Hinted { hint }.emit();
        }
        let record = under.record(&self.shared, (Fared::Applied, generation), changes, Vec::new());
        self.reloads.history().keep(record)
    }
}

impl Under {
    fn record(
        &self,
        shared: &Shared,
        outcome: (Fared, u64),
        changes: Vec<Change>,
        problems: Vec<crate::config::Problem>,
    ) -> ReloadRecord {
        let took_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let when = (shared.clock.now(), took_ms);
        ReloadRecord::new(when, self.trigger, outcome, changes, problems)
    }
}
