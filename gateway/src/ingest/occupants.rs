//! Who occupies the places for connections, and who makes room where there is none for one more.
//!
//! A connection takes no credentials to open, and one that was served once may be silent for a minute. So
//! where all places are taken, connections that are silent make room: those of the client network
//! that has most of them first, and of these the one that has been silent for longest. What is being
//! served is left alone. Whoever opens everything there is gets in their own way and in nobody
//! else's.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};

use super::client::network;
use crate::faults::Fault;

/// Who was silent for less may be about to speak: longer than a handshake takes around the world.
const SILENT_MIN: Duration = Duration::from_millis(500);

/// The part of all connections that makes room at once. To find them each is looked at, which takes
/// some hundred microseconds for thousands.
const ROOM_PART: usize = 128;

/// The open connections.
#[derive(Debug, Default)]
pub(super) struct Occupants(Mutex<Present>);

#[derive(Debug, Default)]
struct Present {
    by_number: HashMap<u64, Arc<Occupant>>,
    /// How many there are of each network. None is there with nothing.
    by_network: HashMap<u64, usize>,
    next: u64,
}

/// One connection, as far as making room is concerned.
pub(super) struct Occupant {
    network: u64,
    /// It is a trusted proxy's: many speak through it.
    is_proxy: bool,
    born: Instant,
    /// Known once HTTP is spoken; until then it is silent.
    standing: OnceLock<Arc<dyn Standing>>,
    displaced: CancellationToken,
}

/// What a connection is at.
pub(super) trait Standing: Send + Sync {
    /// Since when nothing is asked of us; none while something is.
    fn silent_since(&self) -> Option<Instant>;
}

/// A connection's entry, until it is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    occupants: Arc<Occupants>,
    number: u64,
    occupant: Arc<Occupant>,
}

impl Occupants {
    /// One more connection.
    pub(super) fn enter(self: &Arc<Self>, peer: IpAddr, is_proxy: bool) -> Seat {
        let occupant = Arc::new(Occupant {
            network: network(peer),
            is_proxy,
            born: Instant::now(),
            standing: OnceLock::new(),
            displaced: CancellationToken::new(),
        });
        let mut present = self.lock();
        let number = present.next;
        present.next += 1;
        present.by_number.insert(number, Arc::clone(&occupant));
        *present.by_network.entry(occupant.network).or_default() += 1;
        Seat { occupants: Arc::clone(self), number, occupant }
    }

    /// Tells some to go, where some are silent: one in [`ROOM_PART`], and one at least. Their places
    /// are free when they have gone, in a moment.
    pub(super) fn make_room(&self) {
        if Fault::ShareNothing.is_on() {
            return;
        }
        let mut present = self.lock();
        let Present { by_number, by_network, .. } = &*present;
        let silent = by_number.iter().filter_map(|(number, occupant)| {
            let since = occupant.silent_since()?;
            let of_network = by_network.get(&occupant.network).copied().unwrap_or_default();
            Some((occupant.is_proxy, Reverse(of_network), since, *number))
        });
        let mut silent: Vec<_> = silent.collect();
        let room = (by_number.len() / ROOM_PART).max(1).min(silent.len());
        if room < silent.len() {
            // Those that go are in front then, in whatever order.
            silent.select_nth_unstable(room);
        }
        // Whose turn it is and who has only just come is waited for, and nobody goes instead.
        let turns = silent.into_iter().take(room);
        for (.., number) in turns.filter(|(.., since, _)| since.elapsed() >= SILENT_MIN) {
            if let Some(occupant) = present.remove(number) {
                occupant.displaced.cancel();
            }
        }
    }

    /// No panic can happen under the lock that leaves it inconsistent, so poison means nothing.
    fn lock(&self) -> MutexGuard<'_, Present> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Present {
    fn remove(&mut self, number: u64) -> Option<Arc<Occupant>> {
        let occupant = self.by_number.remove(&number)?;
        if let Some(of_network) = self.by_network.get_mut(&occupant.network) {
            *of_network -= 1;
            if *of_network == 0 {
                self.by_network.remove(&occupant.network);
            }
        }
        Some(occupant)
    }
}

impl Occupant {
    /// Says what tells, from now on, whether it is silent.
    pub(super) fn stands(&self, standing: Arc<dyn Standing>) {
        // Said once: a connection speaks one version of HTTP.
        self.standing.set(standing).unwrap_or_default();
    }

    /// Until it is told to go.
    pub(super) fn displaced(&self) -> WaitForCancellationFuture<'_> {
        self.displaced.cancelled()
    }

    fn silent_since(&self) -> Option<Instant> {
        self.standing.get().map_or(Some(self.born), |standing| standing.silent_since())
    }
}

impl fmt::Debug for Occupant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not its network: no address is told of anywhere.
        f.debug_struct("Occupant").field("born", &self.born).finish_non_exhaustive()
    }
}

impl Seat {
    pub(super) fn occupant(&self) -> Arc<Occupant> {
        Arc::clone(&self.occupant)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.occupants.lock().remove(self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Silent since then, or not at all.
    struct Fixed(Option<Instant>);

    impl Standing for Fixed {
        fn silent_since(&self) -> Option<Instant> {
            self.0
        }
    }

    struct Room {
        occupants: Arc<Occupants>,
        now: Instant,
        seats: Vec<Seat>,
    }

    impl Room {
        fn new() -> Self {
            Self { occupants: Arc::default(), now: Instant::now(), seats: Vec::new() }
        }

        /// One more connection of `peer`, silent for so many seconds; none: it is being served.
        fn enter(&mut self, peer: &str, is_proxy: bool, silent: Option<u64>) {
            let seat = self.occupants.enter(peer.parse().unwrap(), is_proxy);
            let since = silent.map(|silent| self.now - Duration::from_secs(silent));
            seat.occupant().stands(Arc::new(Fixed(since)));
            self.seats.push(seat);
        }

        /// Which go, by the order in which they came.
        fn displaced(&self) -> Vec<usize> {
            self.occupants.make_room();
            let gone =
                |(n, seat): (usize, &Seat)| seat.occupant.displaced.is_cancelled().then_some(n);
            self.seats.iter().enumerate().filter_map(gone).collect()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_network_with_most_gives_way_and_in_it_who_was_silent_longest() {
        tokio::time::advance(Duration::from_secs(3_600)).await;
        let mut room = Room::new();
        room.enter("192.0.2.9", true, Some(90));
        room.enter("192.0.2.1", false, Some(60));
        room.enter("2001:db8::1", false, Some(20));
        room.enter("2001:db8::2", false, Some(30));
        room.enter("2001:db8::3", false, None);
        assert_eq!(room.displaced(), [3]);
        assert_eq!(room.displaced(), [2, 3], "both have two, and one of them is being served");
        assert_eq!(room.displaced(), [1, 2, 3], "one each, and the longest silent");
        assert_eq!(room.displaced(), [0, 1, 2, 3], "a proxy comes last");
        assert_eq!(room.displaced(), [0, 1, 2, 3], "what is being served stays");
        room.seats.clear();
        let present = room.occupants.lock();
        assert!(present.by_number.is_empty() && present.by_network.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_just_come_may_be_about_to_speak() {
        tokio::time::advance(Duration::from_secs(3_600)).await;
        let mut room = Room::new();
        room.enter("192.0.2.9", true, Some(90));
        room.seats.push(room.occupants.enter([192, 0, 2, 1].into(), false));
        assert_eq!(room.displaced(), [0; 0], "and no other goes instead");
        tokio::time::advance(SILENT_MIN).await;
        assert_eq!(room.displaced(), [1]);
    }

    #[tokio::test(start_paused = true)]
    async fn of_many_some_go_at_once() {
        tokio::time::advance(Duration::from_secs(3_600)).await;
        let mut room = Room::new();
        for number in 0..4_096 {
            room.enter("192.0.2.1", false, Some(3_000 - number / 2));
        }
        let expected: Vec<_> = (0..4_096 / ROOM_PART).collect();
        assert_eq!(room.displaced(), expected);
    }
}
