//! What is owed to destinations that are no longer configured: it waits for a while, in case they
//! are put back, and then becomes dead letters.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::model::DestinationName;
use crate::snapshot::Snapshot;
use crate::storage::{IsOwed, Storage};
use crate::telemetry::Happening as _;
use crate::telemetry::delivery::{DestinationMissing, DestinationsRetired};

/// How often it is looked at: graces end, and a request that began before a reload may still commit
/// deliveries to a destination that it took out.
const INTERVAL: Duration = Duration::from_secs(60);

/// Retires destinations that have been missing in the configuration for longer than their grace.
#[derive(Debug)]
pub(super) struct Retirement {
    storage: Arc<dyn Storage>,
    current: Arc<ArcSwap<Snapshot>>,
    absences: Absences,
    /// Missing destinations that were told of.
    told: BTreeSet<DestinationName>,
}

/// Since when which destinations are missing.
#[derive(Clone, Debug)]
struct Absences {
    /// Those that were never configured in this process are missing since its start: nobody knows for
    /// how long before.
    start: Instant,
    since: BTreeMap<DestinationName, Instant>,
    configured: BTreeSet<DestinationName>,
}

impl Retirement {
    pub(super) fn new(storage: Arc<dyn Storage>, current: Arc<ArcSwap<Snapshot>>) -> Self {
        Self { storage, current, absences: Absences::starting(), told: BTreeSet::new() }
    }

    /// Looks at the start, after each reload, and now and then, until `shutdown`.
    pub(super) async fn run(
        mut self,
        mut generation: watch::Receiver<u64>,
        shutdown: &CancellationToken,
    ) {
        while !shutdown.is_cancelled() {
            // Before the look: a reload that comes during it is followed by another.
            generation.borrow_and_update();
            let grace = self.look();
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                () = self.retire_all(grace) => {}
            }
            self.tell(grace).await;
            tokio::select! {
                biased;
                () = shutdown.cancelled() => {}
                Ok(()) = generation.changed() => {}
                () = tokio::time::sleep(INTERVAL) => {}
            }
        }
    }

    /// Takes note of who is configured now. Returns the grace.
    fn look(&mut self) -> Duration {
        let snapshot = self.current.load();
        let grace = snapshot.config.storage.removed_grace;
        let configured = snapshot.config.destinations.keys().cloned().collect();
        self.absences.note(configured, grace);
        self.told.retain(|name| !self.absences.configured.contains(name));
        grace
    }

    /// Goes on until there is nothing left, or a step is refused.
    async fn retire_all(&self, grace: Duration) {
        let mut all = 0;
        let now = Instant::now();
        loop {
            let (current, absences) = (Arc::clone(&self.current), self.absences.clone());
            // Asked anew at each step: a destination that was put back in between is owed the rest.
            let is_owed: IsOwed = Box::new(move |name| {
                current.load().config.destinations.contains_key(name)
                    || absences.of(name, now) < grace
            });
            match self.storage.retire_destinations(is_owed).await {
                // A refusal is of no consequence: it is asked again.
                Ok(0) | Err(_) => break,
                Ok(deliveries) => all += deliveries,
            }
        }
        if all > 0 {
            DestinationsRetired { deliveries: all }.emit();
        }
    }

    /// Tells once of each destination that is missing and owed something.
    async fn tell(&mut self, grace: Duration) {
        let Ok(health) = self.storage.health().await else { return };
        for (destination, deliveries) in health.pending_by_destination {
            let is_configured = self.absences.configured.contains(&destination);
            if deliveries == 0 || is_configured || self.told.contains(&destination) {
                continue;
            }
            let left = grace.saturating_sub(self.absences.of(&destination, Instant::now()));
            DestinationMissing { destination: &destination, deliveries, left }.emit();
            self.told.insert(destination);
        }
    }
}

impl Absences {
    fn starting() -> Self {
        Self { start: Instant::now(), since: BTreeMap::new(), configured: BTreeSet::new() }
    }

    /// Forgets those that have been missing for `grace` and longer: they stay so, since the start
    /// was before.
    fn note(&mut self, configured: BTreeSet<DestinationName>, grace: Duration) {
        let now = Instant::now();
        for name in &self.configured {
            if !configured.contains(name) {
                self.since.insert(name.clone(), now);
            }
        }
        self.since.retain(|name, since| {
            !configured.contains(name) && now.duration_since(*since) <= grace
        });
        self.configured = configured;
    }

    /// For how long one that is not configured has been missing.
    fn of(&self, name: &DestinationName, now: Instant) -> Duration {
        now.saturating_duration_since(self.since.get(name).copied().unwrap_or(self.start))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::testing::name;

    const GRACE: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn an_absence_begins_where_it_was_noticed_and_ends_where_the_name_is_back() {
        let mut absences = Absences::starting();
        let both: BTreeSet<_> = [name("a"), name("b")].into();
        let of = |absences: &Absences, one: &str| absences.of(&name(one), Instant::now()).as_secs();
        absences.note(both.clone(), GRACE);
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(of(&absences, "never"), 10, "unknown since the start");
        absences.note([name("b")].into(), GRACE);
        tokio::time::advance(Duration::from_secs(20)).await;
        absences.note([name("b")].into(), GRACE);
        assert_eq!(of(&absences, "a"), 20);
        absences.note(both, GRACE);
        absences.note([name("b")].into(), GRACE);
        assert_eq!(of(&absences, "a"), 0, "it was back");
        tokio::time::advance(Duration::from_secs(61)).await;
        absences.note(BTreeSet::new(), GRACE);
        assert_eq!(absences.since.keys().collect::<Vec<_>>(), [&name("b")], "a bounded memory");
        assert_eq!(of(&absences, "a"), 91, "and a grace that has ended stays so");
    }
}
