//! Bounds.

use super::*;

#[test]
fn more_commits_than_the_queue_holds_are_refused() {
    let bench = Fixture::with(|options| options.queue_bound = 2);
    let (release, wait) = mpsc::channel::<()>();
    let hold = move |_: Result<&mut Writer<'_>, StorageError>| {
        assert!(wait.recv().is_err(), "released by dropping the other end");
    };
    let elsewhere = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
    bench.sqlite().jobs.send(Job::Task(Box::new(hold), elsewhere)).unwrap();
    let store = bench.store();
    let (one, two, three) = block_on(async {
        tokio::join!(store.commit(commit(START)), store.commit(commit(START)), async {
            let refused = store.commit(commit(START)).await;
            drop(release);
            refused
        })
    });
    assert!(matches!(three, Err(StorageError::Busy)), "{three:?}");
    assert!(one.is_ok() && two.is_ok());
}

#[test]
fn a_store_whose_disk_hangs_ends_all_the_same_and_stays_locked() {
    let mut bench = Fixture::new();
    let store = bench.store.take().unwrap();
    let shared = Arc::clone(&store.shared);
    // A sync that does not end: who reads what is due waits for it, and so does the writer.
    let hanging = shared.syncs.begin(0, 0);
    let moment = Duration::from_millis(50);
    block_on(async {
        let name = destination("a");
        let reading = tokio::time::timeout(moment, store.load(&name, START));
        assert!(reading.await.is_err(), "what is not synced is not read");
        assert!(tokio::time::timeout(moment, store.close()).await.is_err());
    });
    let began = Instant::now();
    drop(store);
    assert!(began.elapsed() < 2 * JOIN_MAX, "{:?}", began.elapsed());
    assert!(matches!(bench.open(), Err(OpenError::InUse { .. })), "its threads are there still");
    shared.syncs.end(&hanging);
}

#[test]
fn a_lease_stops_at_its_bound_of_bytes_and_goes_on_with_the_next() {
    const MIB: usize = 1024 * 1024;
    let bench = Fixture::new();
    let mut wanted = Vec::new();
    for n in 0..20 {
        let mut new = commit(UnixMillis(START.0 + n)).event(None, &["a"]);
        new.events[0].event.data = format!("\"{}\"", "x".repeat(MIB));
        wanted.push(new.events[0].event.id);
        put(bench.store(), new);
    }
    let mut found = Vec::new();
    while found.len() < wanted.len() {
        let leased = lease(bench.store(), "a", 100);
        let bytes: usize = leased.iter().map(|leased| leased.event.data.len()).sum();
        assert!(!leased.is_empty() && bytes <= 9 * MIB, "{} of {bytes} bytes", leased.len());
        found.extend(leased.iter().map(|leased| leased.event.id));
    }
    assert!(found == wanted, "oldest first, each once");
}
