//! Where a connection stands, and until when it may stand there.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::occupants::Standing;

/// How long a connection is read on after the last answer, so that a peer still sending its body
/// is not cut off by a reset before it has read that answer (RFC 9112 section 9.6).
const CLOSING_DEADLINE: Duration = Duration::from_secs(2);

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doing {
    /// A head is awaited whole: from the start of the connection, or a later head's first byte.
    Head,
    /// A request is being served. It has deadlines of its own.
    Serving,
    /// An answer is being written.
    Answering,
    /// Kept alive, and silent.
    Idle,
    /// Answered for the last time; what the peer still sends is discarded.
    Closing,
}

impl Doing {
    const ALL: [Self; 5] = [Self::Head, Self::Serving, Self::Answering, Self::Idle, Self::Closing];
    const BITS: u32 = 3;

    /// The word in metrics.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Head => "head",
            Self::Serving => "serving",
            Self::Answering => "answering",
            Self::Idle => "idle",
            Self::Closing => "closing",
        }
    }
}

/// How long a connection may do each thing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadlines {
    pub(super) head: Duration,
    pub(super) answer: Duration,
    pub(super) idle: Duration,
}

impl Deadlines {
    const fn of(&self, doing: Doing) -> Option<Duration> {
        match doing {
            Doing::Head => Some(self.head),
            Doing::Serving => None,
            Doing::Answering => Some(self.answer),
            Doing::Idle => Some(self.idle),
            Doing::Closing => Some(CLOSING_DEADLINE),
        }
    }

    fn shortest(&self) -> Duration {
        self.head.min(self.answer).min(self.idle).min(CLOSING_DEADLINE)
    }
}

/// What a connection is doing and since when.
///
/// Its socket and its service write it and its watchdog reads it, all within one task: the
/// atomics are only there to be shared. hyper's own head timer is not used because it starts at
/// the end of the last answer, which makes a silent kept-alive connection and a slow head the same
/// thing; it also costs an allocation a request.
#[derive(Debug)]
pub(super) struct Phase {
    born: Instant,
    /// Milliseconds since `born`, and below them the index of [`Doing`].
    word: AtomicU64,
    unread: AtomicBool,
}

impl Phase {
    /// A new connection: its first head is awaited from now on.
    pub(super) fn new() -> Self {
        Self { born: Instant::now(), word: AtomicU64::new(0), unread: AtomicBool::new(false) }
    }

    pub(super) fn enter(&self, doing: Doing) {
        self.enter_at(doing, Instant::now());
    }

    fn enter_at(&self, doing: Doing, now: Instant) {
        let age = now.saturating_duration_since(self.born);
        let millis = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        let index = Doing::ALL.iter().position(|each| *each == doing).unwrap_or_default();
        self.word.store((millis << Doing::BITS) | index as u64, Ordering::Relaxed);
    }

    pub(super) fn is(&self, doing: Doing) -> bool {
        self.read().0 == doing
    }

    /// Notes that a request was answered before its body was read.
    pub(super) fn note_unread(&self) {
        self.unread.store(true, Ordering::Relaxed);
    }

    /// Whether the peer may still be sending what nobody reads.
    pub(super) fn is_unread(&self) -> bool {
        self.unread.load(Ordering::Relaxed)
    }

    /// What the connection has been doing for too long, if anything.
    pub(super) fn overdue(&self, deadlines: &Deadlines, now: Instant) -> Option<Doing> {
        let (doing, since) = self.read();
        let until = since + deadlines.of(doing)?;
        (until <= now).then_some(doing)
    }

    /// When to look again.
    ///
    /// Never later than the shortest deadline from now: whatever begins in the meantime cannot
    /// be overdue before that, so nobody has to wake the watchdog when the phase changes.
    pub(super) fn next_check(&self, deadlines: &Deadlines, now: Instant) -> Instant {
        let (doing, since) = self.read();
        let latest = now + deadlines.shortest();
        deadlines.of(doing).map_or(latest, |allowed| latest.min(since + allowed))
    }

    fn read(&self) -> (Doing, Instant) {
        let word = self.word.load(Ordering::Relaxed);
        let index = usize::try_from(word & ((1 << Doing::BITS) - 1)).unwrap_or_default();
        let doing = Doing::ALL.get(index).copied().unwrap_or(Doing::Head);
        (doing, self.born + Duration::from_millis(word >> Doing::BITS))
    }
}

impl Standing for Phase {
    fn silent_since(&self) -> Option<Instant> {
        match self.read() {
            (Doing::Serving | Doing::Answering, _) => None,
            (Doing::Head | Doing::Idle | Doing::Closing, since) => Some(since),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEADLINES: Deadlines = Deadlines {
        head: Duration::from_secs(10),
        answer: Duration::from_secs(7),
        idle: Duration::from_secs(60),
    };

    /// Runs a watchdog by hand from `now` on; says what was overdue, and when.
    fn watch(phase: &Phase, mut now: Instant) -> (Doing, Instant) {
        loop {
            if let Some(doing) = phase.overdue(&DEADLINES, now) {
                return (doing, now);
            }
            now = phase.next_check(&DEADLINES, now);
        }
    }

    #[test]
    fn each_phase_ends_at_its_own_deadline() {
        let cases =
            [(Doing::Head, 10), (Doing::Answering, 7), (Doing::Idle, 60), (Doing::Closing, 2)];
        for (doing, seconds) in cases {
            let phase = Phase::new();
            let entered = phase.born + Duration::from_millis(1_234);
            phase.enter_at(doing, entered);
            assert!(phase.is(doing));
            assert_eq!(watch(&phase, entered), (doing, entered + Duration::from_secs(seconds)));
        }
    }

    #[test]
    fn a_shorter_phase_that_begins_during_a_longer_one_ends_in_time() {
        let phase = Phase::new();
        phase.enter_at(Doing::Idle, phase.born);
        let check = phase.next_check(&DEADLINES, phase.born);
        let entered = phase.born + Duration::from_millis(500);
        phase.enter_at(Doing::Closing, entered);
        assert_eq!(watch(&phase, check), (Doing::Closing, entered + CLOSING_DEADLINE));
    }

    #[test]
    fn only_a_connection_with_a_request_is_not_silent() {
        let phase = Phase::new();
        assert_eq!(phase.silent_since(), Some(phase.born));
        let later = phase.born + Duration::from_millis(1_234);
        for (doing, silent) in [
            (Doing::Serving, false),
            (Doing::Answering, false),
            (Doing::Idle, true),
            (Doing::Closing, true),
        ] {
            phase.enter_at(doing, later);
            assert_eq!(phase.silent_since(), silent.then_some(later), "{doing:?}");
        }
    }

    #[test]
    fn serving_is_never_overdue() {
        let phase = Phase::new();
        phase.enter_at(Doing::Serving, phase.born);
        let later = phase.born + Duration::from_secs(86_400);
        assert_eq!(phase.overdue(&DEADLINES, later), None);
        assert!(phase.next_check(&DEADLINES, later) > later);
    }
}
