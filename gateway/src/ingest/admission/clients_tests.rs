use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::*;

#[derive(Clone, Debug, Default)]
struct SetClock(Arc<AtomicU64>);

impl SetClock {
    fn advance(&self, seconds: u64) {
        self.0.fetch_add(seconds * 1_000_000_000, Ordering::Relaxed);
    }
}

impl Clock for SetClock {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        self.0.load(Ordering::Relaxed).into()
    }
}

/// Uses up `seconds` of the bucket of a client that is allowed 60; `false` where there are fewer.
fn uses(clients: &Clients<SetClock>, client: u64, seconds: u64) -> bool {
    let now = clients.clock.now().as_u64();
    let used = clients.measure_and_replace(&client, |full_at| {
        let full_at = full_at.map_or(now, Nanos::as_u64).max(now) + seconds * 1_000_000_000;
        if full_at > now + 60_000_000_000 { Err(()) } else { Ok(((), full_at.into())) }
    });
    used.is_ok()
}

/// What the table has asked the allocator for: a place of the hash table is a pair and a byte, and
/// one in eight is free.
fn bytes(clients: &Clients<SetClock>) -> usize {
    let tables = clients.shards.iter().map(|shard| lock(shard).full_at.capacity() * 8 / 7 * 17);
    tables.sum::<usize>() + clients.shared.get().map_or(0, |buckets| buckets.len() * 8)
}

#[test]
fn a_million_clients_take_no_more_room_than_a_hundred_thousand() {
    let clients = Clients::new(SetClock::default());
    for client in 0..1_000_000_u64 {
        uses(&clients, client, 59);
    }
    assert_eq!(clients.held.load(Ordering::Relaxed), CLIENTS_MAX);
    let held: usize = clients.shards.iter().map(|shard| lock(shard).full_at.len()).sum();
    assert_eq!(held, CLIENTS_MAX);
    let bytes = bytes(&clients);
    assert!(bytes <= 8 * 1024 * 1024, "{bytes} bytes");
    // Who came first has a bucket alone, and has a second of it left.
    assert!((0..1_000).all(|client| uses(&clients, client, 1) && !uses(&clients, client, 1)));
    // Who came later shares: the other 900,000 have used up all that there is.
    assert!((2_000_000..2_001_000).all(|client| !uses(&clients, client, 2)));

    // Once they have rested they are forgotten, and there is room again.
    clients.clock.advance(61);
    assert!((3_000_000..3_050_000).all(|client| uses(&clients, client, 60)));
    assert!((3_000_000..3_050_000).all(|client| !uses(&clients, client, 1)), "each its own");
    assert!(clients.held.load(Ordering::Relaxed) <= CLIENTS_MAX);
}

#[test]
fn a_full_table_is_searched_once_a_second_at_most() {
    let clients = Clients::new(SetClock::default());
    clients.held.store(CLIENTS_MAX, Ordering::Relaxed);
    let mut shard = Shard::default();
    shard.full_at.insert(1, 1_000_000_000);
    assert!(!clients.forget_rested(&mut shard), "it has not rested yet");
    clients.clock.0.store(999_999_999, Ordering::Relaxed);
    shard.full_at.insert(2, 1);
    assert!(!clients.forget_rested(&mut shard), "searched within this second");
    clients.clock.0.store(1_000_000_000, Ordering::Relaxed);
    assert!(clients.forget_rested(&mut shard));
    assert!(shard.full_at.is_empty());
}
