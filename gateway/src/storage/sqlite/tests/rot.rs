//! A disk that changes bits by itself: what is no longer as it was committed is never delivered as
//! intact, and never shown as such. SQLite has no checksums of its own.

use super::*;
use crate::model::Event;
use crate::storage::StoredEvent;

/// Bits flipped, one a time, in a file with so many events; with `--long` more.
const FLIPS: u64 = 60;
const FLIPS_LONG: u64 = 3_000;
const EVENTS: usize = 40;

/// Which bit is flipped next: a small generator (`SplitMix64`), so that a run can be repeated.
fn next(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *seed;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// What became of the flips.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    /// The store said at the start that it is damaged, or while it was read.
    refused: usize,
    /// Events that were found to be changed.
    found: usize,
    /// Events that were handed out although they were.
    altered: usize,
    /// Events that were handed out to another destination than theirs.
    astray: usize,
    /// Bodies and events that were shown as intact although they were not, or of another request.
    shown: usize,
    /// Events neither handed out nor known to be damaged, of a store that said nothing.
    gone: usize,
}

/// Leases everything of a store in which one bit is another, and compares.
fn look(
    bench: &Fixture,
    events: &[(Event, &'static str)],
    bodies: &[(RequestId, Vec<u8>)],
    tally: &mut Tally,
) {
    let Ok(store) = bench.open() else {
        tally.refused += 1;
        return;
    };
    let mut handed_out = 0;
    let mut failed = false;
    for name in ["a", "b"] {
        let leased = block_on(store.lease(&destination(name), 2 * EVENTS, LEASE));
        failed |= leased.is_err();
        for leased in leased.unwrap_or_default() {
            handed_out += 1;
            if !leased.intact {
                tally.found += 1;
                continue;
            }
            match events.iter().find(|(event, _)| *event == leased.event) {
                None => tally.altered += 1,
                Some((_, owed)) => tally.astray += usize::from(*owed != name),
            }
        }
    }
    for (id, body) in bodies {
        match block_on(store.request(*id)) {
            Ok(Some(stored)) if stored.intact => {
                let is_changed = stored.record.body.as_ref() != body.as_slice();
                let is_anothers = |shown: &StoredEvent| {
                    shown.intact
                        && !events.iter().any(|(e, _)| e.request == *id && *e == shown.event)
                };
                let others = stored.events.iter().filter(|event| is_anothers(event)).count();
                tally.shown += usize::from(is_changed) + others;
            }
            Ok(_) => {}
            Err(_) => failed = true,
        }
    }
    let health = block_on(store.health());
    let dead = health.map_or(0, |health| usize::try_from(health.dead_letters).unwrap());
    if handed_out + dead < events.len() && !failed {
        tally.gone += events.len() - handed_out - dead;
    }
    tally.refused += usize::from(failed);
    block_on(store.close());
}

#[test]
fn a_flipped_bit_is_never_delivered() {
    let is_long = std::env::var_os("SLUICE_TEST_LONG").is_some();
    let seed: u64 = std::env::var("SLUICE_SEED").map_or_else(
        |_| {
            RequestId::new(START)
                .to_string()
                .bytes()
                .fold(7_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)))
        },
        |seed| seed.parse().unwrap(),
    );
    show(&format!("SLUICE_SEED={seed}"));
    let mut random = seed;
    let mut bench = Fixture::new();
    let (mut events, mut bodies) = (Vec::new(), Vec::new());
    for n in 0..EVENTS {
        let owed = if n % 2 == 0 { "a" } else { "b" };
        let new = commit(START).event(Some(key(&n.to_string(), 600)), &[owed]);
        events.push((new.events[0].event.clone(), owed));
        bodies.push((new.request.id, new.request.body.to_vec()));
        put(bench.store(), new);
    }
    bench.close();
    let sound = fs::read(bench.path()).unwrap();
    let mut tally = Tally::default();
    // The control: of a sound file everything is handed out, and nothing said.
    bench.folder = tempfile::tempdir().unwrap();
    fs::write(bench.path(), &sound).unwrap();
    look(&bench, &events, &bodies, &mut tally);
    assert_eq!(tally, Tally::default());
    for _ in 0..if is_long { FLIPS_LONG } else { FLIPS } {
        let bit = usize::try_from(next(&mut random) % (8 * sound.len() as u64)).unwrap();
        let mut rotten = sound.clone();
        rotten[bit / 8] ^= 1 << (bit % 8);
        bench.folder = tempfile::tempdir().unwrap();
        fs::write(bench.path(), &rotten).unwrap();
        look(&bench, &events, &bodies, &mut tally);
    }
    show(&format!("{tally:?}"));
    assert!(tally.found + tally.refused > 0, "no flip was met");
    assert_eq!((tally.altered, tally.astray, tally.shown), (0, 0, 0), "{tally:?}");
}

#[expect(clippy::print_stdout, reason = "figures of a test are printed")]
fn show(text: &str) {
    println!("{text}");
}
