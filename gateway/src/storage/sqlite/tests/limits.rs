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
fn commits_that_nobody_waits_for_any_more_fill_no_memory() {
    const MIB: usize = 1024 * 1024;
    let bench = Fixture::with(|options| options.queue_bytes = 4 * MIB);
    let store = bench.store();
    let of = |bytes: usize| {
        let mut new = commit(START);
        new.request.body = vec![b'x'; bytes].into();
        store.commit(new)
    };
    let (release, wait) = mpsc::channel::<()>();
    let held = bench.sqlite().ask_writer(move |_| {
        assert!(wait.recv().is_err(), "released by dropping the other end");
        Ok(())
    });
    let given_up = async {
        for _ in 0..3 {
            // As a request does at its deadline.
            let waited = tokio::time::timeout(Duration::from_millis(1), of(MIB)).await;
            assert!(waited.is_err(), "{waited:?}");
        }
        let refused = tokio::time::timeout(Duration::from_secs(20), of(MIB)).await;
        assert!(matches!(refused, Ok(Err(StorageError::Busy))), "{refused:?}");
        let small = tokio::time::timeout(Duration::from_millis(1), of(1)).await;
        assert!(small.is_err(), "there is room for a small one: {small:?}");
        drop(release);
    };
    let (held, ()) = block_on(async { tokio::join!(held, given_up) });
    held.unwrap();
    // Behind what waited, which is stored all the same: then all room is free, and one may be larger.
    block_on(store.answers()).unwrap();
    block_on(of(8 * MIB)).unwrap();
    let all = crate::storage::RequestFilter { limit: 9, ..Default::default() };
    assert_eq!(block_on(store.requests(all)).unwrap().len(), 5);
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
    let (ended, told) = mpsc::channel();
    thread::spawn(move || {
        drop(store);
        ended.send(()).unwrap();
    });
    told.recv_timeout(2 * JOIN_MAX).expect("it is not waited for");
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
