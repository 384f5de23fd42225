//! What columns hold, as numbers and bytes.

use crate::model::Disposition;

/// `names.kind`.
pub(super) const ROUTE: i64 = 1;
pub(super) const DESTINATION: i64 = 2;

/// `deliveries.state` of what is pending.
pub(super) const FRESH: i64 = 0;
pub(super) const PARKED: i64 = 1;

/// `requests.disposition`.
pub(super) const fn disposition_number(disposition: Disposition) -> i64 {
    match disposition {
        Disposition::Accepted => 0,
        Disposition::Ignored => 1,
        Disposition::Duplicate => 2,
        Disposition::Rejected => 3,
        Disposition::Quarantined => 4,
        Disposition::Superseded => 5,
    }
}

/// The inverse of [`disposition_number`].
pub(super) fn disposition_from(number: i64) -> Option<Disposition> {
    [
        Disposition::Accepted,
        Disposition::Ignored,
        Disposition::Duplicate,
        Disposition::Rejected,
        Disposition::Quarantined,
        Disposition::Superseded,
    ]
    .into_iter()
    .find(|each| disposition_number(*each) == number)
}

/// A number as SQLite keeps it; the few above its range stay at its end.
pub(super) fn sql(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The inverse of [`sql`]; negative ones, which are never stored, read as zero.
pub(super) fn unsql(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

/// The first `N` bytes, zeros where there are fewer.
pub(super) fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut array = [0; N];
    for (to, from) in array.iter_mut().zip(bytes) {
        *to = *from;
    }
    array
}
