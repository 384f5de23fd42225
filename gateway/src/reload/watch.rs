//! Watching the files of the configuration.
//!
//! What the kernel tells of them saves waiting and is never needed: every few seconds the files are
//! looked at without it. So a network file system, a folder that comes later and an overflow of the
//! kernel's queue delay a reload, and lose none.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::settle::{Seen, Settling, Verdict};
use super::{AskKind, Reloads};
use crate::config::{Fingerprint, Inputs, Look, Watched};
use crate::faults::Fault;
use crate::telemetry::Happening as _;
use crate::telemetry::reload::{NotSettling, WatchFailed};

/// How often the files are looked at without being told of a change.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Events that wait to be taken in; who sees that there are too many looks at everything.
const EVENTS_MAX: usize = 256;

/// How long events gather before the files are read: a tool that replaces ten files makes one look.
const GATHER: Duration = Duration::from_millis(10);

/// How long the end of the watcher's thread may take.
const END_DEADLINE: Duration = Duration::from_secs(5);

/// What is to be watched, and what of it is done.
#[derive(Clone, Debug)]
pub struct Known {
    pub inputs: Inputs,
    /// What the inputs held when they were last applied, or refused.
    pub done: Fingerprint,
}

/// Watches until `shutdown`, and asks for a reload whenever what has changed has come to rest.
///
/// Whoever reloads tells by `known`, after each wish, what is now done; until then nothing more is
/// asked for. Returns when the watcher's thread has ended.
pub async fn run(mut known: watch::Receiver<Known>, reloads: Reloads, shutdown: CancellationToken) {
    let Known { inputs, done } = known.borrow_and_update().clone();
    let (mut watcher, mut events) = Watcher::new();
    let mut settling = Settling::new(done, Instant::now());
    let mut inputs = Arc::new(inputs);
    let mut stamps = None;
    // At once: something may have changed since they were read.
    let mut look_at = Some(Instant::now());
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            told = known.changed() => {
                if told.is_err() {
                    break;
                }
                let now = known.borrow_and_update().clone();
                inputs = Arc::new(now.inputs);
                settling.done(now.done);
                look_at = Some(Instant::now());
            }
            Some(seen) = events.recv() => {
                settling.note(seen);
                look_at.get_or_insert(Instant::now() + GATHER);
            }
            _ = ticks.tick() => {
                let now = look(&inputs, Look::Stamps).await;
                let lost = watcher.lost();
                if lost {
                    settling.note(Seen::Lost);
                }
                if lost || now != stamps {
                    look_at = Some(Instant::now());
                }
                stamps = now;
            }
            () = due(look_at) => {
                look_at = None;
                watcher.follow(&inputs).await;
                let Some(fingerprint) = look(&inputs, Look::Bytes).await else { continue };
                let now = Instant::now();
                let mut verdict = settling.look(fingerprint, now);
                if matches!(verdict, Verdict::Wait(_)) && Fault::ApplyAtOnce.is_on() {
                    verdict = Verdict::Settled(fingerprint);
                }
                match verdict {
                    Verdict::Still => {}
                    Verdict::Wait(until) => look_at = Some(until),
                    Verdict::Settled(settled) => {
                        if reloads.ask(AskKind::Files(settled), None).await.is_err() {
                            break;
                        }
                        // What came of it is told by `known`; events meanwhile wait.
                        if known.changed().await.is_err() {
                            break;
                        }
                        known.mark_changed();
                    }
                }
                if let Some(since) = settling.overdue(now) {
                    NotSettling { since }.emit();
                }
            }
        }
    }
    watcher.end(events).await;
}

/// Waits for that time, or for ever.
async fn due(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

/// Looks at the files, off the runtime. `None` where the runtime is ending.
async fn look(inputs: &Arc<Inputs>, look: Look) -> Option<Fingerprint> {
    let inputs = Arc::clone(inputs);
    tokio::task::spawn_blocking(move || inputs.fingerprint(look)).await.ok()
}

/// The kernel's watches.
struct Watcher {
    /// Absent where the system has none to give.
    inner: Option<RecommendedWatcher>,
    filter: Arc<Filter>,
    folders: BTreeSet<PathBuf>,
    /// Folders that could not be watched: told once each.
    failed: BTreeSet<PathBuf>,
}

/// What of all events is passed on.
struct Filter {
    watched: ArcSwap<Watched>,
    /// Some events could not be passed on.
    lost: AtomicBool,
}

impl Watcher {
    fn new() -> (Self, mpsc::Receiver<Seen>) {
        let (sender, events) = mpsc::channel(EVENTS_MAX);
        let filter = Arc::new(Filter { watched: ArcSwap::default(), lost: AtomicBool::new(false) });
        let of_thread = Arc::clone(&filter);
        let inner = notify::recommended_watcher(move |event| of_thread.pass(event, &sender));
        let inner = inner.map_err(|error| WatchFailed { error: &error }.emit()).ok();
        let none = BTreeSet::new();
        (Self { inner, filter, folders: none.clone(), failed: none }, events)
    }

    /// Watches where these inputs lie, and nowhere else.
    async fn follow(&mut self, inputs: &Arc<Inputs>) {
        let inputs = Arc::clone(inputs);
        let Ok(watched) = tokio::task::spawn_blocking(move || inputs.watched()).await else {
            return;
        };
        let folders = watched.folders();
        self.filter.watched.store(Arc::new(watched));
        let Some(inner) = &mut self.inner else { return };
        for gone in self.folders.difference(&folders) {
            // It may be gone itself, and its watch with it.
            inner.unwatch(gone).ok();
        }
        let mut followed = BTreeSet::new();
        for folder in folders {
            // Anew each time: a folder may have been replaced by another of its name.
            match inner.watch(&folder, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.failed.remove(&folder);
                    followed.insert(folder);
                }
                Err(error) => {
                    if self.failed.insert(folder) {
                        WatchFailed { error: &error }.emit();
                    }
                }
            }
        }
        self.folders = followed;
    }

    /// Whether events were lost since this was last asked.
    fn lost(&self) -> bool {
        self.filter.lost.swap(false, Ordering::Relaxed)
    }

    /// Ends the thread, and waits for it.
    async fn end(self, mut events: mpsc::Receiver<Seen>) {
        drop(self.inner);
        // The thread holds the sender: with its end there are no more events.
        let drained = async { while events.recv().await.is_some() {} };
        timeout(END_DEADLINE, drained).await.ok();
    }
}

impl Filter {
    /// Called on the watcher's thread.
    fn pass(&self, event: notify::Result<notify::Event>, to: &mpsc::Sender<Seen>) {
        let Ok(event) = event else {
            self.lost.store(true, Ordering::Relaxed);
            return;
        };
        let watched = self.watched.load();
        let seen = seen(&event).into_iter().filter(|seen| match seen {
            Seen::Written(path)
            | Seen::Closed(path)
            | Seen::Replaced(path)
            | Seen::Touched(path) => watched.concerns(path),
            Seen::Lost => true,
        });
        for seen in seen {
            if to.try_send(seen).is_err() {
                self.lost.store(true, Ordering::Relaxed);
            }
        }
    }
}

/// What an event says of each path.
fn seen(event: &notify::Event) -> Vec<Seen> {
    if event.need_rescan() {
        return vec![Seen::Lost];
    }
    let each: fn(PathBuf) -> Seen = match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => Seen::Closed,
        // Reading changes nothing, and we read ourselves.
        EventKind::Access(_) => return Vec::new(),
        EventKind::Modify(ModifyKind::Data(_)) => Seen::Written,
        EventKind::Modify(ModifyKind::Metadata(_)) => Seen::Touched,
        EventKind::Create(_)
        | EventKind::Remove(_)
        | EventKind::Modify(_)
        | EventKind::Any
        | EventKind::Other => Seen::Replaced,
    };
    event.paths.iter().cloned().map(each).collect()
}

#[cfg(test)]
mod tests;
