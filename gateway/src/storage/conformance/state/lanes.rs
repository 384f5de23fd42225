//! The exclusive lane of an adapter.

use super::*;

pub(super) fn rules<B: Bench>() -> Vec<(&'static str, Test<B>)> {
    rules![
        in_its_lane_a_call_meets_no_commit_of_its_adapter,
        a_lane_ends_with_the_commit_that_is_made_in_it,
        a_conflict_is_told_to_be_one_of_many_where_others_are_in_the_lane,
        lanes_are_entered_in_turn,
    ]
}

/// Whether it comes true while others have their turn.
async fn soon<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    tokio::time::timeout(Duration::from_millis(30), future).await.ok()
}

fn in_its_lane_a_call_meets_no_commit_of_its_adapter<B: Bench>(bench: &mut B) {
    let store = bench.store();
    claim(store, "vkyc");
    block_on(async {
        let mine = |lane: &Lane| {
            let mut reader = Reader::of(store, "vkyc", START);
            reader.get(b"a");
            let mine = commit(START).having_read(reader.reads.clone());
            Commit { lane: Some(lane.id()), ..mine.changing([put_key("a", "lane")]) }
        };
        let early = store.commit(commit(START).changing([put_key("a", "early")]));
        let (early, lane) = tokio::join!(early, store.lane(&adapter("vkyc")));
        let lane = lane.unwrap();
        assert_eq!(early.unwrap(), STORED);
        let mine = mine(&lane);
        let theirs = commit(START).changing([put_key("a", "theirs")]);
        let id = theirs.request.id;
        let mut theirs = store.commit(theirs);
        assert!(soon(&mut theirs).await.is_none(), "it waits");
        let other = store.commit(commit(START).of_adapter("other")).await;
        assert_eq!(other.unwrap(), STORED, "another adapter goes on");
        assert!(store.request(id).await.unwrap().is_none());
        assert_eq!(store.commit(mine).await.unwrap(), STORED, "no conflict in the lane");
        assert_eq!(theirs.await.unwrap(), STORED);
    });
    assert_eq!(all(store), "a=theirs");
}

/// A commit that read `a` now, or before it was changed last.
fn having_read_a(store: &dyn Storage, lane: Option<&Lane>) -> Commit {
    let mut reader = Reader::of(store, "vkyc", START);
    reader.get(b"a");
    Commit { lane: lane.map(Lane::id), ..commit(START).having_read(reader.reads.clone()) }
}

fn a_lane_ends_with_the_commit_that_is_made_in_it<B: Bench>(bench: &mut B) {
    let store = bench.store();
    claim(store, "vkyc");
    block_on(async {
        let first = store.lane(&adapter("vkyc")).await.unwrap();
        let (stale, second) = (having_read_a(store, None), store.lane(&adapter("vkyc")));
        let change = commit(START).changing([put_key("a", "1")]);
        let change = Commit { lane: Some(first.id()), ..change };
        assert_eq!(store.commit(change).await.unwrap(), STORED);
        // The first is over, dropped or not, and dropping it ends no other.
        let second = second.await.unwrap();
        drop(first);
        let mut third = store.lane(&adapter("vkyc"));
        let stale = Commit { lane: Some(second.id()), ..stale };
        assert_eq!(store.commit(stale).await.unwrap(), Committed::Conflict);
        assert!(soon(&mut third).await.is_none(), "it runs again in its lane");
        let again = having_read_a(store, Some(&second)).changing([put_key("a", "2")]);
        assert_eq!(store.commit(again).await.unwrap(), STORED);
        drop(third.await.unwrap());
        drop(second);
    });
    assert_eq!(all(store), "a=2");
}

fn a_conflict_is_told_to_be_one_of_many_where_others_are_in_the_lane<B: Bench>(bench: &mut B) {
    let store = bench.store();
    claim(store, "vkyc");
    block_on(async {
        let first = store.lane(&adapter("vkyc")).await.unwrap();
        let (one, other) = (having_read_a(store, None), having_read_a(store, None));
        let mut one = store.commit(one);
        assert!(soon(&mut one).await.is_none());
        let mut second = store.lane(&adapter("vkyc"));
        assert!(soon(&mut second).await.is_none());
        let change = commit(START).changing([put_key("a", "1")]);
        let change = Commit { lane: Some(first.id()), ..change };
        assert_eq!(store.commit(change).await.unwrap(), STORED);
        assert_eq!(one.await.unwrap(), Committed::Contended, "the second is next");
        drop(second.await.unwrap());
        assert_eq!(store.commit(other).await.unwrap(), Committed::Conflict, "nobody is");
    });
}

fn lanes_are_entered_in_turn<B: Bench>(bench: &mut B) {
    let store = bench.store();
    block_on(async {
        let lane = || store.lane(&adapter("vkyc"));
        let first = lane().await.unwrap();
        let (mut given_up, mut second, mut third) = (lane(), lane(), lane());
        assert!(soon(&mut given_up).await.is_none() && soon(&mut second).await.is_none());
        assert!(soon(&mut third).await.is_none());
        let mut waiting = store.commit(commit(START));
        assert!(soon(&mut waiting).await.is_none());
        drop(given_up);
        drop(first);
        let second = second.await.unwrap();
        assert!(soon(&mut third).await.is_none() && soon(&mut waiting).await.is_none());
        drop(store.lane(&adapter("other")).await.unwrap());
        drop(second);
        drop(third.await.unwrap());
        assert_eq!(waiting.await.unwrap(), STORED);
        assert_eq!(store.commit(commit(START)).await.unwrap(), STORED);
    });
}
