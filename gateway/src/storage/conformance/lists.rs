//! Lists: filters, pages, order.

use super::*;

pub(super) fn rules<B: Bench>() -> Vec<(&'static str, Test<B>)> {
    rules![lists_are_filtered_and_paged, lists_go_by_id_whatever_the_order_of_commits,]
}

fn lists_are_filtered_and_paged<B: Bench>(bench: &mut B) {
    let mut ids = Vec::new();
    for n in 0..9_u64 {
        let at = UnixMillis(START.0 + n);
        let disposition = if n % 3 == 0 { Disposition::Ignored } else { Disposition::Accepted };
        let new =
            commit(at).of_route(if n % 2 == 0 { "even" } else { "odd" }).disposition(disposition);
        ids.push(new.request.id);
        put(bench.store(), new);
    }
    let list = |route_: Option<&str>, disposition, before, limit| -> Vec<usize> {
        let route = route_.map(route);
        let filter = RequestFilter { route, disposition, before, limit };
        let rows = block_on(bench.store().requests(filter)).unwrap();
        rows.iter().map(|row| ids.iter().position(|id| *id == row.id).unwrap()).collect()
    };
    assert_eq!(list(None, None, None, 4), [8, 7, 6, 5]);
    assert_eq!(list(None, None, Some(ids[5]), 4), [4, 3, 2, 1]);
    assert_eq!(list(Some("even"), None, None, 500), [8, 6, 4, 2, 0]);
    assert_eq!(list(Some("odd"), None, Some(ids[5]), 500), [3, 1]);
    assert_eq!(list(None, Some(Disposition::Ignored), None, 500), [6, 3, 0]);
    assert_eq!(list(Some("even"), Some(Disposition::Ignored), Some(ids[6]), 500), [0]);
    assert_eq!(list(Some("none"), None, None, 500), [] as [usize; 0]);
    assert_eq!(list(None, Some(Disposition::Superseded), None, 500), [] as [usize; 0]);
    assert_eq!(list(None, None, None, 0), [] as [usize; 0]);
    let filter = RequestFilter { limit: 1, ..RequestFilter::default() };
    let row = block_on(bench.store().requests(filter)).unwrap().remove(0);
    assert_eq!((row.status, row.events, row.adapter.as_str()), (200, 0, "vkyc"));
    assert_eq!(row.facts[0].value, "paid");
}

fn lists_go_by_id_whatever_the_order_of_commits<B: Bench>(bench: &mut B) {
    let arrived = [3, 0, 4, 1, 5, 2];
    let mut ids: Vec<_> = arrived
        .map(|n| {
            let new = commit(UnixMillis(START.0 + n)).of_route(if n < 3 { "x" } else { "y" });
            let id = new.request.id;
            put(bench.store(), new);
            id
        })
        .into();
    ids.sort_unstable();
    ids.reverse();
    for (of, wanted) in [(None, &ids[..]), (Some("y"), &ids[..3]), (Some("x"), &ids[3..])] {
        let (mut found, mut before) = (Vec::new(), None);
        loop {
            let filter =
                RequestFilter { route: of.map(route), before, limit: 2, disposition: None };
            let page = block_on(bench.store().requests(filter)).unwrap();
            let Some(last) = page.last() else { break };
            before = Some(last.id);
            found.extend(page.iter().map(|row| row.id));
        }
        assert_eq!(found, wanted, "each once, newest first");
    }
    // A cursor need not be the id of a stored request: refused ones are merged into the list.
    let between = RequestId::new(UnixMillis(START.0 + 3));
    let filter = RequestFilter { before: Some(between), limit: 9, route: None, disposition: None };
    let page: Vec<_> = block_on(bench.store().requests(filter)).unwrap();
    let wanted: Vec<_> = ids.iter().copied().filter(|id| *id < between).collect();
    assert_eq!(page.iter().map(|row| row.id).collect::<Vec<_>>(), wanted);
}
