//! What the frames of a connection weigh beyond their bytes.
//!
//! The smallest frame is nine bytes, and each is handled by itself: what a flood of small ones costs
//! is told by their number. Those of requests have bounds of their own.

use super::PREFACE;

/// A frame's head is its length, its kind, and five bytes that do not matter here (RFC 9113
/// section 4.1).
const HEAD_REST: usize = 5;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const CONTINUATION: u8 = 9;

/// A frame that is no part of a request. A connection may send about a thousand that nobody asked
/// for, and as many as that for eight answered requests: they take a few tenths of a millisecond.
const ASIDE_WEIGHT: u64 = 512;

/// Each is applied to every stream, and answered. A peer tells its settings once and says once that it
/// took ours; hardly any changes its own. So a connection may send about sixty.
const SETTINGS_WEIGHT: u64 = 8 * 1024;

/// Finds the heads of frames in what is read, wherever the reads cut it.
pub(super) struct Frames {
    /// Bytes until the next head.
    skip: usize,
    /// As much of length and kind as was read, and how many bytes that is.
    head: u32,
    known: usize,
}

impl Frames {
    /// From the first byte of a connection on.
    pub(super) const fn new() -> Self {
        Self { skip: PREFACE.len(), head: 0, known: 0 }
    }

    /// The weight of the frames whose kind is told in `bytes`, which follow those of the last call.
    pub(super) fn weigh(&mut self, mut bytes: &[u8]) -> u64 {
        let mut weight = 0;
        loop {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            let Some((byte, rest)) = bytes.get(skipped..).and_then(<[u8]>::split_first) else {
                return weight;
            };
            bytes = rest;
            self.head = self.head << 8 | u32::from(*byte);
            self.known += 1;
            if self.known == size_of::<u32>() {
                let [high, middle, low, kind] = self.head.to_be_bytes();
                let length = u32::from_be_bytes([0, high, middle, low]);
                self.skip = HEAD_REST + length as usize;
                self.known = 0;
                weight += match kind {
                    DATA | HEADERS | CONTINUATION => 0,
                    SETTINGS => SETTINGS_WEIGHT,
                    _ => ASIDE_WEIGHT,
                };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn frame(kind: u8, length: usize) -> Vec<u8> {
        let size = u32::try_from(length).unwrap().to_be_bytes();
        // What is in a frame looks like a frame of settings.
        let payload = [0, 0, 0, SETTINGS, 0, 0, 0, 0, 0].into_iter().cycle().take(length);
        [size[1], size[2], size[3], kind, 0, 0, 0, 0, 1].into_iter().chain(payload).collect()
    }

    #[test]
    fn what_is_of_a_request_weighs_nothing_and_settings_weigh_most() {
        let weigh = |kind| Frames { skip: 0, ..Frames::new() }.weigh(&frame(kind, 100));
        for (kind, weight) in [
            (DATA, 0),
            (HEADERS, 0),
            (2, ASIDE_WEIGHT),
            (3, ASIDE_WEIGHT),
            (SETTINGS, SETTINGS_WEIGHT),
            (6, ASIDE_WEIGHT),
            (8, ASIDE_WEIGHT),
            (CONTINUATION, 0),
            (99, ASIDE_WEIGHT),
        ] {
            assert_eq!(weigh(kind), weight, "{kind}");
        }
    }

    proptest! {
        #[test]
        fn every_frame_is_weighed_once_however_reads_cut_it(
            frames in vec((0_u8..12, 0_usize..40), 0..40),
            cuts in vec(1_usize..60, 1..60),
        ) {
            let mut bytes = PREFACE.to_vec();
            let mut expected = 0;
            for (kind, length) in frames {
                expected += match kind {
                    0 | 1 | 9 => 0,
                    4 => SETTINGS_WEIGHT,
                    _ => ASIDE_WEIGHT,
                };
                bytes.extend(frame(kind, length));
            }
            let mut weighing = Frames::new();
            let mut weight = 0;
            let mut rest = bytes.as_slice();
            for cut in cuts.into_iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (read, next) = rest.split_at(cut.min(rest.len()));
                weight += weighing.weigh(read);
                rest = next;
            }
            prop_assert_eq!(weight, expected);
        }
    }
}
