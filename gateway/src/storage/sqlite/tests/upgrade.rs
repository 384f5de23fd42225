//! Stores of earlier schemas: opened with all that they hold, and of today's schema from then on.

use super::*;
use crate::storage::conformance::state::{claim, put_key};

/// Takes away what each migration but the first has brought.
const UNDOING: [&str; 2] = [
    "DROP TABLE namespaces; DROP TABLE state; ALTER TABLE requests DROP COLUMN state_reads",
    "DROP TABLE route_switches",
];

/// The statements that made what is in a store, in an order of their own.
fn schema(bench: &Fixture) -> Vec<String> {
    let connection = Connection::open(bench.path()).unwrap();
    let sql = "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name";
    let mut statements = connection.prepare(sql).unwrap();
    let rows = statements.query_map([], |row| row.get(0)).unwrap();
    rows.map(Result::unwrap).collect()
}

#[test]
fn a_store_of_each_earlier_schema_opens_with_all_that_it_holds() {
    for version in 1..=UNDOING.len() {
        let mut bench = Fixture::new();
        let known = || commit(START).event(Some(key("k", 600)), &["a"]);
        let new = known();
        let id = new.request.id;
        put(bench.store(), new);
        put(bench.store(), commit(START).event(None, &["a"]));
        bench.close();
        let today = schema(&bench);
        let connection = Connection::open(bench.path()).unwrap();
        let number = |row: &rusqlite::Row<'_>| row.get::<_, i64>(0);
        let newest = connection.query_row("PRAGMA user_version", [], number).unwrap();
        let has_undoing = usize::try_from(newest).unwrap() == UNDOING.len() + 1;
        assert!(has_undoing, "each migration but the first has its undoing");
        for undoing in UNDOING[version - 1..].iter().rev() {
            connection.execute_batch(undoing).unwrap();
        }
        connection.execute_batch(&format!("PRAGMA user_version = {version}")).unwrap();
        drop(connection);
        assert_ne!(schema(&bench), today, "the control: schema {version} is another");
        bench.reopen();
        assert!(block_on(bench.store().request(id)).unwrap().unwrap().intact);
        assert!(matches!(put(bench.store(), known()), Committed::Duplicate { .. }));
        assert_eq!(lease(bench.store(), "a", 9).iter().filter(|one| one.intact).count(), 2);
        // What later migrations brought is there to be used.
        claim(bench.store(), "vkyc");
        put(bench.store(), commit(START).changing([put_key("state", "kept")]));
        bench.crash();
        bench.close();
        assert_eq!(schema(&bench), today, "schema {version} became today's");
    }
}
