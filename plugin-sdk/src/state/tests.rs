use std::cell::RefCell;
use std::collections::BTreeMap;

use super::*;
use crate::testing::{Run, Script, receive, view};
use crate::{Adapter, Answer, Description, Inbound, Outcome};

const TALLY: Map<String, u64> = Map::new("tally");
const BY_CALLER: Map<(String, u64, String), ()> = Map::new("by_caller");

type Body = Box<dyn FnOnce() -> Result<(), Refusal>>;

thread_local! {
    static BODY: RefCell<Option<Body>> = const { RefCell::new(None) };
}

fn run_body() -> Result<(), Refusal> {
    BODY.take().map_or(Ok(()), |body| body())
}

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct NoSettings {}

/// Does what the test says; granted state, or none.
struct Keeper<const STATE: bool>;

impl<const STATE: bool> Adapter for Keeper<STATE> {
    type Settings = NoSettings;

    fn describe() -> Description {
        let description = Description::new("keeper", "1.0.0", "A keeper").view::<()>("any", "Any");
        if STATE { description.state_version(1) } else { description }
    }

    fn receive(_: &NoSettings, _: &Inbound) -> Result<Outcome, Rejection> {
        run_body()?;
        Ok(Outcome::accepted(Answer::empty(200)))
    }

    fn view(_: &NoSettings, _: &str, _: &str) -> Result<String, Rejection> {
        run_body()?;
        Ok("null".to_owned())
    }
}

type Stored = BTreeMap<Vec<u8>, Entry>;

fn call<const STATE: bool>(
    script: &Script,
    body: impl FnOnce() -> Result<(), Refusal> + 'static,
) -> Run {
    BODY.set(Some(Box::new(body)));
    receive::<Keeper<STATE>>(script).unwrap()
}

/// One call after another on the same state.
fn after(state: Option<Stored>, body: impl FnOnce() -> Result<(), Refusal> + 'static) -> Stored {
    let run = call::<true>(&Script { auth_none: true, state, ..Script::default() }, body);
    drop(run.end.unwrap());
    run.state.unwrap()
}

#[track_caller]
fn refused(code: &str, said: &str, body: impl FnOnce() -> Result<(), Refusal> + 'static) {
    let run = call::<true>(&Script { auth_none: true, ..Script::default() }, body);
    let rejection = run.end.unwrap_err();
    assert_eq!(rejection.code(), "state_refused");
    let detail = rejection.detail();
    assert!(detail.starts_with(&format!("state: {code}: ")) && detail.contains(said), "{detail}");
    assert_eq!(run.state, Some(Stored::new()), "a rejected call writes nothing");
}

#[test]
fn a_map_keeps_typed_values_from_call_to_call() {
    let state = after(None, || {
        assert_eq!(TALLY.get("a")?, None);
        TALLY.put("a", &1)?;
        assert_eq!(TALLY.get("a")?, Some(1), "a call reads what it wrote");
        TALLY.put("b", &2)
    });
    let state = after(Some(state), || {
        assert_eq!((TALLY.get("a")?, TALLY.get("b")?), (Some(1), Some(2)));
        assert_eq!(Map::<String, u64>::new("tall").get("ya")?, None, "maps share nothing");
        TALLY.delete("a")?;
        assert_eq!(TALLY.get("a")?, None);
        TALLY.delete("never there")
    });
    after(Some(state), || {
        assert_eq!(TALLY.all().first(9)?, [("b".to_owned(), 2)]);
        Ok(())
    });
}

#[test]
fn a_scan_goes_by_the_order_of_keys_within_its_bounds() {
    let names = |found: Vec<((String, u64, String), ())>| -> Vec<String> {
        found.into_iter().map(|((caller, at, _), ())| format!("{caller}{at}")).collect()
    };
    after(None, move || {
        for (caller, at) in [("+44", 3), ("+4", 9), ("+44", 1), ("+44", 20), ("+440", 2)] {
            BY_CALLER.put((caller, at, "id"), &())?;
        }
        let one = || BY_CALLER.under(("+44",));
        assert_eq!(names(one().first(9)?), ["+441", "+443", "+4420"]);
        assert_eq!(names(one().descending().first(2)?), ["+4420", "+443"]);
        assert_eq!(names(one().from(("+44", 3)).first(9)?), ["+443", "+4420"]);
        assert_eq!(names(one().until(("+44", 3)).first(9)?), ["+441"]);
        assert_eq!(names(one().through(("+44", 3)).first(9)?), ["+441", "+443"]);
        assert_eq!(names(one().after(("+44", 3, "id")).first(9)?), ["+4420"]);
        assert_eq!(names(one().from(("+0",)).through(("+9",)).first(9)?).len(), 3, "only narrower");
        assert_eq!(names(one().from(("+44", 3)).until(("+44", 3)).first(9)?).len(), 0);
        assert_eq!(names(BY_CALLER.all().first(9)?), ["+49", "+441", "+443", "+4420", "+4402"]);
        assert_eq!(names(BY_CALLER.all().first(0)?).len(), 0);
        Ok(())
    });
}

#[test]
fn an_entry_is_absent_from_its_expiry_on() {
    let expires = Script::default().now + 1;
    let state = after(None, move || {
        TALLY.put_until("kept", &1, expires)?;
        TALLY.put_until("gone", &1, expires - 1)?;
        assert_eq!((TALLY.get("kept")?, TALLY.get("gone")?), (Some(1), None));
        Ok(())
    });
    let script = Script { auth_none: true, state: Some(state), ..Script::default() };
    let count = |now, expected: usize| {
        let run = call::<true>(&Script { now, ..script.clone() }, move || {
            assert_eq!(TALLY.all().first(9)?.len(), expected);
            assert_eq!(TALLY.get("kept")?.is_some(), expected == 1);
            Ok(())
        });
        drop(run.end.unwrap());
    };
    count(expires - 1, 1);
    count(expires, 0);
}

#[test]
fn what_is_too_much_is_refused_with_a_sentence() {
    let key = |n: u32| n.to_be_bytes();
    refused("invalid", "not empty", || delete(b""));
    refused("quota", "at most 512 bytes, not 513", || delete(&[b'k'; 513]));
    refused("quota", "at most 65536 bytes, not 65537", || put_bytes(b"k", &[0; 65_537], None));
    refused("quota", "writes at most 2048 times", move || {
        (0..=WRITES_MAX).try_for_each(|n| delete(&key(n)))
    });
    refused("quota", "writes at most 1048576 bytes", move || {
        (0..17).try_for_each(|n| put_bytes(&key(n), &[0; 65_000], None))
    });
    refused("quota", "reads at most 4096 entries and ranges", move || {
        (0..=READS_MAX).try_for_each(|n| entry(&key(n)).map(drop))
    });
    refused("quota", "reads at most 4096 entries and ranges", move || {
        (0..2_047).try_for_each(|n| put_bytes(&key(n), b"", None))?;
        (0..3).try_for_each(|_| entries(b"", None, u32::MAX, false).map(drop))
    });
    refused("quota", "reads at most 1048576 bytes", move || {
        put_bytes(b"k", &[0; 65_000], None)?;
        (0..17).try_for_each(|_| entry(b"k").map(drop))
    });
}

#[test]
fn state_is_granted_to_those_who_describe_it_and_a_view_only_reads() {
    let script = Script { auth_none: true, ..Script::default() };
    let run = call::<false>(&script, || TALLY.get("a").map(drop));
    assert!(run.end.unwrap_err().detail().starts_with("state: not_granted: "));
    assert_eq!(run.state, None);

    let state = after(None, || TALLY.put("a", &1));
    let script = Script { state: Some(state), ..script };
    let ask = |body: Body| {
        BODY.set(Some(body));
        view::<Keeper<true>>(&script, "any", &serde_json::json!({})).unwrap()
    };
    assert!(ask(Box::new(|| TALLY.get("a").map(|found| assert_eq!(found, Some(1))))).is_ok());
    let told = ask(Box::new(|| TALLY.put("a", &2))).unwrap_err();
    assert!(told.detail().starts_with("state: read_only: "), "{told:?}");
}
