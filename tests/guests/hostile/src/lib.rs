//! An adapter that does what an adapter must not, one thing at a time.
//!
//! What it does is chosen by text: in `receive` by the first word of the body, in `configure` by
//! the setting `configure`, in `consume` by the event's data, in `view` by the view's name. Every
//! behaviour has a test in `tests/it/sandbox.rs`.

mod bindings;
mod misdeeds;
mod outcomes;
mod redactions;

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};

use bindings::sluice::adapter::{inbound, verification};
use bindings::{DeliveredEvent, Guest, Outcome, Problem, Rejection};

/// Must read as zeros at the start of every call.
static MARKER: [AtomicU64; 64] = [const { AtomicU64::new(0) }; 64];
static COUNTER: AtomicU64 = AtomicU64::new(0);

const DESCRIPTION: &str = include_str!("describe.json");

thread_local! {
    /// Settings, as `configure` took them: by route, the adapter's own under the empty name.
    static SETTINGS: RefCell<Vec<(String, String)>> = const { RefCell::new(Vec::new()) };
}

struct Hostile;

impl Guest for Hostile {
    fn describe() -> String {
        DESCRIPTION.to_owned()
    }

    fn configure(settings: String, routes: Vec<(String, String)>) -> Result<(), Vec<Problem>> {
        let own: serde_json::Value = serde_json::from_str(&settings).unwrap_or_default();
        match own.get("configure").and_then(serde_json::Value::as_str) {
            None => {}
            Some("problems") => return Err(outcomes::problems()),
            Some(misdeed) => drop(misdeeds::commit(misdeed)),
        }
        SETTINGS.with_borrow_mut(|kept| {
            kept.push((String::new(), settings));
            kept.extend(routes);
        });
        Ok(())
    }

    fn receive() -> Result<Outcome, Rejection> {
        let body = inbound::body();
        let text = String::from_utf8_lossy(&body);
        let (word, rest) = text.split_once(' ').unwrap_or((&text, ""));
        match word {
            "count" => return Ok(outcomes::answering(&count())),
            "parse" => return Ok(parse(rest)),
            "work" => {
                verification::verify_header("shared");
                return Ok(outcomes::answering(&work(rest)));
            }
            "unverified" => return Ok(outcomes::answering("not verified")),
            _ => {}
        }
        verification::verify_header("shared");
        if let Some(outcome) = outcomes::invalid(word) {
            return Ok(outcome);
        }
        if let Some(word) = word.strip_prefix("mask-") {
            return redactions::mask(word, &body);
        }
        match word {
            "settings" => Ok(outcomes::answering(&settings())),
            "tell" => Ok(outcomes::telling(rest, &format!("{} {}", version(), settings()))),
            "echo" => Ok(outcomes::answering(&outcomes::everything())),
            "reject" => Err(outcomes::rejection(401, "secret_mismatch", rest)),
            "reject-200" => Err(outcomes::rejection(200, "fine", "")),
            "mac" => Ok(outcomes::answering(&mac())),
            "inner" => Ok(outcomes::answering(&verification::verify_equal("inner", rest).found)),
            _ => match misdeeds::commit(word) {
                Some(done) => Ok(outcomes::answering(&done)),
                None => Err(outcomes::rejection(400, "unknown_word", word)),
            },
        }
    }

    fn consume(event: DeliveredEvent) -> Result<Outcome, Rejection> {
        match event.data.as_str() {
            "{}" => Ok(outcomes::answering(&outcomes::call())),
            data => match misdeeds::commit(data.trim_matches(['{', '}', '"', ':', ' '])) {
                Some(done) => Ok(outcomes::answering(&done)),
                None => Err(outcomes::rejection(422, "unknown_event", data)),
            },
        }
    }

    fn view(name: String, parameters: String) -> Result<String, Rejection> {
        match name.as_str() {
            "parameters" => Ok(parameters),
            "not-json" => Ok("{".to_owned()),
            "call" => Ok(format!("{:?}", outcomes::call())),
            other => match misdeeds::commit(other) {
                Some(done) => Ok(format!("{done:?}")),
                None => Err(outcomes::rejection(404, "unknown_view", other)),
            },
        }
    }
}

/// Marks memory, and tells what stood there: `1 0` in a fresh instance.
fn count() -> String {
    let marks: u64 = MARKER.iter().map(|mark| mark.swap(u64::MAX, Ordering::Relaxed)).sum();
    // A second marker, on the heap: what an earlier call left there would show as well.
    let heap = vec![0_u8; 64 << 10];
    let dirt = heap.iter().filter(|byte| **byte != 0).count();
    drop(std::hint::black_box(vec![0xa5_u8; 64 << 10]));
    let count = COUNTER.fetch_add(1, Ordering::Relaxed) + 1;
    format!("{count} {marks} {dirt}")
}

/// Stands for honest work in the bench: a verdict, a JSON body read, an event written.
/// Does so many steps of nothing.
fn work(steps: &str) -> String {
    let mut n = 0_u64;
    for step in 0..steps.trim().parse().unwrap_or(0_u64) {
        n = std::hint::black_box(n.wrapping_add(step));
    }
    n.to_string()
}

fn parse(body: &str) -> Outcome {
    verification::verify_header("shared");
    match serde_json::from_str::<serde_json::Value>(body) {
        Ok(value) => outcomes::accepted(&value.to_string()),
        Err(_) => outcomes::answering("not JSON"),
    }
}

/// As `describe` tells it.
fn version() -> String {
    let described: serde_json::Value = serde_json::from_str(DESCRIPTION).unwrap_or_default();
    described.get("version").and_then(serde_json::Value::as_str).unwrap_or_default().to_owned()
}

fn settings() -> String {
    SETTINGS.with_borrow(|kept| {
        let lines: Vec<String> = kept.iter().map(|(name, own)| format!("{name}={own}")).collect();
        lines.join("\n")
    })
}

fn mac() -> String {
    let presented = inbound::header("x-signature").pop().unwrap_or_default();
    let body = misdeeds::body_part();
    let verdict =
        verification::verify_mac("key", "hmac-sha256", "utf8", &[body], &presented, "hex");
    format!("{} {:?}", verdict.found, verdict.version)
}
