//! Random histories of calls and reports, against a simple model in memory.
//!
//! `MODEL_SEED` runs the one history of that seed; `MODEL_HISTORIES` another number of them.
#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "in tests a panic is the way to tell"
)]

#[path = "model/history.rs"]
mod history;
#[path = "model/world.rs"]
mod world;

use std::collections::BTreeMap;

use payout_matcher::PayoutMatcher;
use plugin_sdk::DeliveredEvent;
use plugin_sdk::state::Entry;
use plugin_sdk::testing::{Request, Run, Script, consume, receive, view};
use serde_json::{Value, json};

use history::{Dice, Pool, Shape};
use world::{Report, Seen, Telling, Verdict, World};

/// As the issue has it.
const HISTORIES: u64 = 5_000;
const STEPS: u64 = 16;
/// Between two steps, in milliseconds: at once, within the window of duplicates and at its edge,
/// and so long that calls leave the window of matching.
const PAUSES: [u64; 12] =
    [0, 0, 1, 1_000, 1_000, 60_000, 60_000, 450_000, 900_000, 900_001, 3_600_000, 80_000_000];
/// 2026-01-02T03:04:05Z.
const START: u64 = 1_767_323_045_000;

/// One adapter with its state, as a gateway would keep it.
#[derive(Default)]
struct Kept {
    state: BTreeMap<Vec<u8>, Entry>,
    keys: Vec<(String, u64)>,
    requests: u64,
}

impl Kept {
    fn script(&self, now: u64, settings: Value) -> Script {
        let known = self.keys.iter().filter(|(_, until)| now <= *until);
        Script {
            auth_none: true,
            settings,
            now,
            id: format!("019b7c4e-5b88-7000-8000-{:012x}", self.requests),
            seen: known.map(|(key, _)| key.clone()).collect(),
            state: Some(self.state.clone()),
            ..Script::default()
        }
    }

    /// Commits what a call came to, unless the gateway knows all its keys. Returns what it told.
    fn commit(&mut self, script: &Script, run: &Run) -> Value {
        self.requests += 1;
        let told = run.observed().to_json();
        let keys: Vec<(String, u64)> = told["events"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|event| event.get("key"))
            .map(|key| {
                let window = key["window_seconds"].as_u64().unwrap_or_default();
                (key["value"].as_str().unwrap_or_default().to_owned(), script.now + window * 1000)
            })
            .collect();
        let events = told["events"].as_array().map_or(0, Vec::len);
        let known = |key: &(String, u64)| script.seen.contains(&key.0);
        let duplicate = events > 0 && keys.len() == events && keys.iter().all(known);
        if !duplicate {
            self.state = run.state.clone().unwrap_or_default();
            self.keys.extend(keys);
        }
        told
    }

    fn view(&self, now: u64, name: &str) -> Vec<Value> {
        let script = self.script(now, settings(None, "payouts"));
        let answer = view::<PayoutMatcher>(&script, name, &json!({ "limit": 200 })).unwrap();
        let answer: Value = serde_json::from_str(&answer.unwrap()).unwrap();
        answer["rows"].as_array().cloned().unwrap_or_default()
    }
}

fn settings(buyer: Option<&str>, receives: &str) -> Value {
    let mut settings: Value = serde_json::from_str(world::SETTINGS).unwrap();
    settings["receives"] = json!(receives);
    if let Some(buyer) = buyer {
        settings["buyer"] = json!(buyer);
    }
    settings["call_events"] = json!({ "com.example.call": {
        "call_id": "id", "ref_id": "ref", "caller": "who.from", "number": "who.to",
        "started_at": "at", "duration": "seconds", "campaign": "campaign",
        "publisher": "publisher", "buyer": "buyer", "value": "worth",
    }});
    settings
}

fn request(dice: &mut Dice, report: &Report, shape: Shape) -> Request {
    let fields = history::fields(dice, report);
    let json = vec![("content-type".to_owned(), "application/json".to_owned())];
    match shape {
        Shape::Query => Request {
            method: "GET".to_owned(),
            query: Some(history::encoded(&fields)),
            ..Request::default()
        },
        Shape::Form => {
            Request { body: history::encoded(&fields).into_bytes(), ..Request::default() }
        }
        Shape::Json => Request {
            headers: json,
            body: history::object(&fields).into_bytes(),
            ..Request::default()
        },
    }
}

/// Posts a call to its route.
fn post(kept: &mut Kept, telling: &Telling) {
    let body = history::call_object(telling).into_bytes();
    let request = Request { body, ..Request::default() };
    let script = Script { request, ..kept.script(telling.at, settings(None, "calls")) };
    let run = receive::<PayoutMatcher>(&script).unwrap();
    kept.commit(&script, &run);
}

/// Lets the adapter consume another adapter's event of a call.
fn deliver(kept: &mut Kept, telling: &Telling, now: u64) {
    let data = json!({
        "id": telling.call, "ref": telling.ref_id,
        "who": { "from": telling.caller, "to": telling.number },
        "at": telling.start, "seconds": telling.duration, "campaign": telling.campaign,
        "publisher": telling.publisher, "buyer": telling.buyer,
        "worth": telling.value_cents.map(|cents| format!("{}.{:02}", cents / 100, cents % 100)),
    });
    let at = plugin_sdk::Time::read(&telling.at.to_string(), None).unwrap().unwrap();
    let event = DeliveredEvent {
        id: "e".to_owned(),
        source: "/routes/pbx".to_owned(),
        kind: "com.example.call".to_owned(),
        subject: None,
        time: None,
        received_at: at.to_string(),
        adapter: "pbx/1.0.0".to_owned(),
        verified: "none".to_owned(),
        data: data.to_string(),
        partition_key: None,
    };
    let script = kept.script(now, settings(None, "payouts"));
    let run = consume::<PayoutMatcher>(&script, &event).unwrap();
    kept.commit(&script, &run);
}

/// Sends a report; every fourth in each of the three shapes to the same state, of which it keeps
/// what the last came to.
fn send(kept: &mut Kept, dice: &Dice, report: &Report) -> Value {
    let shapes = match dice.clone().below(4) {
        0 => Shape::ALL.as_slice(),
        shape => Shape::ALL
            .get(usize::try_from(shape).unwrap() - 1..)
            .unwrap()
            .first_chunk::<1>()
            .unwrap(),
    };
    let mut first: Option<Value> = None;
    let script = kept.script(report.now, settings(report.scope.as_deref(), "payouts"));
    let mut last = None;
    for &shape in shapes {
        // The same rolls, and so the same fields, for each.
        let request = request(&mut dice.clone(), report, shape);
        let script = Script { request, ..script.clone() };
        let run = receive::<PayoutMatcher>(&script).unwrap();
        let mut told = run.observed().to_json();
        for event in told["events"].as_array_mut().into_iter().flatten() {
            for apart in ["original", "reported"] {
                event["data"].as_object_mut().unwrap().remove(apart);
            }
        }
        assert_eq!(first.get_or_insert(told.clone()), &told, "{shape:?}");
        last = Some((script, run));
    }
    let (script, run) = last.unwrap();
    kept.commit(&script, &run)
}

/// How often each verdict and each strategy came about.
type Tally = BTreeMap<&'static str, u64>;

fn run_history(seed: u64, tally: &mut Tally) {
    let mut dice = Dice::new(seed);
    let (mut kept, mut world) = (Kept::default(), World::default());
    let (pool, mut now) = (Pool::new(0), START);
    let mut sent: Vec<(Dice, Report)> = Vec::new();
    for _ in 0..STEPS {
        now += dice.pick(&PAUSES);
        match dice.below(9) {
            0..=2 => {
                let telling = history::telling(&mut dice, &pool, now);
                post(&mut kept, &telling);
                world.tell(&telling, now);
            }
            3 => {
                // Its source told of it some time ago: deliveries overtake each other.
                let at = now - dice.pick(&[0, 1, 60_000, 4_000_000]);
                let telling = history::telling(&mut dice, &pool, at);
                deliver(&mut kept, &telling, now);
                world.tell(&telling, now);
            }
            again => {
                let (rolls, report) = match sent.last() {
                    Some((rolls, report)) if again == 4 => {
                        (rolls.clone(), Report { now, ..report.clone() })
                    }
                    _ => {
                        let report = history::report(&mut dice, &pool, now);
                        (Dice::new(dice.roll()), report)
                    }
                };
                // As a replay does: with the time of its arrival.
                let report = match dice.below(10) {
                    0 => Report { now: sent.first().map_or(now, |(_, old)| old.now), ..report },
                    _ => report,
                };
                let verdict = check_report(&mut kept, &mut world, &rolls, &report, seed);
                *tally.entry(verdict.status()).or_default() += 1;
                if let Some(strategy) = verdict.strategy() {
                    *tally.entry(strategy).or_default() += 1;
                }
                sent.push((rolls, report));
            }
        }
    }
    compare(&kept, &world, now, seed);
}

fn check_report(
    kept: &mut Kept,
    world: &mut World,
    rolls: &Dice,
    report: &Report,
    seed: u64,
) -> Verdict {
    let verdict = world.report(report);
    let told = send(kept, rolls, report);
    let facts = told["facts"].as_array().cloned().unwrap_or_default();
    let fact = |name: &str| {
        facts.iter().find(|fact| fact["name"] == name).map(|fact| fact["value"].clone())
    };
    assert_eq!(fact("status"), Some(json!(verdict.status())), "seed {seed}: {report:?}\n{told:#}");
    if let Verdict::Matched { call, strategy }
    | Verdict::Adjusted { call, strategy }
    | Verdict::Superseded { call, strategy } = &verdict
    {
        assert_eq!(fact("call"), Some(json!(call)), "seed {seed}: {report:?}");
        assert_eq!(fact("strategy"), Some(json!(strategy)), "seed {seed}: {report:?}");
    }
    verdict
}

fn compare(kept: &Kept, world: &World, now: u64, seed: u64) {
    let owed: BTreeMap<String, i64> = kept
        .view(now, "publishers")
        .iter()
        .map(|row| {
            let publisher = row["publisher"].as_str().unwrap_or_default().to_owned();
            (publisher, row["pending_balance_cents"].as_i64().unwrap_or_default())
        })
        .filter(|(_, cents)| *cents != 0)
        .collect();
    let mut balances = world.balances.clone();
    balances.retain(|_, cents| *cents != 0);
    assert_eq!(owed, balances, "balances, seed {seed}");
    let calls: BTreeMap<String, Seen> = kept
        .view(now, "calls")
        .iter()
        .map(|row| (row["call_id"].as_str().unwrap_or_default().to_owned(), Seen::of_row(row)))
        .collect();
    assert_eq!(calls, world.calls(now), "calls, seed {seed}");
}

#[test]
#[expect(clippy::print_stdout, reason = "the seed is printed")]
fn random_histories_come_to_what_the_model_says() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    if let Some(seed) = number("MODEL_SEED") {
        return run_history(seed, &mut Tally::new());
    }
    let first = std::time::UNIX_EPOCH.elapsed().map_or(1, |since| since.as_secs());
    let histories = number("MODEL_HISTORIES").unwrap_or(HISTORIES);
    println!("{histories} histories from seed {first}; one alone with MODEL_SEED");
    let mut tally = Tally::new();
    (first..first + histories).for_each(|seed| run_history(seed, &mut tally));
    println!("{tally:?}");
    let all = [
        "adjusted",
        "call_id",
        "caller_duration",
        "duplicate",
        "matched",
        "ref_id",
        "superseded",
        "unmatched",
    ];
    assert!(all.iter().all(|each| tally.contains_key(each)), "something never came about");
}
