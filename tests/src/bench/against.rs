//! The gateway and another one, as the last release, in pairs: what a change costs, on a machine that
//! does not do the same from one minute to the next.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;

use super::http::{self, HTTP_2, Loaded, Measured, WRK, Way};
use super::table::{Bar, Figure};
use super::{median, say, settled};
use crate::artifacts;

/// A tenth slower is too slow; less cannot be told from chance here.
const RATIO_MIN: f64 = 0.90;

/// Before anything is measured: compiled pages are touched, and caches filled.
const WARM_UP: Duration = Duration::from_secs(2);

/// What one of the two did in a round.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Did {
    answers: f64,
    seconds: f64,
    /// Of processor time.
    used: f64,
}

impl Did {
    fn add(&mut self, other: Self) {
        self.answers += other.answers;
        self.seconds += other.seconds;
        self.used += other.used;
    }

    fn per_second(self) -> f64 {
        self.answers / self.seconds
    }

    /// Microseconds.
    fn per_answer(self) -> f64 {
        self.used / self.answers * 1e6
    }
}

/// Measures both, and compares them.
///
/// # Errors
///
/// Where something is not built, does not start, or refuses what it is sent.
pub async fn figures(other: &Path, time: Duration, rounds: u32) -> anyhow::Result<Vec<Figure>> {
    let this = start("this, ", &artifacts::gateway()?).await?;
    let other = std::path::absolute(other).context("the other gateway")?;
    let other = start("other, ", &other).await.with_context(|| other.display().to_string())?;
    let mut both = [this, other];
    say("Loading both in pairs, 64 requests in flight");
    let mut figures = Vec::new();
    for (way, names) in [
        (WRK, ["HTTP/1.1, this gateway", "HTTP/1.1, the other", "HTTP/1.1, this : other"]),
        (HTTP_2, ["HTTP/2, this gateway", "HTTP/2, the other", "HTTP/2, this : other"]),
    ] {
        for loaded in &mut both {
            loaded.run(way, WARM_UP)?;
            settled(&loaded.gateway).await?;
        }
        let mut pairs = Vec::new();
        for _ in 0..rounds {
            pairs.push(round(&mut both, way, time).await?);
        }
        figures.extend(compare(&pairs, names));
    }
    for loaded in both {
        loaded.finish().await?;
    }
    Ok(figures)
}

async fn start(called: &'static str, program: &Path) -> anyhow::Result<Loaded> {
    let home = http::home()?;
    let gateway = home.start_by(Command::new(program), &[]).await?;
    Ok(Loaded::new(called, home, gateway))
}

/// This, the other, the other, this: a machine that becomes slower or faster meanwhile does so to both.
async fn round(both: &mut [Loaded; 2], way: Way, time: Duration) -> anyhow::Result<[Did; 2]> {
    let mut did = [Did::default(); 2];
    for which in [0, 1, 1, 0] {
        let (Some(loaded), Some(sum)) = (both.get_mut(which), did.get_mut(which)) else { continue };
        let Measured { run, used } = loaded.run(way, time)?;
        #[expect(clippy::cast_precision_loss, reason = "a count of requests in some seconds")]
        let answers = run.answered_200() as f64;
        sum.add(Did { answers, seconds: run.seconds, used: used.as_secs_f64() });
        // What is left to deliver is not to disturb who comes next.
        settled(&loaded.gateway).await?;
    }
    Ok(did)
}

/// The medians of both, and the median of the rounds' ratios.
fn compare(pairs: &[[Did; 2]], [this, other, ratio]: [&'static str; 3]) -> Vec<Figure> {
    let of =
        |value: &dyn Fn(&[Did; 2]) -> f64| median(&pairs.iter().map(value).collect::<Vec<_>>());
    let figure = |name, value, unit, bar| Figure { name, value, unit, bar };

    vec![
        figure(this, of(&|[this, _]| this.per_second()), "requests/s", Bar::None),
        figure(
            "  processor time of a request",
            of(&|[this, _]| this.per_answer()),
            "us",
            Bar::None,
        ),
        figure(other, of(&|[_, other]| other.per_second()), "requests/s", Bar::None),
        figure(
            "  processor time of a request",
            of(&|[_, other]| other.per_answer()),
            "us",
            Bar::None,
        ),
        figure(
            ratio,
            of(&|[this, other]| this.per_second() / other.per_second()),
            "",
            Bar::AtLeast(RATIO_MIN),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn did(answers: f64) -> Did {
        Did { answers, seconds: 2.0, used: 0.1 }
    }

    #[test]
    fn the_ratio_is_the_middle_one_of_the_rounds_and_a_tenth_less_is_too_little() {
        let names = ["this", "other", "ratio"];
        // A round in which the machine did something else counts for as much as any.
        let pairs =
            [[did(950.0), did(1_000.0)], [did(100.0), did(1_000.0)], [did(92.0), did(100.0)]];
        let figures = compare(&pairs, names);
        assert!((figures[4].value - 0.92).abs() < 1e-9 && figures[4].reached(), "{figures:?}");
        assert!((figures[0].value - 50.0).abs() < 1e-9, "{figures:?}");
        let slower = [[did(89.0), did(100.0)]; 3];
        assert!(!compare(&slower, names)[4].reached());
        assert!((did(1_000.0).per_answer() - 100.0).abs() < 1e-9);
    }
}
