//! Random histories of a few calls, against what the README says in a few lines.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "in tests a panic is the way to tell"
)]

use std::collections::BTreeMap;

use paytia_cdr::PaytiaCdr;
use plugin_sdk::state::Entry;
use plugin_sdk::testing::{Request, Script, receive, view};
use proptest::prelude::*;
use serde_json::{Value, json};

const CALLS: u64 = 3;
const KEEP_MILLIS: i64 = 60 * 60 * 1000;
const WINDOW_MILLIS: i64 = 5 * 60 * 1000;
const START_MILLIS: i64 = 1_767_323_045_000;

/// A call's records, what they are by themselves, and whether an answer time is among them.
const RECORDS: [(&str, &str, bool); 6] = [
    (r#""state":"setup""#, "progressed", false),
    (r#""state":"ringing","outtimes":1767323050"#, "progressed", false),
    (r#""state":"talking","outtimes":1767323050,"outtimea":1767323054"#, "answered", true),
    (r#""state":"paying","agent_id":"7","outtimea":1767323054"#, "answered", true),
    (r#""state":"gone","agent_id":"7","hangOutCause":"SIP 487""#, "ended", false),
    (r#""state":"done","agent_id":"8","outtimea":1767323054,"outtimee":1767323060"#, "ended", true),
];

/// One record arrives, so many milliseconds after the one before.
#[derive(Clone, Copy, Debug)]
struct Arrival {
    call: u64,
    record: usize,
    gap: i64,
}

fn arrivals() -> impl Strategy<Value = Vec<Arrival>> {
    // Few records and gaps at the edges, so that repeats, retries and forgotten calls are frequent.
    let edges = [WINDOW_MILLIS, WINDOW_MILLIS + 1, KEEP_MILLIS - 1, KEEP_MILLIS, KEEP_MILLIS + 1];
    let gap = prop_oneof![
        6 => Just(0),
        4 => 1..20_000_i64,
        // Committed later than one that arrived later.
        1 => -2_000..0_i64,
        2 => prop::sample::select(edges.to_vec()),
        1 => 0..2 * KEEP_MILLIS,
    ];
    let arrival =
        (0..CALLS, 0..RECORDS.len(), gap, 0..3_u8).prop_map(|(call, record, gap, same)| {
            // Often the same record of the same call again.
            let (call, record) = if same == 0 { (0, 2) } else { (call, record) };
            Arrival { call, record, gap }
        });
    prop::collection::vec(arrival, 1..40)
}

/// What the gateway keeps between requests.
#[derive(Default)]
struct Gateway {
    route: &'static str,
    state: Option<BTreeMap<Vec<u8>, Entry>>,
    /// Each key with its route, and until when it is known.
    keys: Vec<(&'static str, String, i64)>,
}

impl Gateway {
    fn script(&self, now: i64) -> Script {
        let known =
            self.keys.iter().filter(|(route, _, until)| *route == self.route && now <= *until);
        Script {
            auth_none: true,
            route: self.route.to_owned(),
            settings: json!({ "keep_calls": "1h" }),
            now: u64::try_from(now).unwrap(),
            seen: known.map(|(_, key, _)| key.clone()).collect(),
            state: self.state.clone(),
            ..Script::default()
        }
    }

    /// Type of the event that the record makes; none where it is a duplicate.
    fn post(&mut self, arrival: Arrival, now: i64) -> Option<String> {
        let start = 1_767_323_045 + arrival.call;
        let (members, ..) = RECORDS[arrival.record];
        let body = format!(r#"{{"incli":"+447700900123","intimes":{start},{members}}}"#);
        let request = Request { body: body.into_bytes(), ..Request::default() };
        let script = Script { request, ..self.script(now) };
        let run = receive::<PaytiaCdr>(&script).unwrap();
        let outcome = run.end.unwrap();
        let key = outcome.idempotency_keys().next().unwrap().to_owned();
        if script.seen.contains(&key) {
            return None;
        }
        self.state = run.state;
        self.keys.push((self.route, key, now + WINDOW_MILLIS));
        let kind = outcome.event_types().next().unwrap();
        Some(kind.strip_prefix("com.paytia.call.").unwrap().to_owned())
    }

    fn view(&self, name: &str, now: i64) -> Vec<Value> {
        let answer = view::<PaytiaCdr>(&self.script(now), name, &json!({})).unwrap().unwrap();
        let answer: Value = serde_json::from_str(&answer).unwrap();
        answer["rows"].as_array().unwrap().clone()
    }
}

/// One call as somebody sees it who reads the README.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    last: Option<(usize, i64)>,
    answered: bool,
    events: u64,
    ended: bool,
}

impl Known {
    fn is_forgotten(&self, now: i64) -> bool {
        self.last.is_none_or(|(_, at)| now >= at + KEEP_MILLIS)
    }

    fn post(&mut self, record: usize, now: i64) -> Option<String> {
        if self.is_forgotten(now) {
            *self = Self::default();
        }
        if self.last.is_some_and(|(last, at)| last == record && now <= at + WINDOW_MILLIS) {
            return None;
        }
        let (_, alone, carries_answer) = RECORDS[record];
        let kind = if alone == "answered" && self.answered { "progressed" } else { alone };
        self.last = Some((record, now));
        self.events += 1;
        self.answered |= carries_answer;
        self.ended |= alone == "ended";
        Some(kind.to_owned())
    }
}

#[test]
fn routes_of_one_adapter_know_nothing_of_each_other() {
    let mut gateway = Gateway::default();
    let answered = Arrival { call: 0, record: 2, gap: 0 };
    for (route, told) in [
        ("first", Some("answered")),
        ("second", Some("answered")),
        ("first", None),
        ("second", None),
    ] {
        gateway.route = route;
        assert_eq!(gateway.post(answered, START_MILLIS).as_deref(), told, "{route}");
    }
    let routes: Vec<Value> =
        gateway.view("calls", START_MILLIS).iter().map(|row| row["route"].clone()).collect();
    assert_eq!(routes, ["second", "first"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn retries_are_told_from_progress_and_the_first_answer_from_later_ones(arrivals in arrivals()) {
        let mut gateway = Gateway::default();
        let mut known = [Known::default(); 3];
        let mut now = START_MILLIS;
        let (mut earliest, mut latest) = (now, now);
        for (number, arrival) in arrivals.iter().enumerate() {
            now += arrival.gap;
            (earliest, latest) = (earliest.min(now), latest.max(now));
            let made = gateway.post(*arrival, now);
            let call = &mut known[usize::try_from(arrival.call).unwrap()];
            prop_assert_eq!(made, call.post(arrival.record, now), "{}: {:?}", number, arrival);
        }
        // Each call that is remembered is listed once, with all its events.
        let rows = gateway.view("calls", now);
        let listed: Vec<u64> = rows.iter().map(|row| row["events"].as_u64().unwrap()).collect();
        let living = |call: &&Known| !call.is_forgotten(now);
        // The last to start is listed first.
        let expected: Vec<u64> = known.iter().rev().filter(living).map(|call| call.events).collect();
        prop_assert_eq!(listed, expected);
        // Where nothing was forgotten yet, each call that has ended is counted once.
        if latest < earliest + KEEP_MILLIS {
            let counted = gateway.view("agents", now);
            let counted: u64 = counted.iter().map(|row| row["calls"].as_u64().unwrap()).sum();
            prop_assert_eq!(counted, known.iter().filter(|call| call.ended).count() as u64);
        }
    }
}
