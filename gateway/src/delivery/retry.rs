//! What follows a failed attempt: pure decisions, without clock, storage or randomness.

use std::time::{Duration, SystemTime};

use crate::config::RetryConfig;
use crate::model::UnixMillis;

/// Longest delay that a destination may ask for. A day is past every maintenance window, and one
/// mistaken header (a time in milliseconds, the year 2100) cannot park a delivery for ever.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// What follows a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Due again after this long.
    RetryAfter(Duration),
    /// The schedule has no further delay.
    DeadLetter,
}

/// When, if ever, to try again.
#[derive(Clone, Debug)]
pub struct RetrySchedule {
    /// The delay after attempt `n` is `delays[n - 1]`.
    delays: Vec<Duration>,
    /// Share of a delay that may be added, 0.0 to 1.0.
    jitter: f64,
}

impl From<&RetryConfig> for RetrySchedule {
    fn from(config: &RetryConfig) -> Self {
        let jitter = if config.jitter.is_finite() { config.jitter.clamp(0.0, 1.0) } else { 0.0 };
        Self { delays: config.delays.clone(), jitter }
    }
}

impl RetrySchedule {
    /// Decides what follows the failure of attempt `number` (1 for the first).
    ///
    /// `asked` is the destination's `Retry-After`: it may lengthen the delay up to
    /// [`RETRY_AFTER_MAX`] but never shorten it, so that a destination cannot make us hammer it.
    /// `random` is from 0.0 to 1.0 and decides how much of the jitter is added.
    #[must_use]
    pub fn next(&self, number: u32, asked: Option<Duration>, random: f64) -> Next {
        let index = usize::try_from(number.saturating_sub(1)).unwrap_or(usize::MAX);
        let Some(&planned) = self.delays.get(index) else {
            return Next::DeadLetter;
        };
        let added = planned.mul_f64(self.jitter * random.clamp(0.0, 1.0));
        let planned = planned.saturating_add(added);
        let asked = asked.unwrap_or_default().min(RETRY_AFTER_MAX);
        Next::RetryAfter(planned.max(asked))
    }
}

/// Reads `Retry-After` (RFC 9110 section 10.2.3): seconds, or an HTTP date in one of its three
/// forms. `None` where it is neither; a date in the past is no delay; numbers beyond a `u64` are
/// simply long.
#[must_use]
pub fn parse_retry_after(value: &str, now: UnixMillis) -> Option<Duration> {
    let value = value.trim_matches([' ', '\t']);
    if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) {
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    let now = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(now.0))?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn schedule(delays: &[u64], jitter: f64) -> RetrySchedule {
        let delays = delays.iter().copied().map(secs).collect();
        RetrySchedule::from(&RetryConfig { delays, jitter })
    }

    #[track_caller]
    fn check(number: u32, asked: Option<u64>, expected: Next) {
        let schedule = schedule(&[5, 300, 1_800, 7_200, 18_000, 36_000], 0.0);
        assert_eq!(schedule.next(number, asked.map(secs), 0.5), expected);
    }

    #[test]
    fn each_failure_waits_for_the_next_delay_and_the_last_gives_up() {
        let delays = [5, 300, 1_800, 7_200, 18_000, 36_000];
        for (number, delay) in (1..).zip(delays) {
            check(number, None, Next::RetryAfter(secs(delay)));
        }
        check(7, None, Next::DeadLetter);
        check(u32::MAX, Some(1), Next::DeadLetter);
    }

    #[test]
    fn retry_after_may_lengthen_but_not_shorten_or_exceed_a_day() {
        check(1, Some(60), Next::RetryAfter(secs(60)));
        check(2, Some(1), Next::RetryAfter(secs(300)));
        check(1, Some(0), Next::RetryAfter(secs(5)));
        check(1, Some(315_360_000), Next::RetryAfter(RETRY_AFTER_MAX));
        check(1, Some(u64::MAX), Next::RetryAfter(RETRY_AFTER_MAX));
    }

    #[test]
    fn jitter_is_added_in_proportion() {
        let schedule = schedule(&[100], 0.2);
        assert_eq!(schedule.next(1, None, 0.0), Next::RetryAfter(secs(100)));
        assert_eq!(schedule.next(1, None, 0.5), Next::RetryAfter(secs(110)));
        assert_eq!(schedule.next(1, None, 1.0), Next::RetryAfter(secs(120)));
    }

    #[test]
    fn a_schedule_without_delays_gives_up_at_once() {
        assert_eq!(schedule(&[], 0.2).next(1, Some(secs(9)), 0.1), Next::DeadLetter);
    }

    /// 2024-06-15T11:51:35Z.
    const NOW: UnixMillis = UnixMillis(1_718_452_295_000);

    #[test]
    fn retry_after_is_read_in_all_its_forms() {
        for (value, expected) in [
            ("0", Some(0)),
            ("120", Some(120)),
            (" 120\t", Some(120)),
            ("0007", Some(7)),
            ("99999999999999999999999999", Some(u64::MAX)),
            ("Sat, 15 Jun 2024 11:52:35 GMT", Some(60)),
            ("Saturday, 15-Jun-24 11:52:35 GMT", Some(60)),
            ("Sat Jun 15 11:52:35 2024", Some(60)),
            ("Sat, 15 Jun 2024 11:51:35 GMT", Some(0)),
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            ("", None),
            ("-1", None),
            ("+5", None),
            ("1.5", None),
            ("5s", None),
            ("5, 6", None),
            ("tomorrow", None),
            ("Sat, 15 Jun 2024", None),
            ("2024-06-15T11:52:35Z", None),
        ] {
            assert_eq!(parse_retry_after(value, NOW), expected.map(secs), "{value:?}");
        }
    }

    #[test]
    fn ten_years_from_now_are_capped_by_the_schedule() {
        let asked = parse_retry_after("Thu, 15 Jun 2034 11:51:35 GMT", NOW);
        assert!(asked > Some(secs(9 * 365 * 86_400)), "{asked:?}");
        check(1, asked.map(|asked| asked.as_secs()), Next::RetryAfter(RETRY_AFTER_MAX));
    }

    proptest! {
        #[test]
        fn a_delay_never_leaves_its_bounds(
            delays in prop::collection::vec(0_u64..1_000_000, 0..20),
            number in 0_u32..25,
            asked in prop::option::of(any::<u64>()),
            jitter in 0.0_f64..=1.0,
            random in 0.0_f64..=1.0,
        ) {
            let index = usize::try_from(number.saturating_sub(1)).unwrap();
            let planned = delays.get(index).copied().map(secs);
            let asked = asked.map(secs);
            match schedule(&delays, jitter).next(number, asked, random) {
                Next::RetryAfter(delay) => {
                    let planned = planned.unwrap();
                    let asked = asked.unwrap_or_default().min(RETRY_AFTER_MAX);
                    prop_assert!(delay >= planned && delay >= asked);
                    // One microsecond of slack for the rounding of a product.
                    let most = planned.mul_f64(1.0 + jitter) + Duration::from_micros(1);
                    prop_assert!(delay <= most.max(asked));
                }
                Next::DeadLetter => prop_assert!(planned.is_none()),
            }
        }

        #[test]
        fn any_text_is_read_without_a_panic(value in "\\PC*", now in any::<u64>()) {
            let _asked = parse_retry_after(&value, UnixMillis(now));
        }
    }
}
