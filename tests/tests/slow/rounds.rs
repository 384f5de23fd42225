//! A healthy provider in turns alone and beside an attack.

use std::time::Duration;

use sluice_tests::{Gateway, long};

use super::healthy::{Healthy, Seen};

/// How long a provider is watched before an attack.
const ALONE: Duration = Duration::from_secs(2);

/// Nobody measures the first requests of a process.
const WARM_UP: Duration = Duration::from_millis(500);

/// Rounds of the long form. The short one ends after the first two or more that show what is to be
/// shown.
const ROUNDS: usize = 5;
const ROUNDS_MIN: usize = 2;

/// Below this, the slowest hundredth is made by the system's scheduler, not by the gateway: of two
/// threads that want one core each gets a tick, 4 ms at Debian's 250 Hz, and a request needs the core
/// twice, once for the gateway and once for the client that measures.
const FLOOR: Duration = Duration::from_millis(8);

/// What the slowest hundredth took in each round.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    alone: Vec<Duration>,
    beside: Vec<Duration>,
}

impl Rounds {
    /// Whether a provider's slowest hundredth takes at most twice as long beside the attack: by the
    /// medians over the rounds, so that no single burst of other work decides.
    pub(super) fn unharmed(&self) -> bool {
        median(&self.beside) <= (median(&self.alone) * 2).max(FLOOR)
    }

    fn add(&mut self, what: &str, alone: &Seen, beside: &Seen) {
        println!("{what}: alone {alone}; beside it {beside}");
        assert_eq!((alone.failed(), beside.failed()), (0, 0), "{what}");
        self.alone.push(alone.p99());
        self.beside.push(beside.p99());
    }
}

/// The larger of two in the middle.
fn median(times: &[Duration]) -> Duration {
    let mut times = times.to_vec();
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// Watches a healthy provider while nothing goes on and while `offend` runs, in turns, until `enough`
/// is shown. Nothing of it may fail.
pub(super) async fn rounds(
    what: &str,
    gateway: &Gateway,
    enough: impl Fn(&Rounds) -> bool,
    offend: impl AsyncFn(),
) -> Rounds {
    rounds_of(&Healthy::default(), what, gateway, enough, offend).await
}

/// The same with a provider of one's own.
pub(super) async fn rounds_of(
    healthy: &Healthy,
    what: &str,
    gateway: &Gateway,
    enough: impl Fn(&Rounds) -> bool,
    offend: impl AsyncFn(),
) -> Rounds {
    let to = gateway.ingest();
    healthy.alone(to, WARM_UP).await;
    let mut rounds = Rounds::default();
    for round in 1..=ROUNDS {
        let alone = healthy.alone(to, ALONE).await;
        let (beside, ()) = tokio::join!(healthy.run(to), async {
            offend().await;
            healthy.stop();
        });
        rounds.add(what, &alone, &beside);
        if !long() && round >= ROUNDS_MIN && enough(&rounds) {
            break;
        }
    }
    let (alone, beside) = (median(&rounds.alone), median(&rounds.beside));
    let count = rounds.alone.len();
    println!("{what}: medians of {count} rounds, p99 alone {alone:.1?}, beside it {beside:.1?}");
    rounds
}
