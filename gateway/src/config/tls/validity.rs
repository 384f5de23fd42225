//! When a certificate expires: the one field of X.509 that nothing else here reads.
//!
//! A reader of its own, because the crates that read X.509 whole bring a dozen others with them for
//! this one date. It walks RFC 5280 section 4.1 as far as `validity` and no further; rustls has read
//! the rest.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::model::UnixMillis;

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// `[0] EXPLICIT`: the version, where it is not 1.
const VERSION: u8 = 0xa0;

/// When the certificate, in DER, is no longer valid.
pub(super) fn expires_at(certificate: &[u8]) -> Option<UnixMillis> {
    let (certificate, _) = take(certificate, &[SEQUENCE])?;
    let (mut signed, _) = take(certificate, &[SEQUENCE])?;
    if let Some((_, rest)) = take(signed, &[VERSION]) {
        signed = rest;
    }
    // Serial number, signature algorithm, issuer.
    for tag in [INTEGER, SEQUENCE, SEQUENCE] {
        (_, signed) = take(signed, &[tag])?;
    }
    let (validity, _) = take(signed, &[SEQUENCE])?;
    let (_, after) = take(validity, &[UTC_TIME, GENERALIZED_TIME])?;
    let is_short = after.first() == Some(&UTC_TIME);
    let (time, _) = take(after, &[UTC_TIME, GENERALIZED_TIME])?;
    read_time(std::str::from_utf8(time).ok()?, is_short)
}

/// The content of the element that `from` begins with, if its tag is one of `tags`; and what
/// follows it.
fn take<'d>(from: &'d [u8], tags: &[u8]) -> Option<(&'d [u8], &'d [u8])> {
    let (tag, rest) = from.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match *first {
        short @ 0..=0x7f => (usize::from(short), rest),
        // Of two or three bytes at most: 64 KiB are far more than a certificate has.
        long @ 0x81..=0x83 => {
            let (length, rest) = rest.split_at_checked(usize::from(long & 0x7f))?;
            (length.iter().fold(0, |length, byte| (length << 8) | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    if tags.contains(tag) { rest.split_at_checked(length) } else { None }
}

/// `YYMMDDhhmmssZ`, of the years 1950 to 2049, or with four digits of the year.
fn read_time(text: &str, is_short: bool) -> Option<UnixMillis> {
    let text = text.strip_suffix('Z')?;
    let full = match (is_short, text.get(..2)?.parse::<u8>().ok()?) {
        (true, 50..) => format!("19{text}"),
        (true, _) => format!("20{text}"),
        (false, _) => text.to_owned(),
    };
    let time = DateTime::strptime("%Y%m%d%H%M%S", &full).ok()?;
    let at = TimeZone::UTC.to_zoned(time).ok()?.timestamp().as_millisecond();
    Some(UnixMillis(u64::try_from(at).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_expiry_is_the_one_that_the_certificate_was_made_with() {
        for (year, expected) in [
            (1999, 915_148_800_000_u64),
            (2049, 2_493_072_000_000),
            (2050, 2_524_608_000_000),
            (9999, 253_370_764_800_000),
        ] {
            let mut parameters = rcgen::CertificateParams::new(["a.example".to_owned()]).unwrap();
            parameters.not_before = rcgen::date_time_ymd(1990, 1, 1);
            parameters.not_after = rcgen::date_time_ymd(year, 1, 1);
            let made = parameters.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
            assert_eq!(expires_at(made.der()), Some(UnixMillis(expected)), "{year}");
            // Nothing shorter is read, and nothing makes it panic.
            for end in 0..60 {
                assert_eq!(expires_at(&made.der()[..end]), None);
            }
        }
    }

    #[test]
    fn only_a_time_as_rfc_5280_has_it_is_read() {
        assert_eq!(read_time("700101000001Z", true), Some(UnixMillis(1_000)));
        assert_eq!(read_time("19700101000001Z", false), Some(UnixMillis(1_000)));
        for wrong in ["", "Z", "700101000001", "701301000001Z", "7001010000010Z", "é00101000001Z"]
        {
            assert_eq!(read_time(wrong, true), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            expires_at(&bytes);
        }
    }
}
