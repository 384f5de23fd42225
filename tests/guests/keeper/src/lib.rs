//! An adapter that does with its state what the request says, a line an operation. It runs in the
//! sandbox and natively, and must come to the same.

use plugin_sdk::state::{self, Map, Refusal};
use plugin_sdk::verification::verify_header;
use plugin_sdk::{
    Adapter, Answer, DeliveredEvent, Description, Event, Inbound, Key, Outcome, Rejection, Travels,
    call,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

const TALLY: Map<String, u64> = Map::new("tally");

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoSettings {}

/// What the view `run` is asked.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Operation {
    operation: String,
    #[serde(default)]
    times: Option<u32>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Tallied {
    name: String,
    count: u64,
}

#[derive(Debug)]
pub struct Keeper;

impl Adapter for Keeper {
    type Settings = NoSettings;

    fn describe() -> Description {
        Description::new("keeper", env!("CARGO_PKG_VERSION"), "Keeps what it is told to keep")
            .state_version(1)
            .required_secret("shared", Travels::header("x-webhook-secret"), "The secret")
            .event::<Tallied>("test.keeper.tallied", "A tally went up")
            .fact("count", "Count")
            .consumes("test.keeper.tallied")
            .view::<Operation>("run", "Does one operation, as far as a view may")
    }

    #[expect(clippy::panic, reason = "a trap is what those bodies ask for")]
    fn receive(_: &NoSettings, inbound: &Inbound) -> Result<Outcome, Rejection> {
        verify_header("shared").or_refuse()?;
        let body = inbound.body();
        let text = String::from_utf8_lossy(body);
        if let Some(name) = text.strip_prefix("tally ") {
            return tally(name.trim());
        }
        if let Some(received) = text.strip_prefix("panic ") {
            panic!("at {received}");
        }
        if text == "panic" {
            panic!("as asked");
        }
        if let Some(name) = text.strip_prefix("plain ") {
            return tallied(name.trim(), 1);
        }
        let told: Vec<String> = text.lines().map(run).collect();
        Ok(Outcome::accepted(Answer::text(200, told.join("\n"))))
    }

    /// Tallies what others tallied, under the same name.
    #[expect(clippy::panic, reason = "a trap is what that name asks for")]
    fn consume(_: &NoSettings, event: &DeliveredEvent) -> Result<Outcome, Rejection> {
        let tallied: Tallied = serde_json::from_str(&event.data)
            .map_err(|_| Rejection::new(422, "not_a_tally", "the event is not a tally"))?;
        match tallied.name.as_str() {
            "refused" => Err(Rejection::new(422, "unwanted_name", "that name is not tallied")),
            "trapped" => panic!("as asked"),
            name => tally(name),
        }
    }

    /// `run` does one operation, any number of times; any other name is an operation itself.
    fn view(_: &NoSettings, name: &str, parameters: &str) -> Result<String, Rejection> {
        if name != "run" {
            return Ok(serde_json::Value::from(run(name)).to_string());
        }
        let asked: Operation = serde_json::from_str(parameters)
            .map_err(|error| Rejection::new(400, "bad_parameters", error.to_string()))?;
        let told: Vec<String> =
            (0..asked.times.unwrap_or(1)).map(|_| run(&asked.operation)).collect();
        Ok(serde_json::json!({ "told": told }).to_string())
    }
}

plugin_sdk::register_adapter!(Keeper);

/// Reads, adds one and writes: what loses a count wherever two calls do not come one after the other.
fn tally(name: &str) -> Result<Outcome, Rejection> {
    let count = TALLY.get(name)?.unwrap_or_default() + 1;
    TALLY.put(name, &count)?;
    tallied(name, count)
}

/// The event of a tally, which needs no state to be made.
fn tallied(name: &str, count: u64) -> Result<Outcome, Rejection> {
    let made = Tallied { name: name.to_owned(), count };
    let event =
        Event::new("test.keeper.tallied", &made)?.idempotency_key(Key::new([call::id().as_str()]));
    Ok(Outcome::accepted(Answer::text(200, count.to_string()))
        .event(event)
        .fact("count", Some(count.to_string())))
}

/// Does one operation, or the same one many times under numbered keys (`256*get k`), and tells the
/// last one's result.
fn run(line: &str) -> String {
    let (times, operation) = match line.split_once('*') {
        Some((times, operation)) => (times.parse().unwrap_or(1), operation),
        None => (1_u32, line),
    };
    let mut told = String::new();
    for n in 0..times {
        let suffix = if times == 1 { String::new() } else { n.to_string() };
        told = match once(operation, &suffix) {
            Ok(told) => told,
            Err(Refusal { code, detail }) => return format!("{code}: {detail} ({n})"),
        };
    }
    told
}

fn once(operation: &str, suffix: &str) -> Result<String, Refusal> {
    let words: Vec<&str> = operation.split(' ').collect();
    let key = |word: &str| sized(word, suffix);
    let show = |entry: state::Entry| {
        let (key, value) = (entry.key.len(), String::from_utf8_lossy(&entry.value).into_owned());
        format!("{key}:{}{:?}", value.get(..20).unwrap_or(&value), entry.expires_at)
    };
    match *words.as_slice() {
        ["get", name] => Ok(state::entry(&key(name))?.map_or_else(|| "absent".to_owned(), show)),
        ["put", name, value] => {
            state::put_bytes(&key(name), &sized(value, ""), None).map(|()| "put".to_owned())
        }
        ["put", name, value, after] => {
            let expires_at = call::now().checked_add_signed(after.parse().unwrap_or(0));
            state::put_bytes(&key(name), &sized(value, ""), expires_at).map(|()| "put".to_owned())
        }
        ["delete", name] => state::delete(&key(name)).map(|()| "deleted".to_owned()),
        ["scan", start, end, limit] => {
            let (start, end, limit) = (sized(start, ""), sized(end, ""), limit.parse::<i64>());
            let limit = limit.unwrap_or_default();
            let most = u32::try_from(limit.unsigned_abs()).unwrap_or(u32::MAX);
            let found = state::entries(&start, Some(end.as_slice()), most, limit < 0)?;
            let count = found.len();
            let shown: Vec<String> = found.into_iter().take(8).map(show).collect();
            Ok(format!("{count} [{}]", shown.join(" ")))
        }
        _ => Ok(format!("no such operation: {operation}")),
    }
}

/// A text, or of `#513` so many bytes; nothing of `-`.
fn sized(word: &str, suffix: &str) -> Vec<u8> {
    let mut bytes = match word.strip_prefix('#').and_then(|size| size.parse().ok()) {
        Some(size) => vec![b'x'; size],
        None if word == "-" => Vec::new(),
        None => word.as_bytes().to_vec(),
    };
    bytes.extend(suffix.as_bytes());
    bytes
}
