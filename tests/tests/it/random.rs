//! Numbers for tests that choose at random: the seed is printed, and can be given again.

/// A small generator (`SplitMix64`): for choosing, not for secrets.
pub(crate) struct Random(u64);

impl Random {
    /// Seeded from `SLUICE_SEED`, else from the system.
    pub(crate) fn new() -> Self {
        let seed = match std::env::var("SLUICE_SEED") {
            Ok(seed) => seed.parse().expect("SLUICE_SEED is a number"),
            Err(_) => uuid::Uuid::now_v7().as_u64_pair().1,
        };
        println!("SLUICE_SEED={seed}");
        Self(seed)
    }

    /// From this seed.
    pub(crate) const fn of(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to `bound` - 1.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// An index of a list of this length; 0 where it is empty.
    pub(crate) fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length.max(1) as u64)).unwrap_or_default()
    }

    pub(crate) fn pick<'t, T>(&mut self, from: &'t [T]) -> &'t T {
        &from[self.index(from.len())]
    }
}
