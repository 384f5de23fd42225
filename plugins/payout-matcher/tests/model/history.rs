//! Random histories: calls and reports in any order, some of them twice, over a few ids, so that
//! they meet.
//!
//! Also part of the tests of the whole gateway.

use super::world::{Report, Telling};

/// `SplitMix64`: small, and the same everywhere.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.roll() % bound
    }

    pub(crate) fn one_in(&mut self, of: u64) -> bool {
        self.below(of) == 0
    }

    pub(crate) fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        let index = self.below(from.len() as u64);
        from[usize::try_from(index).unwrap_or_default()].clone()
    }

    fn maybe<T: Clone>(&mut self, from: &[T]) -> Option<T> {
        if self.one_in(4) { None } else { Some(self.pick(from)) }
    }
}

const DURATIONS: [u64; 4] = [0, 90, 120, 151];
const CENTS: [i64; 6] = [0, 1, 5000, 5000, 3333, 10_000_000];
const BUYERS: [&str; 2] = ["acme", "other"];

/// The few ids of one history. Those of different numbers do not meet.
#[derive(Clone, Debug)]
pub(crate) struct Pool {
    callers: [String; 3],
    refs: [String; 4],
    calls: [String; 6],
}

impl Pool {
    pub(crate) fn new(number: usize) -> Self {
        let id = |name: &str| format!("{number}-{name}");
        Self {
            // 100,000 histories have numbers of their own.
            callers: ["305", "786", "212"].map(|area| format!("+1{area}55{number:05}")),
            refs: ["ref-1", "ref-2", "ref/3", "r\u{e9}f 4"].map(id),
            calls: ["call-1", "call-2", "call-3", "call/4", "c%C3%A9", "6"].map(id),
        }
    }
}

/// A call, told of at `at`.
pub(crate) fn telling(dice: &mut Dice, pool: &Pool, at: u64) -> Telling {
    let text = |text: &str| text.to_owned();
    let ago = [0, 1_000, 60_000, 60_000, 86_400_000, 7_000_000_000];
    Telling {
        call: dice.pick(&pool.calls),
        at,
        ref_id: dice.maybe(&pool.refs),
        caller: dice.maybe(&pool.callers),
        number: dice.maybe(&["+18885550000", "+18885550001"]).map(text),
        start: dice.maybe(&ago).map(|ago| at - ago),
        duration: dice.maybe(&DURATIONS),
        campaign: dice.maybe(&["hvac", "roof"]).map(text),
        publisher: dice.maybe(&["ann", "bob"]).map(text),
        buyer: if dice.one_in(3) { Some(text(dice.pick(&BUYERS))) } else { None },
        value_cents: dice.maybe(&[2500, 0]),
    }
}

/// A report that arrives at `now`.
pub(crate) fn report(dice: &mut Dice, pool: &Pool, now: u64) -> Report {
    let caller = dice.maybe(&pool.callers);
    let shift = dice.pick(&[0_u64, 30, 60, 61]);
    Report {
        now,
        scope: if dice.one_in(3) { Some("acme".to_owned()) } else { None },
        ref_id: if dice.one_in(2) { Some(dice.pick(&pool.refs)) } else { None },
        call_id: if dice.one_in(3) { Some(dice.pick(&pool.calls)) } else { None },
        duration: caller.as_ref().map(|_| dice.pick(&DURATIONS) + shift),
        caller,
        cents: if dice.one_in(12) { None } else { Some(dice.pick(&CENTS)) },
    }
}

/// How a report travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Query,
    Form,
    Json,
}

impl Shape {
    pub(crate) const ALL: [Self; 3] = [Self::Query, Self::Form, Self::Json];
}

/// The fields of a report, as one of many buyers would name them.
pub(crate) fn fields(dice: &mut Dice, report: &Report) -> Vec<(&'static str, String)> {
    let mut fields = Vec::new();
    let mut put = |name: &'static str, value: Option<String>| {
        fields.extend(value.map(|value| (name, value)));
    };
    put(dice.pick(&["ref_id", "click_id", "SubID"]), report.ref_id.clone());
    put(dice.pick(&["call_id", "our_call_id"]), report.call_id.clone());
    put(dice.pick(&["caller_id", "ANI", "from"]), report.caller.clone());
    put(dice.pick(&["duration", "talk_time"]), report.duration.map(|seconds| seconds.to_string()));
    let amount = report.cents.map(|cents| {
        let plain = format!("{}.{:02}", cents / 100, cents % 100);
        dice.pick(&[plain.clone(), format!("${plain}"), format!("{plain} USD")])
    });
    let bad = dice.pick(&["", "-5", "[Call:ConversionPayout]", "1.234,50", "9999999"]);
    put(dice.pick(&["payout", "revenue"]), amount.or_else(|| Some(bad.to_owned())));
    fields
}

/// Pairs as a query or a form has them.
pub(crate) fn encoded(fields: &[(&str, String)]) -> String {
    let pairs: Vec<String> =
        fields.iter().map(|(name, value)| format!("{name}={}", escaped(value))).collect();
    pairs.join("&")
}

/// A value as a query has it.
pub(crate) fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let escaped = |byte: u8| {
        if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }
    };
    text.bytes().map(escaped).collect()
}

/// An object as JSON has it.
pub(crate) fn object(fields: &[(&str, String)]) -> String {
    let members: Vec<String> = fields
        .iter()
        .map(|(name, value)| format!("{}:{}", serde_json::json!(name), serde_json::json!(value)))
        .collect();
    format!("{{{}}}", members.join(","))
}

/// A call as it is posted to a route for calls.
pub(crate) fn call_object(telling: &Telling) -> String {
    let Telling { call, ref_id, caller, number, campaign, publisher, buyer, .. } = telling;
    let mut object = serde_json::json!({ "call_id": call });
    let texts = [
        ("ref_id", ref_id),
        ("caller_number", caller),
        ("tracking_number", number),
        ("campaign", campaign),
        ("publisher", publisher),
        ("buyer", buyer),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            object[name] = serde_json::json!(text);
        }
    }
    if let Some(start) = telling.start {
        object["timestamp"] = serde_json::json!(start);
    }
    if let Some(duration) = telling.duration {
        object["duration_seconds"] = serde_json::json!(duration);
    }
    if let Some(cents) = telling.value_cents {
        object["value"] = serde_json::json!(format!("{}.{:02}", cents / 100, cents % 100));
    }
    object.to_string()
}
