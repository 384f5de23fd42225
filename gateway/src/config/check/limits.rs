//! `limits` of a route.

use std::num::NonZeroU32;
use std::time::Duration;

use super::super::Problems;
use super::super::checked::{LimitsConfig, Rate};
use super::super::raw::{Node, Value};
use super::super::section::{Bounds, Section, shown, string};

/// Most requests of a rate, and of a burst.
const COUNT_MAX: u32 = 1_000_000;

/// Longest time in which a whole burst may come back: a limit that is slower than that is no
/// limit of traffic any more.
const WINDOW_MAX: Duration = Duration::from_secs(7 * 24 * 60 * 60);

const BURST: Bounds<usize> = Bounds::new(1, 1, COUNT_MAX as usize);

const RATE_HELP: &str = "a number and a unit, as `50/min`: `s`, `min`, `h` or `d`";

pub(super) fn check(section: &mut Section<'_>, problems: &mut Problems) -> LimitsConfig {
    let mut limits = section.section("limits", problems);
    let mut one = |key| limits.node(key).and_then(|node| rate(node, problems));
    let (per_client, per_route) = (one("per_client"), one("per_route"));
    let headers = limits.boolean("headers", problems).unwrap_or(false);
    limits.finish(&[], problems);
    LimitsConfig { per_client, per_route, headers }
}

/// `"50/min"`, or `{ rate = "50/min", burst = 100 }`.
fn rate(node: &Node, problems: &mut Problems) -> Option<Rate> {
    if !matches!(node.value, Value::Table(_)) {
        let (count, per) = count_and_unit(node, problems)?;
        return Some(Rate { count, per, burst: count });
    }
    let mut section = Section::of(node, problems);
    let rated = section
        .required("rate", RATE_HELP, problems)
        .and_then(|node| Some((&node.at, count_and_unit(node, problems)?)));
    let burst_at = section.place_of("burst");
    let burst = burst_at.map(|_| section.count("burst", &BURST, problems));
    section.finish(&[], problems);
    let (at, (count, per)) = rated?;
    let burst = burst.and_then(|burst| u32::try_from(burst).ok()).and_then(NonZeroU32::new);
    let rate = Rate { count, per, burst: burst.unwrap_or(count) };
    if rate.window() > WINDOW_MAX {
        let help = "so many come back within 7 days at most: a smaller burst, or a higher rate";
        let at = burst_at.unwrap_or(at);
        problems.push(at, "comes back too slowly at this rate", Some(help.to_owned()));
        return None;
    }
    Some(rate)
}

fn count_and_unit(node: &Node, problems: &mut Problems) -> Option<(NonZeroU32, Duration)> {
    let text = string(node, problems)?;
    let parsed = parse(text);
    if parsed.is_none() {
        let message = format!("{} is not a rate", shown(text));
        problems.push(&node.at, message, Some(format!("{RATE_HELP}; from 1 to {COUNT_MAX}")));
    }
    parsed
}

fn parse(text: &str) -> Option<(NonZeroU32, Duration)> {
    let (count, unit) = text.split_once('/')?;
    // Digits only: the standard library takes a sign as well.
    let count = count.bytes().all(|byte| byte.is_ascii_digit()).then(|| count.parse().ok())??;
    let seconds = match unit {
        "s" => 1,
        "min" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        _ => return None,
    };
    let count = NonZeroU32::new(count).filter(|count| count.get() <= COUNT_MAX)?;
    Some((count, Duration::from_secs(seconds)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_and_told_as_they_are_written() {
        for text in ["1/s", "50/min", "1000000/h", "7/d"] {
            let (count, per) = parse(text).unwrap();
            assert_eq!(Rate { count, per, burst: count }.to_string(), text);
        }
        for text in
            ["", "50", "0/min", "-1/s", "+1/s", "1000001/s", "5/week", " 5/s", "5 / s", "/s"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
