//! What the store holds, against what the model says of the same steps in the same order.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value, json};
use sluice::model::{AdapterName, Disposition, SystemClock};
use sluice::storage::sqlite::{SqliteOptions, SqliteStorage};
use sluice::storage::{Claiming, Storage, StoredRequest};
use sluice_tests::{Gateway, Home, store};

use super::Tally;
use super::component::{Component, STATE_VERSION};
use super::traffic::{Book, Step, now_ms};
use super::world::{Report, Seen, Telling, World};

/// Rows of a page: the most that the views give.
const PAGE: usize = 200;

/// Everything in which store and model could differ.
pub(super) struct Audit {
    pub(super) reports: usize,
    rerun: usize,
    tally: Tally,
    /// One sentence each.
    wrong: Vec<String>,
}

impl Audit {
    /// Ends the gateway, and compares what it stored with what was sent.
    pub(super) async fn of(home: &Home, gateway: Gateway, book: &Book) -> Self {
        assert!(gateway.terminate().await.unwrap().status.success());
        let mut audit = Self { reports: 0, rerun: 0, tally: Tally::new(), wrong: Vec::new() };
        let component = Component::load();
        let order = order(home);
        let mut committed = store::requests(home).await.unwrap();
        committed
            .sort_by_key(|request| order.get(request.record.id.as_bytes().as_slice()).copied());
        let worlds = audit.tell_again(&committed, book);
        for request in &committed {
            audit.rerun += 1;
            audit.wrong.extend(component.differs_again(request));
        }
        audit.compare_state(home, &component, &worlds).await;
        audit
    }

    fn tell_again(&mut self, committed: &[StoredRequest], book: &Book) -> BTreeMap<usize, World> {
        let sent = book.sent();
        let mut worlds: BTreeMap<usize, World> = BTreeMap::new();
        let mut stored = BTreeSet::new();
        for request in committed {
            let record = &request.record;
            let query = record.head.query.as_deref().unwrap_or_default();
            let marker = query.split('&').find_map(|pair| pair.strip_prefix("marker="));
            let marker = marker.unwrap_or_default().to_owned();
            if !stored.insert(marker.clone()) {
                self.wrong.push(format!("{marker} was committed twice"));
            }
            let Some(step) = sent.get(&marker) else {
                self.wrong.push(format!("{marker} was never sent"));
                continue;
            };
            let world = worlds.entry(step.history).or_default();
            let now = record.received_at.0;
            match &step.step {
                Step::Tell(telling) => world.tell(&Telling { at: now, ..telling.clone() }, now),
                Step::Report(report, _) => {
                    let verdict = world.report(&Report { now, ..report.clone() });
                    self.judge(request, &marker, &verdict);
                }
            }
        }
        let lost = |(marker, sent): &(&String, &super::traffic::Sent)| {
            sent.acknowledged && !stored.contains(*marker)
        };
        let lost = sent.iter().filter(lost);
        self.wrong.extend(lost.map(|(marker, _)| format!("{marker} was acknowledged and is lost")));
        worlds
    }

    fn judge(&mut self, request: &StoredRequest, marker: &str, verdict: &super::world::Verdict) {
        self.reports += 1;
        let status = verdict.status();
        *self.tally.entry(status).or_default() += 1;
        if let Some(strategy) = verdict.strategy() {
            *self.tally.entry(strategy).or_default() += 1;
        }
        let record = &request.record;
        let told = record.facts.iter().find(|fact| fact.name == "status");
        let duplicate = record.disposition == Disposition::Duplicate;
        // Of two that raced the later may have been judged before it was known to be the later.
        let agrees = duplicate == (status == "duplicate")
            && (duplicate || told.is_some_and(|told| told.value == status));
        if !agrees {
            let facts = &record.facts;
            self.wrong.push(format!("{marker}: {facts:?}, the model says {verdict:?}"));
        }
    }

    async fn compare_state(
        &mut self,
        home: &Home,
        component: &Component,
        worlds: &BTreeMap<usize, World>,
    ) {
        let path = home.data().join("sluice.db");
        let options = SqliteOptions::new(Arc::new(SystemClock));
        let storage: Arc<dyn Storage> = SqliteStorage::open(&path, options).unwrap();
        let claim = (AdapterName::new("payouts").unwrap(), STATE_VERSION);
        assert_eq!(storage.claim_state(vec![claim], Claiming::Grant).await.unwrap(), []);
        let now = now_ms();
        let rows = |view: &str| rows(component, &storage, now, view);
        let (balances, calls) = (rows("publishers"), rows("calls"));
        self.compare(worlds, &balances, &calls, now);
        storage.close().await;
    }

    fn compare(
        &mut self,
        worlds: &BTreeMap<usize, World>,
        balances: &[Value],
        calls: &[Value],
        now: u64,
    ) {
        let mut expected: BTreeMap<String, i64> = BTreeMap::new();
        let mut expected_calls: BTreeMap<String, Seen> = BTreeMap::new();
        for world in worlds.values() {
            for (publisher, cents) in &world.balances {
                *expected.entry(publisher.clone()).or_default() += cents;
            }
            expected_calls.extend(world.calls(now));
        }
        expected.retain(|_, cents| *cents != 0);
        let text = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
        let cents = |row: &Value| row["pending_balance_cents"].as_i64().unwrap();
        let got: BTreeMap<String, i64> = balances
            .iter()
            .map(|row| (text(row, "publisher"), cents(row)))
            .filter(|(_, cents)| *cents != 0)
            .collect();
        if got != expected {
            self.wrong.push(format!("balances are {got:?}, the model says {expected:?}"));
        }
        let got: BTreeMap<String, Seen> =
            calls.iter().map(|row| (text(row, "call_id"), Seen::of_row(row))).collect();
        for id in got.keys().chain(expected_calls.keys()).collect::<BTreeSet<_>>() {
            if got.get(id) != expected_calls.get(id) {
                let (got, expected) = (got.get(id), expected_calls.get(id));
                self.wrong.push(format!("{id} is {got:?}, the model says {expected:?}"));
            }
        }
        // To the cent: what publishers are owed is what the calls' values imply.
        let credited: i64 = got.values().filter_map(|seen| Some(seen.credited.as_ref()?.1)).sum();
        let owed: i64 = balances.iter().map(cents).sum();
        if credited != owed {
            self.wrong.push(format!("{owed} cents are owed, and the calls imply {credited}"));
        }
    }

    pub(super) fn disagreements(&self) -> usize {
        self.wrong.len()
    }

    pub(super) fn assert_model_agrees(&self) {
        let few = self.wrong.iter().take(20).cloned().collect::<Vec<_>>();
        assert!(self.wrong.is_empty(), "{self}\n{}", few.join("\n"));
    }

    /// A run in which half of it never happens shows little.
    pub(super) fn assert_lively(&self) {
        for each in ["matched", "adjusted", "duplicate", "unmatched", "ref_id", "call_id"] {
            assert!(self.tally.contains_key(each), "{each} never came about: {self}");
        }
    }
}

impl fmt::Display for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { reports, rerun, tally, wrong } = self;
        let wrong = wrong.len();
        write!(f, "{reports} reports, {tally:?}, {rerun} run again, {wrong} disagreements")
    }
}

/// All rows of a view.
fn rows(component: &Component, storage: &Arc<dyn Storage>, now: u64, view: &str) -> Vec<Value> {
    let adapter = AdapterName::new("payouts").unwrap();
    let mut all = Vec::new();
    let mut parameters = Map::from_iter([("limit".to_owned(), json!(PAGE))]);
    loop {
        let asked = Value::Object(parameters.clone());
        let page = component.view(storage, &adapter, now, (view, &asked));
        all.extend(page["rows"].as_array().cloned().unwrap_or_default());
        match page.get("next") {
            Some(next) => drop(parameters.insert("after".to_owned(), next.clone())),
            None => return all,
        }
    }
}

/// The place of each request in the order of commits, by its id.
fn order(home: &Home) -> BTreeMap<Vec<u8>, i64> {
    let store = rusqlite::Connection::open(home.data().join("sluice.db")).unwrap();
    let mut query = store.prepare("SELECT id, seq FROM requests").unwrap();
    let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    rows.map(Result::unwrap).collect()
}
