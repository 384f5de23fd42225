//! Full disks, and files that are not where they were.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::AtomicBool;

use super::*;

/// Fills the disk for the store: neither the database nor the ballast can grow.
fn fill(bench: &Fixture) {
    bench.on_writer("PRAGMA max_page_count = 1");
    let no_room = |writer: &mut Writer<'_>| {
        writer.room.reserve = |_, _| Err(rustix::io::Errno::NOSPC);
        Ok(())
    };
    block_on(bench.sqlite().ask_writer(no_room)).unwrap();
}

fn make_room(bench: &Fixture) {
    bench.on_writer("PRAGMA max_page_count = 1000000");
    let room = |writer: &mut Writer<'_>| {
        writer.room.reserve = ballast::reserve;
        Ok(())
    };
    block_on(bench.sqlite().ask_writer(room)).unwrap();
}

#[test]
fn a_full_disk_refuses_commits_records_attempts_and_recovers() {
    let bench = Fixture::with(|options| options.ballast_bytes = 1024 * 1024);
    let ballast = open::beside(&bench.path(), ".ballast");
    let refusing = || block_on(bench.store().health()).unwrap().refusing;
    assert_eq!(fs::metadata(&ballast).unwrap().len(), 1024 * 1024);
    put(bench.store(), commit(START).event(None, &["a"]));
    let leased: Vec<LeasedDelivery> = lease(bench.store(), "a", 9);
    fill(&bench);
    let big = || commit(START).body(&"x".repeat(200_000)).event(Some(key("k", 60)), &["a"]);
    let full = block_on(bench.store().commit(big()));
    assert!(matches!(full, Err(StorageError::Full)), "{full:?}");
    assert!(!ballast.exists(), "its room is for the bookkeeping of deliveries");
    let done = leased.iter().map(|leased| attempt(leased, "a", START)).collect();
    assert_eq!(record(bench.store(), done), 1, "which goes on");
    // It looks for room four times a second, and finds none.
    assert_eq!(refusing().as_deref(), Some("the disk is full"));
    let full = block_on(bench.store().commit(commit(START)));
    assert!(matches!(full, Err(StorageError::Full)), "{full:?}");
    make_room(&bench);
    eventually("it takes commits again", || block_on(bench.store().commit(commit(START))).is_ok());
    assert_eq!(refusing(), None);
    assert_eq!(fs::metadata(&ballast).unwrap().len(), 1024 * 1024, "the ballast is made again");
    assert_eq!(
        put(bench.store(), big()),
        Committed::Stored { events: 1 },
        "and holds no key before"
    );
}

/// A job that has itself done again and again, so that the queue is never empty.
fn keep_busy(jobs: &JobSender, places: Arc<Semaphore>, stop: Arc<AtomicBool>) {
    let Ok(place) = Arc::clone(&places).try_acquire_owned() else { return };
    let again = jobs.clone();
    let task = move |_: Result<&mut Writer<'_>, StorageError>| {
        if !stop.load(Ordering::Acquire) {
            keep_busy(&again, places, stop);
        }
    };
    drop(jobs.send(Job::Task(Box::new(task), place)));
}

#[test]
fn a_busy_queue_does_not_keep_a_full_disk_from_recovering() {
    let bench = Fixture::new();
    let stop = Arc::new(AtomicBool::new(false));
    let (jobs, places) = (bench.sqlite().jobs.clone(), Arc::new(Semaphore::new(2)));
    keep_busy(&jobs, places, Arc::clone(&stop));
    bench.on_writer("PRAGMA max_page_count = 1");
    let big = || commit(START).body(&"x".repeat(200_000));
    let full = block_on(bench.store().commit(big()));
    assert!(matches!(full, Err(StorageError::Full)), "{full:?}");
    bench.on_writer("PRAGMA max_page_count = 1000000");
    eventually("it takes commits again", || block_on(bench.store().commit(big())).is_ok());
    stop.store(true, Ordering::Release);
}

#[test]
fn a_store_that_has_no_room_to_be_opened_comes_up_refusing_and_opens_later() {
    let mut bench = Fixture::new();
    let owed = || commit(START).event(Some(key("k", 600)), &["a"]);
    let old = commit(START);
    let id = old.request.id;
    put(bench.store(), old);
    put(bench.store(), owed());
    bench.close();
    let room = Arc::new(AtomicBool::new(false));
    let (there_is, path) = (Arc::clone(&room), bench.path());
    let mut real = opened::opener(&path, bench.options.cache_kib);
    let opener = Box::new(move |shared: &Arc<Shared>| {
        if there_is.load(Ordering::Acquire) {
            real(shared)
        } else {
            Err(OpenError::NoRoom { path: path.clone() })
        }
    });
    let options = bench.options.clone();
    bench.store = Some(SqliteStorage::open_with(&bench.path(), options, opener).unwrap());
    let store = bench.store();
    let full = |error: StorageError| assert!(matches!(error, StorageError::Full), "{error}");
    full(block_on(store.commit(commit(START))).unwrap_err());
    full(block_on(store.record(Vec::new())).unwrap_err());
    full(block_on(store.sweep(LEASE)).unwrap_err());
    full(retire(store, &[]).unwrap_err());
    let (shop, vkyc) = (RouteName::new("shop").unwrap(), AdapterName::new("vkyc").unwrap());
    full(store.seen(Some(&shop), &vkyc, &key("k", 600), START).unwrap_err());
    assert!(lease(store, "a", 9).is_empty(), "nothing is known to be due");
    let refusing = block_on(store.health()).unwrap().refusing;
    assert_eq!(refusing.as_deref(), Some("the disk is full"));
    assert!(block_on(store.request(id)).unwrap().is_some(), "what is stored can be read");
    let nudges = store.nudges(&destination("a"));
    room.store(true, Ordering::Release);
    eventually("it opens", || nudges.has_changed().unwrap());
    assert_eq!(lease(store, "a", 9).len(), 1, "what was owed");
    assert!(matches!(put(store, owed()), Committed::Duplicate { .. }), "keys are known");
    assert!(store.seen(Some(&shop), &vkyc, &key("k", 600), START).unwrap());
    assert_eq!(block_on(store.health()).unwrap().refusing, None);
}

#[test]
fn a_store_that_waits_for_room_closes_at_once_and_fails_for_other_reasons() {
    let mut bench = Fixture::new();
    bench.close();
    let path = bench.path();
    let mut tries = 0;
    let opener = Box::new(move |_: &Arc<Shared>| {
        tries += 1;
        let path = path.clone();
        Err(if tries == 1 { OpenError::NoRoom { path } } else { OpenError::Foreign { path } })
    });
    let options = bench.options.clone();
    let store = SqliteStorage::open_with(&bench.path(), options, opener).unwrap();
    assert!(block_on(store.failed()).contains("another program"));
    block_on(store.close());

    let path = bench.path();
    let opener = Box::new(move |_: &Arc<Shared>| Err(OpenError::NoRoom { path: path.clone() }));
    let options = bench.options.clone();
    let store = SqliteStorage::open_with(&bench.path(), options, opener).unwrap();
    block_on(store.close());
    let closed = block_on(store.commit(commit(START)));
    assert!(matches!(closed, Err(StorageError::Closed)), "{closed:?}");
}

#[test]
fn free_pages_are_told_to_the_ballast() {
    let mut bench = Fixture::new();
    put(bench.store(), commit(START).body(&"x".repeat(1_000_000)));
    bench.clock.advance(LEASE);
    assert_eq!(block_on(bench.store().sweep(Duration::ZERO)).unwrap(), 1);
    bench.close();
    let connection = Connection::open(bench.path()).unwrap();
    let unused = open::unused_bytes(&connection);
    assert!((900_000..1_200_000).contains(&unused), "{unused}");
}

#[test]
fn a_database_that_is_deleted_renamed_or_replaced_in_use_is_fatal() {
    type Act = fn(&Path);
    let acts: [(Act, &str); 3] = [
        (|path| fs::remove_file(path).unwrap(), "deleted or renamed"),
        (|path| fs::rename(path, open::beside(path, ".old")).unwrap(), "deleted or renamed"),
        (
            |path| {
                let other = open::beside(path, ".new");
                fs::copy(path, &other).unwrap();
                fs::rename(other, path).unwrap();
            },
            "replaced",
        ),
    ];
    for (act, reason) in acts {
        let bench = Fixture::new();
        put(bench.store(), commit(START));
        act(&bench.path());
        let failed = block_on(bench.store().failed());
        assert!(failed.contains(reason), "{failed}");
        let refused = block_on(bench.store().commit(commit(START)));
        assert!(matches!(refused, Err(StorageError::Fatal { .. })), "{refused:?}");
    }
}

#[test]
fn only_its_owner_may_read_what_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new/data/sluice.db");
    let options = SqliteOptions { ballast_bytes: 4_096, ..Fixture::new().options };
    let store = SqliteStorage::open(&path, options).unwrap();
    block_on(store.commit(commit(START))).unwrap();
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    for suffix in ["", "-wal", "-shm", ".lock", ".ballast"] {
        assert_eq!(mode(open::beside(&path, suffix)), 0o600, "{suffix}");
    }
    for made in ["new", "new/data"] {
        assert_eq!(mode(folder.path().join(made)), 0o700, "{made}");
    }
    block_on(store.close());
}
