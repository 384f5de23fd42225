//! The ring of refused requests: what operators look at when a provider is turned away.
//!
//! In memory only, and bounded twice. A refusal is no promise to anybody; what was verified is in
//! storage.
//!
//! Most of it is for what adapters refused: a mismatch is what operators look for, and can be verified
//! again. What was turned away before has a part of its own (`unjudged`). In either, where there is no
//! room, the oldest entry goes of the route that has most: a flood of one route leaves the others'.

use std::cmp::Reverse;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::model::{Diagnosis, RequestHead, RequestId, RouteName, UnixMillis, VerdictRecord};
use crate::verification::Presented;

/// Most entries kept: a screenful for each of many routes.
pub const RING_ENTRIES_MAX: usize = 1_000;

/// Most that all entries together weigh, in bytes.
pub const RING_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The share of both that is for what adapters refused: three of four.
const JUDGED_QUARTERS: usize = 3;

/// Most of one body that is kept, in bytes: webhooks are smaller.
pub const RING_BODY_BYTES_MAX: usize = 64 * 1024;

/// What an entry weighs beside its texts: itself, its allocation and its place in the ring.
const ENTRY_BYTES: usize = size_of::<RefusedRequest>() + 64;

/// A request that was refused, as far as it was read.
#[derive(Clone, Debug)]
pub struct RefusedRequest {
    pub id: RequestId,
    pub received_at: UnixMillis,
    /// Absent where it was refused before a route was found.
    pub route: Option<RouteName>,
    pub client: IpAddr,
    /// What the sender was told.
    pub status: u16,
    pub diagnosis: Diagnosis,
    /// For the operator; may be a guest's words.
    pub detail: String,
    pub verdicts: Vec<VerdictRecord>,
    /// Masked; where there is no route to say what is secret, every value reads `***`. Absent
    /// where it had been handed to storage, which then failed.
    pub head: Option<RequestHead>,
    /// At most [`RING_BODY_BYTES_MAX`]; empty where it was refused before its body was read.
    pub body: Bytes,
    /// Size of the whole body as read, or as it is kept where it is redacted.
    pub body_bytes: usize,
    /// The adapter had parts of it masked, or does so and did not come to read it: then nothing of
    /// body and query is kept.
    pub redacted: bool,
    /// Whether its body was read to its end.
    pub body_was_read: bool,
    /// What it presented, for verifying it again; absent where no route said what that is.
    pub presented: Option<Arc<Presented>>,
}

impl RefusedRequest {
    fn weight(&self) -> usize {
        let head = self.head.as_ref().map_or(0, |head| {
            let fields = head.headers.iter().map(|(name, value)| name.len() + value.len() + 48);
            head.method.len()
                + head.path.len()
                + head.query.as_ref().map_or(0, String::len)
                + fields.sum::<usize>()
        });
        let verdicts = self.verdicts.len() * (size_of::<VerdictRecord>() + 32);
        let presented = self.presented.as_ref().map_or(0, |presented| presented.weight());
        ENTRY_BYTES + head + verdicts + presented + self.detail.len() + self.body.len()
    }
}

/// Which entries to list: newest first, at most `limit`, older than `before`.
#[derive(Clone, Debug, Default)]
pub struct RefusedFilter {
    pub route: Option<RouteName>,
    pub diagnosis: Option<Diagnosis>,
    pub before: Option<RequestId>,
    pub limit: usize,
}

/// Refused requests. Shared; the lock is held for moments and never across an await.
#[derive(Debug)]
pub struct RefusedRing(Mutex<Entries>);

#[derive(Debug)]
struct Entries {
    judged: Part,
    unjudged: Part,
}

#[derive(Debug)]
struct Part {
    entries_max: usize,
    bytes_max: usize,
    /// None is there without an entry.
    by_route: BTreeMap<Option<RouteName>, OfRoute>,
    entries: usize,
    bytes: usize,
}

#[derive(Debug, Default)]
struct OfRoute {
    /// Oldest first.
    queue: VecDeque<Arc<RefusedRequest>>,
    bytes: usize,
}

impl Default for RefusedRing {
    fn default() -> Self {
        Self::with_bounds(RING_ENTRIES_MAX, RING_BYTES_MAX)
    }
}

impl RefusedRing {
    fn with_bounds(entries_max: usize, bytes_max: usize) -> Self {
        let [entries, bytes] = [entries_max, bytes_max].map(|max| max / 4 * JUDGED_QUARTERS);
        Self(Mutex::new(Entries {
            judged: Part::new(entries, bytes),
            unjudged: Part::new(entries_max - entries, bytes_max - bytes),
        }))
    }

    /// Adds what an adapter refused. Its body is cut to what is kept.
    pub fn push(&self, refused: RefusedRequest) {
        let refused = cut(refused);
        self.lock().judged.push(refused);
    }

    /// Adds what was refused without an adapter's say.
    pub fn push_unjudged(&self, refused: RefusedRequest) {
        let refused = cut(refused);
        self.lock().unjudged.push(refused);
    }

    /// The entries that match, newest first.
    #[must_use]
    pub fn list(&self, filter: &RefusedFilter) -> Vec<Arc<RefusedRequest>> {
        let mut found: Vec<_> = self.lock().all().cloned().collect();
        found.retain(|each| {
            filter.before.is_none_or(|before| each.id < before)
                && filter.route.as_ref().is_none_or(|route| each.route.as_ref() == Some(route))
                && filter.diagnosis.as_ref().is_none_or(|wanted| each.diagnosis == *wanted)
        });
        // Entries are added when a request ends; ids sort by when it came.
        found.sort_unstable_by_key(|each| Reverse(each.id));
        found.truncate(filter.limit);
        found
    }

    /// One entry, while it is there.
    #[must_use]
    pub fn get(&self, id: RequestId) -> Option<Arc<RefusedRequest>> {
        self.lock().all().find(|each| each.id == id).cloned()
    }

    /// Takes an entry out, where it is there: it is refused no longer.
    pub fn remove(&self, id: RequestId) {
        let mut entries = self.lock();
        entries.judged.remove(id);
        entries.unjudged.remove(id);
    }

    /// No panic can happen under the lock that leaves it inconsistent, so poison means nothing.
    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn cut(mut refused: RefusedRequest) -> Arc<RefusedRequest> {
    // Copied, because the bytes may be a small part of a large read buffer.
    let kept = refused.body.get(..RING_BODY_BYTES_MAX).unwrap_or(&refused.body);
    refused.body = Bytes::copy_from_slice(kept);
    Arc::new(refused)
}

impl Entries {
    fn all(&self) -> impl Iterator<Item = &Arc<RefusedRequest>> {
        let parts = [&self.judged, &self.unjudged].into_iter();
        parts.flat_map(|part| part.by_route.values().flat_map(|of_route| &of_route.queue))
    }
}

impl Part {
    const fn new(entries_max: usize, bytes_max: usize) -> Self {
        Self { entries_max, bytes_max, by_route: BTreeMap::new(), entries: 0, bytes: 0 }
    }

    /// Adds an entry; of the route that has most the oldest go until it fits.
    fn push(&mut self, refused: Arc<RefusedRequest>) {
        let weight = refused.weight();
        while self.entries >= self.entries_max && self.drop_of_most(|of| of.queue.len()) {}
        while self.bytes + weight > self.bytes_max && self.drop_of_most(|of| of.bytes) {}
        let of_route = self.by_route.entry(refused.route.clone()).or_default();
        of_route.queue.push_back(refused);
        of_route.bytes += weight;
        self.entries += 1;
        self.bytes += weight;
    }

    /// Takes the oldest entry of the route of which there is most; false where there is none.
    fn drop_of_most(&mut self, most: impl Fn(&OfRoute) -> usize) -> bool {
        let of_most = self.by_route.iter().max_by_key(|(_, of_route)| most(of_route));
        let Some(route) = of_most.map(|(route, _)| route.clone()) else { return false };
        self.take(route, 0);
        true
    }

    fn remove(&mut self, id: RequestId) {
        let found = self.by_route.iter().find_map(|(route, of_route)| {
            let at = of_route.queue.iter().rposition(|each| each.id == id)?;
            Some((route.clone(), at))
        });
        if let Some((route, at)) = found {
            self.take(route, at);
        }
    }

    fn take(&mut self, route: Option<RouteName>, at: usize) {
        let Entry::Occupied(mut of_route) = self.by_route.entry(route) else { return };
        if let Some(taken) = of_route.get_mut().queue.remove(at) {
            let weight = taken.weight();
            of_route.get_mut().bytes -= weight;
            self.bytes -= weight;
            self.entries -= 1;
        }
        if of_route.get().queue.is_empty() {
            of_route.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;

    fn refused(millis: u64, route: &str, diagnosis: Diagnosis, body: usize) -> RefusedRequest {
        let received_at = UnixMillis(millis);
        RefusedRequest {
            id: RequestId::new(received_at),
            received_at,
            route: Some(RouteName::new(route).unwrap()),
            client: Ipv4Addr::LOCALHOST.into(),
            status: 401,
            diagnosis,
            detail: String::new(),
            verdicts: Vec::new(),
            head: None,
            body: vec![b'x'; body].into(),
            body_bytes: body,
            redacted: false,
            body_was_read: true,
            presented: None,
        }
    }

    #[test]
    fn a_page_follows_on_the_one_before_and_filters_hold() {
        let ring = RefusedRing::default();
        // Out of order: the second came first and ended last.
        for (millis, route) in [(2, "a"), (1, "b"), (4, "a"), (3, "b")] {
            ring.push(refused(millis, route, Diagnosis::TRAP, 0));
        }
        let times = |filter: &RefusedFilter| -> Vec<u64> {
            ring.list(filter).iter().map(|each| each.received_at.0).collect()
        };
        let page = RefusedFilter { limit: 2, ..RefusedFilter::default() };
        assert_eq!(times(&page), [4, 3]);
        let before = ring.list(&page).last().map(|each| each.id);
        assert_eq!(times(&RefusedFilter { before, ..page.clone() }), [2, 1]);
        let route = Some(RouteName::new("b").unwrap());
        assert_eq!(times(&RefusedFilter { route, ..page.clone() }), [3, 1]);
        let diagnosis = Some(Diagnosis::DEADLINE);
        assert!(times(&RefusedFilter { diagnosis, ..page }).is_empty());

        let newest = ring.list(&RefusedFilter { limit: 1, ..RefusedFilter::default() });
        assert_eq!(ring.get(newest[0].id).unwrap().received_at, UnixMillis(4));
        assert!(ring.get(RequestId::new(UnixMillis(9))).is_none());
        ring.remove(newest[0].id);
        assert!(ring.get(newest[0].id).is_none());
        assert_eq!(ring.list(&RefusedFilter { limit: 9, ..RefusedFilter::default() }).len(), 3);
        let left: usize = ring.lock().all().map(|each| each.weight()).sum();
        let entries = ring.lock();
        assert_eq!((entries.judged.bytes, entries.judged.entries), (left, 3));
    }

    #[test]
    fn of_a_large_body_the_beginning_is_kept() {
        let ring = RefusedRing::default();
        let large = refused(1, "a", Diagnosis::TRAP, RING_BODY_BYTES_MAX + 1);
        let id = large.id;
        ring.push(large);
        let kept = ring.get(id).unwrap();
        assert_eq!(kept.body.len(), RING_BODY_BYTES_MAX);
        assert_eq!(kept.body_bytes, RING_BODY_BYTES_MAX + 1);
    }

    #[test]
    fn a_flood_of_one_route_or_of_strangers_leaves_what_others_have() {
        let ring = RefusedRing::default();
        let count = |route: &str| {
            let route = Some(RouteName::new(route).unwrap());
            ring.list(&RefusedFilter { route, limit: usize::MAX, ..RefusedFilter::default() }).len()
        };
        for millis in 0..20 {
            ring.push(refused(millis, "quiet", Diagnosis::SECRET_MISMATCH, 100));
        }
        for millis in 0..2_000 {
            ring.push(refused(millis, "busy", Diagnosis::SECRET_MISMATCH, 0));
            ring.push_unjudged(refused(millis, "scanned", Diagnosis::MALFORMED_REQUEST, 0));
        }
        assert_eq!((count("quiet"), count("busy"), count("scanned")), (20, 730, 250));
        // Nor do large ones: they are few, and the small ones stay.
        for millis in 0..200 {
            ring.push(refused(millis, "large", Diagnosis::SECRET_MISMATCH, RING_BODY_BYTES_MAX));
        }
        assert_eq!((count("quiet"), count("scanned")), (20, 250));
        assert!((80..100).contains(&count("large")), "{}", count("large"));
        assert!(count("busy") > 600, "{}", count("busy"));
    }

    proptest! {
        #[test]
        fn the_ring_keeps_the_newest_within_both_bounds(
            bodies in prop::collection::vec(0_usize..3_000, 1..40),
        ) {
            // As much in three of four quarters.
            let ring = RefusedRing::with_bounds(8 / 3 * 4, 10_000 / 3 * 4);
            for (millis, body) in (0..).zip(&bodies) {
                ring.push(refused(millis, "a", Diagnosis::TRAP, *body));
            }
            let all = ring.list(&RefusedFilter { limit: usize::MAX, ..RefusedFilter::default() });
            prop_assert!(all.len() <= 6);
            prop_assert!(all.iter().map(|each| each.weight()).sum::<usize>() <= 10_000);
            let newest = (0..bodies.len() as u64).rev();
            for (kept, expected) in all.iter().zip(newest) {
                prop_assert_eq!(kept.received_at.0, expected);
            }
        }
    }
}
