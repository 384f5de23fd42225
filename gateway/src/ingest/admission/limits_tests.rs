use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;

use super::*;

/// A clock that a test sets, backwards as well.
#[derive(Clone, Debug, Default)]
pub(super) struct SetClock(Arc<AtomicU64>);

impl SetClock {
    pub(super) fn set(&self, nanos: u64) {
        self.0.store(nanos, Ordering::Relaxed);
    }

    pub(super) fn advance(&self, by: Duration) {
        self.0.fetch_add(u64::try_from(by.as_nanos()).unwrap(), Ordering::Relaxed);
    }
}

impl Clock for SetClock {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        self.0.load(Ordering::Relaxed).into()
    }
}

fn rate(count: u32, seconds: u64, burst: u32) -> Rate {
    let [count, burst] = [count, burst].map(|number| number.try_into().unwrap());
    Rate { count, per: Duration::from_secs(seconds), burst }
}

fn per_client(rate: Rate) -> LimitsConfig {
    LimitsConfig { per_client: Some(rate), ..LimitsConfig::default() }
}

fn per_route(rate: Rate) -> LimitsConfig {
    LimitsConfig { per_route: Some(rate), ..LimitsConfig::default() }
}

fn limits(config: &LimitsConfig, clock: &SetClock) -> RouteLimits<SetClock> {
    RouteLimits::new(config, clock, None).unwrap()
}

const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

impl RouteLimits<SetClock> {
    fn lets_in(&self, client: &str) -> bool {
        self.charge_client(client.parse().unwrap()).unwrap().is_ok()
    }
}

#[test]
fn a_burst_is_let_in_at_once_and_then_one_after_the_other() {
    let clock = SetClock::default();
    let limits = limits(&per_client(rate(50, 60, 50)), &clock);
    let mut left = Vec::new();
    for _ in 0..50 {
        left.push(limits.charge_client(CLIENT).unwrap().unwrap());
    }
    assert_eq!((left[0].remaining, left[49].remaining), (49, 0));
    assert_eq!(left[49].full_in, Duration::from_secs(60));
    let used_up = limits.charge_client(CLIENT).unwrap().unwrap_err();
    assert_eq!(used_up.wait, Duration::from_millis(1_200));
    clock.advance(Duration::from_millis(1_199));
    assert!(limits.charge_client(CLIENT).unwrap().is_err(), "a millisecond too early");
    clock.advance(Duration::from_millis(1));
    assert!(limits.charge_client(CLIENT).unwrap().is_ok());
    assert!(limits.charge_client(CLIENT).unwrap().is_err(), "one, and no more");
    assert!(limits.lets_in("192.0.2.2"), "another client has its own");
}

#[test]
fn an_ipv6_client_is_its_64_bit_network_and_a_mapped_address_is_ipv4() {
    let clock = SetClock::default();
    let limits = limits(&per_client(rate(1, 60, 1)), &clock);
    for (client, is_in) in [
        ("2001:db8:0:1::1", true),
        ("2001:db8:0:1:ffff:ffff:ffff:ffff", false),
        ("2001:db8:0:2::1", true),
        ("192.0.2.1", true),
        ("::ffff:192.0.2.1", false),
        ("192.0.2.2", true),
    ] {
        assert_eq!(limits.lets_in(client), is_in, "{client}");
    }
}

#[test]
fn what_was_used_counts_when_limits_change() {
    let clock = SetClock::default();
    let used = |config: &LimitsConfig| {
        let limits = limits(config, &clock);
        // Twice a quarter of it, and some time between.
        for _ in 0..5 {
            assert!(limits.charge_client(CLIENT).into_iter().all(|told| told.is_ok()));
            assert!(limits.charge_route().into_iter().all(|told| told.is_ok()));
        }
        clock.advance(Duration::from_secs(6));
        limits
    };
    let remaining = |limits: &RouteLimits<SetClock>| {
        let told = limits.charge_client(CLIENT).or_else(|| limits.charge_route()).unwrap();
        told.map(|left| left.remaining).map_err(|used_up| used_up.wait)
    };
    for config in [per_client, per_route] {
        // One of five has come back after 6 s. Of what is left the question takes one.
        for (to, expected) in [
            (rate(10, 60, 10), Ok(5)),
            (rate(20, 60, 20), Ok(15)),
            (rate(20, 3_600, 20), Ok(15)),
            (rate(10, 60, 3), Err(Duration::from_secs(6))),
        ] {
            let before = used(&config(rate(10, 60, 10)));
            let after = RouteLimits::new(&config(to), &clock, Some(&before)).unwrap();
            assert_eq!(remaining(&after), expected, "{to}");
        }
    }
    assert!(RouteLimits::new(&LimitsConfig::default(), &clock, None).is_none());
}

#[test]
fn a_clock_that_jumps_gives_no_more_than_one_burst() {
    let clock = SetClock::default();
    clock.set(1_000_000_000_000);
    let limits = limits(&per_client(rate(10, 1, 10)), &clock);
    let let_in = || (0..100).filter(|_| limits.charge_client(CLIENT).unwrap().is_ok()).count();
    assert_eq!(let_in(), 10);
    // As after a day of sleep.
    clock.advance(Duration::from_secs(86_400));
    assert_eq!(let_in(), 10);
    // Back by a minute: nobody is let in on credit, and it is over when the time is reached again.
    clock.set(clock.now().as_u64() - 60_000_000_000);
    assert_eq!(let_in(), 0);
    clock.advance(Duration::from_secs(61));
    assert_eq!(let_in(), 10);
}

proptest! {
    /// Whatever comes when: what is let in is what a bucket computed in whole nanoseconds lets in,
    /// and under a flood it is the burst and the rate, to 1 %.
    #[test]
    fn a_limit_lets_in_what_it_says(
        count in 1_u32..2_000,
        seconds in prop::sample::select(vec![1_u64, 60, 3_600]),
        burst in 1_u32..200,
        arrivals in 200_usize..2_000,
        flood in 1_u64..20,
    ) {
        let rate = rate(count, seconds, burst);
        let interval = u64::try_from(rate.interval().as_nanos()).unwrap();
        let clock = SetClock::default();
        let limits = limits(&per_route(rate), &clock);
        // At this many times the rate.
        let gap = (interval / flood).max(1);
        let full = interval * u64::from(burst);
        let mut debt: u64 = 0;
        let mut let_in: u64 = 0;
        for _ in 0..arrivals {
            let is_in = limits.charge_route().unwrap().is_ok();
            let expected = debt + interval <= full;
            prop_assert_eq!(is_in, expected);
            debt += if is_in { interval } else { 0 };
            let_in += u64::from(is_in);
            clock.advance(Duration::from_nanos(gap));
            debt = debt.saturating_sub(gap);
        }
        let passed = gap * (arrivals as u64 - 1);
        let allowed = u64::from(burst) + passed / interval;
        prop_assert!(let_in <= allowed);
        // Of one place at a time, whoever comes a moment too early leaves it empty until the next.
        prop_assume!(burst > 1);
        let come = (arrivals as u64).min(allowed);
        prop_assert!(let_in + 1 >= come - come / 100, "{} of {}", let_in, come);
    }

    /// Who waits for as long as they are told is let in; who waits for a thousandth less is not.
    #[test]
    fn waiting_as_long_as_told_is_enough_and_necessary(
        count in 1_u32..1_000,
        burst in 1_u32..20,
        gaps in prop::collection::vec(0_u64..2_000, 1..60),
    ) {
        let clock = SetClock::default();
        let limits = limits(&per_client(rate(count, 60, burst)), &clock);
        for gap in gaps {
            clock.advance(Duration::from_millis(gap));
            if let Err(used_up) = limits.charge_client(CLIENT).unwrap() {
                let now = clock.now().as_u64();
                clock.advance(used_up.wait - used_up.wait / 1_000 - Duration::from_nanos(1));
                prop_assert!(limits.charge_client(CLIENT).unwrap().is_err());
                clock.set(now);
                clock.advance(used_up.wait);
                prop_assert!(limits.charge_client(CLIENT).unwrap().is_ok());
            }
        }
    }
}
