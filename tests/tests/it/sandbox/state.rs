//! State in the sandbox: as it is natively, within every bound, and the same again from a record.

use std::sync::{Arc, OnceLock};

use keeper::Keeper;
use plugin_sdk::testing::{self, Script};
use serde_json::json;
use sluice::adapter::{
    Adapter, CallEnd, Cause, End, Receive, ReceiveCall, Sandbox, SandboxLimits, StateReader,
    Unread, ViewEnd,
};
use sluice::model::{
    AdapterName, Answer, CallReads, Disposition, PluginName, RequestRecord, Scanned, SecretName,
    StateRange, Travels, Verified,
};
use sluice::replay::{ReplayError, rerun};
use sluice_tests::artifact;
use sluice_tests::sandbox::{BODY_MAX, Kept, NOW, Request, secret, settings};

use super::{answer, trap};

const SECRET: &str = "hunter2";

pub(super) fn adapter() -> &'static Adapter {
    static ADAPTER: OnceLock<Adapter> = OnceLock::new();
    ADAPTER.get_or_init(|| {
        let deadline = std::time::Duration::from_secs(5);
        let limits = SandboxLimits { deadline, ..SandboxLimits::default() };
        let sandbox = Sandbox::new(limits).unwrap();
        let bytes = artifact("keeper").unwrap();
        let plugin = sandbox.load(&PluginName::new("keeper").unwrap(), &bytes).unwrap();
        let own = settings(json!({}));
        sandbox.configure(&plugin, &own, &[(super::route(), own.clone())]).unwrap()
    })
}

fn request() -> Request {
    let header = Travels::Header {
        name: "x-webhook-secret".to_owned(),
        prefix: String::new(),
        setting: None,
    };
    let value = secret(SecretName::new("s").unwrap(), SECRET);
    Request::new(vec![("shared".to_owned(), header, Some(value))], &[("x-webhook-secret", SECRET)])
}

pub(super) fn call(state: Arc<dyn StateReader>, body: &str) -> ReceiveCall {
    let mut call = request().call(&super::route(), body.to_owned());
    call.state = Some(state);
    call
}

/// Runs one call after another on the same state.
fn run(kept: &Arc<Kept>, body: &str) -> CallEnd {
    let ended = adapter().receive(call(Arc::<Kept>::clone(kept), body));
    kept.apply(&ended.writes);
    ended
}

/// What the same calls come to natively.
fn native(bodies: &[&str]) -> Vec<String> {
    let mut script = Script {
        secrets: [("shared".to_owned(), vec![SECRET.to_owned()])].into(),
        now: NOW.0,
        ..Script::default()
    };
    script.request.headers = vec![("x-webhook-secret".to_owned(), SECRET.to_owned())];
    let one = |body: &&str| {
        script.request.body = body.as_bytes().to_vec();
        let run = testing::receive::<Keeper>(&script).unwrap();
        let body = run.observed().answer_body.unwrap();
        script.state = run.state;
        body
    };
    bodies.iter().map(one).collect()
}

#[test]
fn a_call_comes_to_the_same_in_the_sandbox_as_natively_up_to_every_bound() {
    let cases: [(&[&str], &str); 14] = [
        (&["get k\nput k v\nget k\ndelete k\nget k"], "absent\nput\n1:vNone\ndeleted\nabsent"),
        (&["put k v", "get k\nput k w", "get k"], "1:wNone"),
        (&["put - v\nget -\ndelete -"], "invalid: a key is not empty (0)"),
        (&["put #512 v\nput #513 v\nget #513"], "a key has at most 512 bytes, not 513"),
        (&["put k #65536\nput k #65537"], "a value has at most 65536 bytes, not 65537"),
        (&["2048*put k v\nput k v"], "quota: a call writes at most 2048 times"),
        (&["2048*delete k\ndelete k"], "quota: a call writes at most 2048 times"),
        (&["17*put k #65000"], "quota: a call writes at most 1048576 bytes"),
        (&["4096*get k\nget k"], "quota: a call reads at most 4096 entries and ranges"),
        (&["4096*scan a b 1\nscan a b 1"], "quota: a call reads at most 4096 entries and ranges"),
        (
            &["2000*put k v", "50*put a v", "scan a z 99999\nscan a z -99999\nscan a z 99999"],
            "quota: a call reads at most 4096 entries and ranges",
        ),
        (&["16*put k #65000", "16*get k\nget k3"], "quota: a call reads at most 1048576 bytes"),
        (
            &["put a v 10\nput b v 0\nput c v -9\nscan a z 9\nget b\nput c w", "scan a z -2"],
            "2 [1:wNone 1:vSome(1767323045688)]",
        ),
        (
            &[
                "9*put k v",
                "delete k3\nput k33 w\nput k5 x\nscan k2 k8 4\nscan k2 k8 -3\nscan k5 k2 9",
            ],
            "4 [2:vNone 3:wNone 2:vNone 2:xNone]\n3 [2:vNone 2:vNone 2:xNone]\n0 []",
        ),
    ];
    for (bodies, said) in cases {
        let kept = Arc::new(Kept::at(NOW));
        let sandboxed: Vec<String> =
            bodies.iter().map(|body| answer(run(&kept, body).end)).collect();
        assert_eq!(sandboxed, native(bodies), "{bodies:?}");
        assert!(sandboxed.last().unwrap().contains(said), "{sandboxed:?}");
    }
}

#[test]
fn a_view_reads_and_writes_nothing() {
    let kept = Arc::new(Kept::at(NOW));
    run(&kept, "put k v");
    let view = |name: &str| {
        let mut other = request().other(AdapterName::new("keeper").unwrap());
        other.state = Some(Arc::<Kept>::clone(&kept) as Arc<dyn StateReader>);
        let ended = adapter().view(other, name, "{}");
        let ViewEnd::Answer(answer) = ended else { panic!("{ended:?}") };
        answer
    };
    assert_eq!(view("get k"), "\"1:vNone\"");
    assert_eq!(view("put k w"), "\"read_only: a view writes no state (0)\"");
    assert_eq!(view("delete k"), "\"read_only: a view writes no state (0)\"");
    assert_eq!(answer(run(&kept, "get k").end), "1:vNone");
}

#[test]
fn what_does_not_end_as_an_outcome_writes_nothing() {
    let kept = Arc::new(Kept::at(NOW));
    let mut wrong = call(Arc::<Kept>::clone(&kept) as Arc<dyn StateReader>, "put k v");
    wrong.presented = Arc::default();
    let ended = adapter().receive(wrong);
    assert!(matches!(ended.end, End::Rejection(_)) && ended.writes.is_empty());
}

/// A store that cannot be read.
#[derive(Debug)]
struct Gone;

impl StateReader for Gone {
    fn scan(&self, _: &StateRange, _: usize, _: bool) -> Result<Scanned, Unread> {
        Err(Unread::Store)
    }
}

#[test]
fn a_store_that_cannot_be_read_is_no_fault_of_the_plugin() {
    for body in ["get k", "scan a z 9"] {
        let message = trap(adapter().receive(call(Arc::new(Gone), body)).end);
        assert!(message.contains("the store could not be read (no fault of"), "{message}");
    }
    assert_eq!(answer(adapter().receive(call(Arc::new(Gone), "put k v")).end), "put");
}

/// Nothing is live in it, however far one looks.
#[derive(Debug)]
struct Expired;

impl StateReader for Expired {
    fn scan(&self, range: &StateRange, _: usize, reverse: bool) -> Result<Scanned, Unread> {
        let mut looked_at = range.clone();
        if reverse {
            looked_at.start.push(0);
        } else {
            looked_at.end = range.start.iter().copied().chain([0]).collect();
        }
        Ok(Scanned { entries: Vec::new(), looked_at })
    }
}

#[test]
fn a_range_of_expired_entries_does_not_hold_a_call_up() {
    let told = answer(adapter().receive(call(Arc::new(Expired), "scan a z 9")).end);
    assert!(told.starts_with("quota: a call steps over so many expired entries"), "{told}");
}

fn record(call: &ReceiveCall, ended: &CallEnd) -> RequestRecord {
    RequestRecord {
        id: call.inbound.id,
        route: call.route.clone(),
        adapter: AdapterName::new("keeper").unwrap(),
        plugin: adapter().version().clone(),
        generation: 1,
        received_at: call.inbound.received_at,
        client: call.inbound.client,
        head: call.inbound.head.clone(),
        body: call.inbound.body.clone(),
        body_sha256: [0; 32],
        kept_sha256: None,
        verdicts: ended.verdicts.clone(),
        verified: Verified::SharedSecret,
        disposition: Disposition::Accepted,
        facts: Vec::new(),
        reads: ended.reads.clone(),
        answer: Answer::empty(200),
        note: None,
        consumed: None,
    }
}

#[test]
fn a_call_runs_again_from_its_record_whatever_has_become_of_the_state() {
    let kept = Arc::new(Kept::at(NOW));
    run(&kept, "9*put k v\nput old v 5");
    let bodies = [
        "tally a",
        "tally a",
        "get k1\nget none\nput k1 w\nget k1\nscan k0 k9 -3\nscan k2 z 2\nscan a z 99",
        "delete k3\nput k33 w\nscan k2 k8 4\nscan k0 z 99",
        "get old\n4096*get k\nget k",
        "put - v\nnonsense",
    ];
    let mut recorded = Vec::new();
    for body in bodies {
        let call = call(Arc::<Kept>::clone(&kept) as Arc<dyn StateReader>, body);
        let ended = adapter().receive(call.clone());
        kept.apply(&ended.writes);
        recorded.push((record(&call, &ended), ended));
    }
    for (record, ended) in &recorded {
        let again = rerun(adapter(), record, Cause::Test, BODY_MAX).unwrap();
        assert_eq!(again.end, ended.end);
        assert_eq!(again.writes, ended.writes);
        assert_eq!(again.verdicts, ended.verdicts);
        assert_eq!(again.reads, ended.reads, "and what it reads is all there is to record");
    }
    assert!(recorded.iter().any(|(_, ended)| !ended.writes.is_empty()));
}

#[test]
fn what_a_record_does_not_hold_is_not_made_up() {
    let kept = Arc::new(Kept::at(NOW));
    let call = call(kept, "get k\nscan a c 9");
    let whole = record(&call, &adapter().receive(call.clone()));
    assert!(rerun(adapter(), &whole, Cause::Test, BODY_MAX).is_ok());
    let asks = |change: fn(&mut RequestRecord)| {
        let mut record = whole.clone();
        change(&mut record);
        rerun(adapter(), &record, Cause::Test, BODY_MAX).map(drop)
    };
    let missed = Err(ReplayError::NotRecorded);
    assert_eq!(asks(|record| record.reads = CallReads::default()), missed);
    assert_eq!(asks(|record| record.body = "get k\nscan a d 9".into()), missed);
    assert_eq!(asks(|record| record.verdicts.clear()), missed);
    assert_eq!(asks(|record| record.verdicts[0].role = "other".into()), missed);
    assert_eq!(asks(|record| record.reads.state_not_kept = true), Err(ReplayError::NotKept));
}
