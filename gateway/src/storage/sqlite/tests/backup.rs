//! Backups: what is in them, what they cost the traffic, and what is left of them.

use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::AtomicBool;

use super::*;
use crate::storage::Operated as _;
use crate::storage::conformance::operated::{entry, import};
use crate::storage::conformance::state::{Reader, claim, put_key};

/// Opens a copy as a store of its own.
fn restored(mut file: File) -> Fixture {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).unwrap();
    let mut bench = Fixture::new();
    bench.close();
    for name in ["sluice.db", "sluice.db-wal", "sluice.db-shm"] {
        drop(fs::remove_file(bench.folder.path().join(name)));
    }
    fs::write(bench.path(), bytes).unwrap();
    check_backup(&bench.path()).unwrap();
    bench.reopen();
    bench
}

fn names(bench: &Fixture) -> Vec<String> {
    let files = fs::read_dir(bench.folder.path()).unwrap();
    files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn a_copy_is_a_store_with_all_that_was_committed() {
    let bench = Fixture::new();
    claim(bench.store(), "vkyc");
    let known = || commit(START).event(Some(key("k", 600)), &["a"]);
    let new = known().changing([put_key("state", "kept")]);
    let id = new.request.id;
    put(bench.store(), new);
    put(bench.store(), commit(START).event(None, &["a"]));
    let leased = lease(bench.store(), "a", 1).remove(0);
    record(bench.store(), vec![attempt(&leased, "a", START)]);
    let copy = block_on(bench.sqlite().backup()).unwrap();
    assert_eq!(copy.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    put(bench.store(), commit(START).event(None, &["a"]));
    assert!(!names(&bench).iter().any(|name| name.contains("backup")), "{:?}", names(&bench));

    let other = restored(copy);
    claim(other.store(), "vkyc");
    assert!(matches!(put(other.store(), known()), Committed::Duplicate { .. }), "keys");
    assert_eq!(lease(other.store(), "a", 9).len(), 1, "of two deliveries one was made");
    assert!(block_on(other.store().request(id)).unwrap().unwrap().intact);
    let kept = Reader::of(other.store(), "vkyc", START).get(b"state").unwrap();
    assert_eq!(kept.value, b"kept");
}

#[test]
fn what_a_crash_left_of_a_copy_goes_at_the_next_start() {
    let mut bench = Fixture::new();
    let left = open::beside(&bench.path(), ".backup");
    bench.close();
    fs::write(&left, "half a copy").unwrap();
    bench.reopen();
    assert!(!left.exists());
}

#[test]
fn a_copy_that_is_damaged_or_of_another_program_is_told() {
    let bench = Fixture::new();
    claim(bench.store(), "vkyc");
    import(bench.store(), "vkyc", (0..900).map(|n| entry(&n.to_string(), "value")).collect());
    let mut bytes = Vec::new();
    block_on(bench.sqlite().backup()).unwrap().read_to_end(&mut bytes).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("copy.db");
    let check = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        check_backup(&path)
    };
    check(&bytes).unwrap();
    let mut rotten = bytes.clone();
    let last = rotten.len() - 4_096;
    rotten[last..].fill(0xa5);
    assert!(check(&rotten).is_err());
    assert!(check(&bytes[..bytes.len() / 2]).is_err());
    let other = folder.path().join("other.db");
    Connection::open(&other).unwrap().execute_batch("CREATE TABLE precious (x)").unwrap();
    assert!(matches!(check_backup(&other), Err(OpenError::Foreign { .. })));
}

/// A store of some 100,000 rows, a third of them with a kilobyte.
fn large() -> Fixture {
    let bench = Fixture::new();
    claim(bench.store(), "vkyc");
    let wide = "x".repeat(1_000);
    let rows = (0..100_000).map(|n| entry(&n.to_string(), if n % 3 == 0 { &wide } else { "v" }));
    import(bench.store(), "vkyc", rows.collect());
    bench
}

/// The longest wait of commits, and how many there were, while `work` is done.
fn commits_during(bench: &Fixture, work: impl FnOnce()) -> (Duration, usize) {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let committing = scope.spawn(|| {
            let (mut longest, mut count) = (Duration::ZERO, 0);
            while !over.load(Ordering::Relaxed) {
                let began = Instant::now();
                put(bench.store(), commit(START).event(None, &["a"]));
                longest = longest.max(began.elapsed());
                count += 1;
            }
            (longest, count)
        });
        work();
        over.store(true, Ordering::Relaxed);
        committing.join().unwrap()
    })
}

/// The control makes the same copy on the writer's own connection, between two groups.
#[test]
fn commits_go_on_while_a_large_store_is_copied() {
    const TRIES: usize = 4;

    let bench = large();
    // On a busy machine one of them may wait long for a processor; for the copy all of them would.
    let goes_on = (0..TRIES).any(|_| {
        let mut took = Duration::ZERO;
        let (longest, count) = commits_during(&bench, || {
            let began = Instant::now();
            let copy = block_on(bench.sqlite().backup()).unwrap();
            took = began.elapsed();
            assert!(copy.metadata().unwrap().len() > 30_000_000);
        });
        print_figures(&format!("{took:?}; {count} commits meanwhile, the longest {longest:?}"));
        count >= 3 && longest < took / 2
    });
    assert!(goes_on, "commits wait for the copy");

    let path = bench.folder.path().join("control.db");
    let began = Instant::now();
    let (longest, _) = commits_during(&bench, || {
        let into = path.to_str().unwrap().to_owned();
        let copy = move |writer: &mut Writer<'_>| {
            writer.connection.execute("VACUUM main INTO ?1", [into]).unwrap();
            Ok(())
        };
        block_on(bench.sqlite().ask_writer(copy)).unwrap();
    });
    let took = began.elapsed();
    assert!(longest > took / 2, "the control: {longest:?} of {took:?}");
}

/// It has grown beyond what SQLite cuts it back to once it begins anew.
#[test]
fn the_log_that_a_backup_held_begins_anew_afterwards() {
    let bench = large();
    let log = open::beside(&bench.path(), "-wal");
    bench.sqlite().shared.log_is_held.store(true, Ordering::Release);
    let held = open::reader(&bench.path(), 512).unwrap();
    held.execute_batch("BEGIN; SELECT count(*) FROM requests").unwrap();
    let body = "x".repeat(60 << 10);
    for n in 0..1_200 {
        put(bench.store(), commit(START).body(&format!("{n}{body}")));
    }
    let long = fs::metadata(&log).unwrap().len();
    assert!(long > 70 << 20, "{long}");
    drop(held);
    bench.sqlite().shared.log_is_held.store(false, Ordering::Release);
    let again = || {
        put(bench.store(), commit(START));
        fs::metadata(&log).unwrap().len()
    };
    eventually("the log begins anew", || again() < long);
}

#[test]
fn one_backup_is_made_at_a_time_and_none_on_a_full_disk_or_after_the_end() {
    let bench = large();
    let (first, second) =
        block_on(async { tokio::join!(bench.sqlite().backup(), bench.sqlite().backup()) });
    assert!(first.is_ok());
    let second = second.unwrap_err().to_string();
    assert!(second.contains("another backup is under way"), "{second}");
    bench.sqlite().shared.full.store(true, Ordering::Release);
    assert!(matches!(block_on(bench.sqlite().backup()), Err(StorageError::Full)));
    bench.sqlite().shared.full.store(false, Ordering::Release);
    let (cut_off, ()) =
        block_on(async { tokio::join!(bench.sqlite().backup(), bench.sqlite().close()) });
    assert!(cut_off.is_err(), "closing does not wait for a copy");
}

#[expect(clippy::print_stdout, reason = "figures of a test are printed")]
fn print_figures(text: &str) {
    println!("{text}");
}
