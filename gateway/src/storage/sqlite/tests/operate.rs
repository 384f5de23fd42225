//! Imports in this engine: what they leave behind, and what others notice of them.

use std::future::poll_fn;
use std::task::Poll;

use super::*;
use crate::model::StateRange;
use crate::storage::conformance::operated::{entry, import};
use crate::storage::conformance::state::{VERSION, adapter, claim, put_key};
use crate::storage::{ImportBegun, Operated as _, StorageFuture};

/// Rows of state, whosesoever they are, and namespaces.
fn counted(bench: &Fixture) -> (i64, i64) {
    let count = |writer: &mut Writer<'_>| {
        let count = "SELECT (SELECT count(*) FROM state), (SELECT count(*) FROM namespaces)";
        Ok(writer.connection.query_row(count, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap())
    };
    block_on(bench.sqlite().ask_writer(count)).unwrap()
}

fn sweep(bench: &Fixture) {
    block_on(bench.sqlite().sweep(Duration::from_secs(86_400))).unwrap();
}

#[test]
fn what_was_replaced_or_never_ended_is_deleted_and_nothing_else() {
    let mut bench = Fixture::new();
    claim(bench.store(), "vkyc");
    claim(bench.store(), "other");
    put(bench.store(), commit(START).changing((0..1_500).map(|n| put_key(&n.to_string(), "v"))));
    put(bench.store(), commit(START).of_adapter("other").changing([put_key("a", "v")]));
    import(bench.store(), "vkyc", vec![entry("new", "v")]);
    let begun = bench.sqlite().begin_import(adapter("vkyc"), VERSION, true);
    let ImportBegun::Begun(mut under_way) = block_on(begun).unwrap() else { panic!("refused") };
    block_on(under_way.add(vec![entry("b", "v"), entry("c", "v")])).unwrap();
    assert_eq!(counted(&bench), (1_500 + 1 + 1 + 2, 4));
    sweep(&bench);
    assert_eq!(counted(&bench), (1 + 1 + 2, 3), "an import under way keeps what it has");
    drop(under_way);
    sweep(&bench);
    assert_eq!(counted(&bench), (2, 2));

    let begun = bench.sqlite().begin_import(adapter("vkyc"), VERSION, true);
    let ImportBegun::Begun(mut cut_off) = block_on(begun).unwrap() else { panic!("refused") };
    block_on(cut_off.add(vec![entry("b", "v")])).unwrap();
    drop(cut_off);
    bench.crash();
    claim(bench.store(), "vkyc");
    sweep(&bench);
    assert_eq!(counted(&bench), (2, 2));
    let all = bench.sqlite().entries(adapter("vkyc"), StateRange::new(Vec::new(), None), 9);
    assert_eq!(block_on(all).unwrap().unwrap().entries[0].key, b"new");
}

#[test]
fn a_full_disk_takes_no_import() {
    let bench = Fixture::new();
    claim(bench.store(), "vkyc");
    let begin = || bench.sqlite().begin_import(adapter("vkyc"), VERSION, true);
    let ImportBegun::Begun(mut begun) = block_on(begin()).unwrap() else { panic!("refused") };
    bench.sqlite().shared.full.store(true, Ordering::Release);
    assert!(matches!(block_on(begin()), Err(StorageError::Full)));
    let added = block_on(begun.add(vec![entry("a", "v")]));
    assert!(matches!(added, Err(StorageError::Full)), "{added:?}");
}

/// Begins what `future` does; its answer, where there is one already.
async fn begun<T>(future: &mut StorageFuture<'_, T>) -> Option<Result<T, StorageError>> {
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(answer) => Poll::Ready(Some(answer)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

#[test]
fn an_import_ends_although_all_places_of_the_queue_are_taken_by_commits_behind_it() {
    let bench = Fixture::with(|options| options.queue_bound = 2);
    let store = bench.sqlite();
    claim(store, "vkyc");
    let import = store.begin_import(adapter("vkyc"), VERSION, true);
    let ImportBegun::Begun(mut import) = block_on(import).unwrap() else { panic!("refused") };
    block_on(import.add(vec![entry("a", "v")])).unwrap();
    let lane = block_on(store.lane(&adapter("vkyc"))).unwrap();
    block_on(async {
        let (mut ending, mut behind) = (import.finish(), store.commit(commit(START)));
        assert!(begun(&mut ending).await.is_none() && begun(&mut behind).await.is_none());
        drop(lane);
        // Behind the end of that lane, and so behind the beginning of the import's.
        let (done, lane_began) = oneshot::channel();
        let tell = move |_: Result<&mut Writer<'_>, StorageError>| done.send(()).unwrap();
        let elsewhere = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        store.jobs.send(Job::Task(Box::new(tell), elsewhere)).unwrap();
        lane_began.await.unwrap();
        let mut last = store.commit(commit(START));
        begun(&mut last).await;
        assert_eq!(store.places.available_permits(), 0);
        let ended = tokio::time::timeout(Duration::from_secs(20), ending).await;
        ended.expect("neither the import nor the commits move").unwrap().unwrap();
        assert_eq!(behind.await.unwrap(), Committed::Stored { events: 0 });
    });
    let all = store.entries(adapter("vkyc"), StateRange::new(Vec::new(), None), 9);
    assert_eq!(block_on(all).unwrap().unwrap().entries.len(), 1);
}
