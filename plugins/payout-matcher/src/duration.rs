//! Durations of calls, in whole seconds.

/// A day: more is a number of milliseconds, which is not guessed.
const SECONDS_MAX: u64 = 86_400;

/// Why a duration cannot be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoDuration {
    Unreadable,
    TooLong,
}

/// Reads `90`, `90.0`, `1:30` or `00:01:30`; parts of a second are cut off.
pub(crate) fn read(text: &str) -> Result<u64, NoDuration> {
    let text = text.trim();
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    if digits(fraction).is_none() {
        return Err(NoDuration::Unreadable);
    }
    let parts: Vec<&str> = whole.split(':').collect();
    let seconds = match parts.as_slice() {
        [seconds] => digits(seconds),
        [minutes, seconds] => of_clock("0", minutes, seconds),
        [hours, minutes, seconds] => of_clock(hours, minutes, seconds),
        _ => None,
    };
    match seconds {
        None => Err(NoDuration::Unreadable),
        Some(seconds) if seconds > SECONDS_MAX => Err(NoDuration::TooLong),
        Some(seconds) => Ok(seconds),
    }
}

fn of_clock(hours: &str, minutes: &str, seconds: &str) -> Option<u64> {
    // Minutes may exceed an hour where they stand first: `90:00`.
    let seconds = digits(seconds).filter(|seconds| *seconds < 60)?;
    let (hours, minutes) = (digits(hours)?, digits(minutes)?);
    (hours == 0 || minutes < 60)
        .then(|| {
            hours.checked_mul(3600)?.checked_add(minutes.checked_mul(60)?)?.checked_add(seconds)
        })
        .flatten()
}

fn digits(text: &str) -> Option<u64> {
    let fits = (1..=18).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    fits.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_in_every_form() {
        for (text, seconds) in [
            ("90", 90),
            ("0", 0),
            ("90.0", 90),
            ("90.9", 90),
            (" 90 ", 90),
            ("1:30", 90),
            ("90:00", 5400),
            ("00:01:30", 90),
            ("1:00:00", 3600),
            ("86400", 86_400),
        ] {
            assert_eq!(read(text), Ok(seconds), "{text}");
        }
        for text in ["", "x", "-1", "1:60", "1:60:00", "1:2:3:4", "9e1", "90s", "1.", ":30"] {
            assert_eq!(read(text), Err(NoDuration::Unreadable), "{text}");
        }
        for text in ["86401", "90000", "25:00:00"] {
            assert_eq!(read(text), Err(NoDuration::TooLong), "{text}");
        }
    }
}
