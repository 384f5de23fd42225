//! Which keys their table may hold, told from memory: a key that is new is nearly always known to be
//! new without a search in the table, which would read a page of its own for each.
//!
//! It may take a key for one of the table's, and must never do the opposite. So a key enters it after
//! its row is committed and before it leaves memory, and [`super::scan`] enters what the table held
//! before. Keys that retention deletes stay in it until the next one is made.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use fastbloom::AtomicBloomFilter;

use super::probe::{RECENT_MAX, SLOTS};

/// Bits for each key that there is room for: of new keys one in 120 is searched for in the table all
/// the same, where the room is used up; one in 1,000 where it was just made, with 15 bits a key.
const BITS_PER_KEY: usize = 10;

/// Bits set for each key: ln 2 × 10, at which the fewest new keys are searched for.
const HASHES: u32 = 7;

/// Room of the smallest, of 320 KiB: four times what is moved into the table at once.
const ROOM_MIN: usize = 4 * RECENT_MAX;

/// Bits of the largest: 8 MiB, and twice that while the next one is made. Up to 6.7 million keys have
/// their ten bits; of twice as many, one new key in seven is searched for.
const BITS_MAX: usize = 8 * 8 * 1024 * 1024;

/// Keys that were entered are found; others are found now and then.
pub(super) struct KeyFilter {
    bits: AtomicBloomFilter,
    /// Keys entered; one that was entered twice counts twice.
    entered: AtomicUsize,
    /// How many may enter before the next one is made.
    room: usize,
}

impl KeyFilter {
    /// An empty one, for a table of about `count` keys, with room for half as many again: so the scan
    /// that makes the next one reads three keys for each that was moved meanwhile.
    pub(super) fn for_keys(count: usize) -> Self {
        Self::with_room(count.saturating_add(count / 2).max(ROOM_MIN))
    }

    pub(super) fn with_room(room: usize) -> Self {
        let bits = room.saturating_mul(BITS_PER_KEY).min(BITS_MAX);
        let bits = AtomicBloomFilter::with_num_bits(bits).hashes(HASHES);
        Self { bits, entered: AtomicUsize::new(0), room }
    }

    pub(super) fn enter(&self, slot: i64) {
        self.bits.insert_hash(hash(slot));
        self.entered.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether the key of this slot, or of one of its neighbours, may have been entered.
    pub(super) fn may_hold(&self, slot: i64) -> bool {
        self.bits.contains_hash(hash(slot))
    }

    fn is_full(&self) -> bool {
        self.entered.load(Ordering::Relaxed) >= self.room
    }
}

/// What it goes by instead of hashing once more: a slot is 61 bits of a salted hash, its highest bit
/// is zero, and neighbours hold keys of one hash. The crate goes by the highest bits.
const fn hash(slot: i64) -> u64 {
    (slot & !(SLOTS - 1)).cast_unsigned() << 1
}

/// The bits say nothing to a reader.
impl fmt::Debug for KeyFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bits, entered, room } = self;
        f.debug_struct("KeyFilter")
            .field("bits", &bits.num_bits())
            .field("entered", entered)
            .field("room", room)
            .finish()
    }
}

/// The filter that is asked, and the next one while it is made.
#[derive(Debug, Default)]
pub(super) struct KeyFilters {
    /// Absent until the first is whole.
    whole: Option<Arc<KeyFilter>>,
    next: Option<Arc<KeyFilter>>,
}

impl KeyFilters {
    /// Without a whole filter the table may hold anything.
    pub(super) fn table_may_hold(&self, slot: i64) -> bool {
        self.whole.as_ref().is_none_or(|filter| filter.may_hold(slot))
    }

    /// The key of this slot has come into the table, and is committed.
    pub(super) fn enter(&self, slot: i64) {
        for filter in [&self.whole, &self.next].into_iter().flatten() {
            filter.enter(slot);
        }
    }

    /// From here on `next` is entered too. What is in the table now, a scan is still to enter.
    pub(super) fn begin(&mut self, next: Arc<KeyFilter>) {
        self.next = Some(next);
    }

    /// What was begun is asked from now on if it is `whole`, and given up otherwise.
    pub(super) fn end(&mut self, whole: bool) {
        let next = self.next.take();
        if whole {
            self.whole = next;
        }
    }

    /// Whether another is to be made.
    pub(super) fn are_wanting(&self) -> bool {
        self.whole.as_ref().is_none_or(|filter| filter.is_full())
    }
}

#[cfg(test)]
impl KeyFilters {
    pub(super) const fn are_whole(&self) -> bool {
        self.whole.is_some() && self.next.is_none()
    }

    pub(super) const fn one_is_made(&self) -> bool {
        self.next.is_some()
    }

    /// Keys that the one that is asked has room for.
    pub(super) fn room(&self) -> Option<usize> {
        self.whole.as_ref().map(|filter| filter.room)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Slots as SHA-256 gives them: the n-th of a sequence that repeats none (splitmix64).
    fn slot(n: u64) -> i64 {
        let mut z = n.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)).cast_signed() & (i64::MAX - (SLOTS - 1))
    }

    /// How many of 100,000 slots that were never entered are found, in each thousand.
    fn found_of_new(filter: &KeyFilter) -> f64 {
        let found = (1_000_000..1_100_000).filter(|n| filter.may_hold(slot(*n))).count();
        f64::from(u32::try_from(found).unwrap()) / 100.0
    }

    #[test]
    fn few_new_keys_are_taken_for_known_ones_and_beyond_its_room_more_but_none_is_lost() {
        let filter = KeyFilter::with_room(150_000);
        let mut entered = 0;
        for (through, most, is_full) in
            [(100_000, 2.0, false), (150_000, 11.0, true), (300_000, 180.0, true)]
        {
            (entered..through).for_each(|n| filter.enter(slot(n)));
            entered = through;
            let found = found_of_new(&filter);
            assert!(found < most, "{found} of a thousand, with {through} keys");
            assert_eq!(filter.is_full(), is_full, "{through}");
            assert!((0..through).all(|n| filter.may_hold(slot(n))), "one of {through} is lost");
        }
        assert!(found_of_new(&filter) > 50.0, "it is less selective beyond its room");
        // The control: one that forgets finds none of them.
        let forgets = KeyFilter::with_room(150_000);
        assert!(!(0..1_000).all(|n| forgets.may_hold(slot(n))));
    }

    #[test]
    fn a_million_keys_cost_less_than_two_mebibytes_and_any_number_eight() {
        let bytes = |count| KeyFilter::for_keys(count).bits.num_bits() / 8;
        let figures = [0, 1_000_000, 4_000_000, usize::MAX].map(bytes);
        assert_eq!(figures, [327_680, 1_875_000, 7_500_000, 8 << 20]);
    }

    #[test]
    fn the_next_one_is_wanted_after_half_as_many_again() {
        let mut filters = KeyFilters::default();
        assert!(filters.are_wanting() && filters.table_may_hold(slot(1)));
        filters.begin(Arc::new(KeyFilter::with_room(15)));
        filters.end(false);
        assert!(filters.are_wanting() && filters.table_may_hold(slot(1)), "it was given up");
        filters.begin(Arc::new(KeyFilter::with_room(15)));
        (0..10).for_each(|n| filters.enter(slot(n)));
        filters.end(true);
        assert!(!filters.are_wanting() && !filters.table_may_hold(slot(100)));
        (10..15).for_each(|n| filters.enter(slot(n)));
        assert!(filters.are_wanting());
        assert!((0..15).all(|n| filters.table_may_hold(slot(n))), "it is asked all the same");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn what_was_entered_is_found_by_any_of_its_neighbours(
            slots in prop::collection::vec(0..i64::MAX, 1..200),
            room in 1_usize..400,
        ) {
            let filter = KeyFilter::with_room(room);
            slots.iter().for_each(|slot| filter.enter(*slot));
            for slot in slots {
                let base = slot & !(SLOTS - 1);
                prop_assert!((base..=base + (SLOTS - 1)).all(|slot| filter.may_hold(slot)));
            }
        }
    }
}
