//! What a call read of its adapter's state, as a column of its request.

use crate::model::StateReads;
use crate::storage::StorageError;

/// Bytes that are kept of what one call read, compressed. More would make a request's row much
/// larger than its body.
const KEPT_BYTES_MAX: usize = 64 << 10;

/// Bytes before they were compressed, as far as they are believed: what a call may read, and what
/// surrounds it, several times over.
const PLAIN_BYTES_MAX: usize = 8 << 20;

/// The first byte.
const FORMAT: u8 = 1;

/// What is stored of it: nothing where nothing was read, and no bytes where it is too much.
pub(super) fn pack(reads: &StateReads) -> Result<Option<Vec<u8>>, StorageError> {
    if reads.is_empty() {
        return Ok(None);
    }
    let plain = postcard::to_allocvec(reads)
        .map_err(|error| StorageError::Failed { detail: error.to_string() })?;
    let mut packed = vec![FORMAT];
    packed.extend(lz4_flex::compress_prepend_size(&plain));
    let fits = packed.len() <= KEPT_BYTES_MAX && plain.len() <= PLAIN_BYTES_MAX;
    Ok(Some(if fits { packed } else { Vec::new() }))
}

/// The reverse; `None` where it was too much to be kept, or cannot be read.
pub(super) fn unpack(packed: Option<&[u8]>) -> Option<StateReads> {
    let Some(packed) = packed else { return Some(StateReads::default()) };
    let (format, block) = packed.split_first()?;
    let (size, _) = lz4_flex::block::uncompressed_size(block).ok()?;
    if *format != FORMAT || size > PLAIN_BYTES_MAX {
        return None;
    }
    let plain = lz4_flex::decompress_size_prepended(block).ok()?;
    postcard::from_bytes(&plain).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{StateEntry, StateRange, StateVersion, UnixMillis};

    fn reads(values: impl IntoIterator<Item = Vec<u8>>) -> StateReads {
        let mut reads = StateReads::default();
        for (n, value) in values.into_iter().enumerate() {
            let key = n.to_be_bytes().to_vec();
            let expires_at = (n % 2 == 0).then_some(UnixMillis(7));
            let version = StateVersion::default();
            let range = StateRange::of(&key);
            reads.add(range, [StateEntry { key, value, expires_at, version }]);
        }
        reads.add(StateRange::new(b"z".to_vec(), None), []);
        reads
    }

    #[test]
    fn what_fits_is_read_back_and_what_does_not_is_said_to_be_lost() {
        let none = StateReads::default();
        assert_eq!(pack(&none).unwrap(), None);
        assert_eq!(unpack(None), Some(none));

        let small = reads([b"value".to_vec(), Vec::new()]);
        let packed = pack(&small).unwrap().unwrap();
        assert_eq!(unpack(Some(&packed)), Some(small));

        let repeating = reads((0..16).map(|_| vec![b'x'; 60_000]));
        let packed = pack(&repeating).unwrap().unwrap();
        assert!(packed.len() < 10_000, "{}", packed.len());
        assert_eq!(unpack(Some(&packed)), Some(repeating));

        let mut n = 1_u64;
        let mut noise = || {
            n = n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            n.to_be_bytes()[0]
        };
        let large = reads([(0..KEPT_BYTES_MAX).map(|_| noise()).collect()]);
        assert_eq!(pack(&large).unwrap(), Some(Vec::new()));
        assert_eq!(unpack(Some(&[])), None);
    }

    #[test]
    fn what_bit_rot_left_is_no_record() {
        let packed = pack(&reads([b"value".to_vec()])).unwrap().unwrap();
        for n in 0..packed.len() * 8 {
            let mut rotten = packed.clone();
            rotten[n / 8] ^= 1 << (n % 8);
            // It may still read as something; it must not panic, nor take much memory.
            drop(unpack(Some(&rotten)));
        }
        assert_eq!(unpack(Some(&packed[..packed.len() - 1])), None);
    }
}
