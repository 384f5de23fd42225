use proptest::prelude::*;

use super::*;

const fn bytes(number: u8) -> Fingerprint {
    Fingerprint::number(number)
}

const fn millis(number: u64) -> Duration {
    Duration::from_millis(number)
}

fn path() -> PathBuf {
    PathBuf::from("sluice.toml")
}

#[test]
fn bytes_are_applied_once_they_have_rested() {
    let start = Instant::now();
    let mut settling = Settling::new(bytes(0), start);
    assert_eq!(settling.look(bytes(0), start), Verdict::Still);
    assert_eq!(settling.look(bytes(1), start + millis(5)), Verdict::Wait(start + millis(255)));
    assert_eq!(settling.look(bytes(1), start + millis(254)), Verdict::Wait(start + millis(255)));
    assert_eq!(settling.look(bytes(1), start + millis(255)), Verdict::Settled(bytes(1)));
    settling.done(bytes(1));
    assert_eq!(settling.look(bytes(1), start + millis(600)), Verdict::Still);
}

#[test]
fn a_file_in_two_steps_is_never_applied_half() {
    let start = Instant::now();
    let mut settling = Settling::new(bytes(0), start);
    settling.note(Seen::Written(path()));
    settling.note(Seen::Closed(path()));
    assert_eq!(settling.look(bytes(1), start), Verdict::Wait(start + millis(250)));
    let second = start + millis(50);
    assert_eq!(settling.look(bytes(2), second), Verdict::Wait(second + millis(250)));
    assert_eq!(settling.look(bytes(2), start + millis(250)), Verdict::Wait(second + millis(250)));
    assert_eq!(settling.look(bytes(2), second + millis(250)), Verdict::Settled(bytes(2)));
}

#[test]
fn what_is_taken_back_before_it_rested_never_was() {
    let start = Instant::now();
    let mut settling = Settling::new(bytes(0), start);
    settling.look(bytes(1), start);
    assert_eq!(settling.look(bytes(0), start + millis(100)), Verdict::Still);
    assert_eq!(settling.look(bytes(1), start + millis(260)), Verdict::Wait(start + millis(510)));
}

#[test]
fn a_file_that_was_written_waits_for_its_close() {
    let start = Instant::now();
    let mut settling = Settling::new(bytes(0), start);
    settling.note(Seen::Written(path()));
    settling.look(bytes(1), start);
    let later = start + millis(9_000);
    assert_eq!(settling.look(bytes(1), later), Verdict::Wait(later + REST));
    assert_eq!(settling.overdue(later), None);
    let overdue = start + PATIENCE;
    assert_eq!(settling.overdue(overdue), Some(PATIENCE));
    assert_eq!(settling.overdue(overdue), None, "told once");
    settling.note(Seen::Closed(path()));
    assert_eq!(settling.look(bytes(1), later), Verdict::Settled(bytes(1)));

    // Another file by the same name, or a watcher that lost count: nobody waits for the close.
    for seen in [Seen::Replaced(path()), Seen::Lost] {
        settling.note(Seen::Written(path()));
        assert!(matches!(settling.look(bytes(1), later), Verdict::Wait(_)));
        settling.note(seen);
        assert_eq!(settling.look(bytes(1), later), Verdict::Settled(bytes(1)));
    }
}

#[derive(Clone, Debug)]
enum Step {
    Note(Seen),
    Bytes(u8),
    Wait(u64),
    Done,
}

fn step() -> impl Strategy<Value = Step> {
    let seen = prop_oneof![
        Just(Seen::Written(path())),
        Just(Seen::Closed(path())),
        Just(Seen::Replaced(path())),
        Just(Seen::Lost)
    ];
    prop_oneof![
        seen.prop_map(Step::Note),
        (0_u8..3).prop_map(Step::Bytes),
        (0_u64..400).prop_map(Step::Wait),
        Just(Step::Done)
    ]
}

proptest! {
    /// Whatever happens: only bytes that are new and were the same for the whole rest are applied,
    /// and none while a file is being written.
    #[test]
    fn only_what_rested_is_applied(steps in prop::collection::vec(step(), 1..60)) {
        let mut now = Instant::now();
        let (mut held, mut held_since, mut applied, mut open) = (0, now, 0, false);
        let mut settling = Settling::new(bytes(held), now);
        for step in steps {
            match step {
                Step::Note(seen) => {
                    open = matches!(seen, Seen::Written(_));
                    settling.note(seen);
                }
                Step::Bytes(number) if number != held => (held, held_since) = (number, now),
                Step::Bytes(_) => {}
                Step::Wait(wait) => now += millis(wait),
                Step::Done => {
                    settling.done(bytes(held));
                    applied = held;
                }
            }
            match settling.look(bytes(held), now) {
                Verdict::Settled(settled) => {
                    prop_assert_eq!(settled, bytes(held));
                    prop_assert!(held != applied && !open && now - held_since >= REST);
                }
                Verdict::Still => prop_assert!(held == applied && !open),
                Verdict::Wait(until) => {
                    prop_assert!(until > now);
                    prop_assert!(open || now - held_since < REST);
                }
            }
        }
    }
}
