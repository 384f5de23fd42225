//! Every limit of a call, and that a call which meets it disturbs no other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use sluice::adapter::{
    ConfigureError, End, Receive as _, Sandbox, SandboxLimits, SeenReader, SettingsProblem,
};
use sluice::model::{BODY_BYTES_MAX, IdempotencyKey, RouteName};
use sluice_tests::sandbox::Unreadable;

use super::{
    answer, configure, hostile, load, outcome, receive, request, request_to, route, run, shared,
    trap,
};

/// What a trap's message begins with.
const RECEIVE: &str = "plugin `hostile` 1.2.3 (adapter API 1.0), call `receive`: ";

#[track_caller]
fn check_trap(body: &str, said: &str) {
    let message = trap(run(body));
    assert!(message.starts_with(RECEIVE), "{message}");
    assert!(message.contains(said), "{message}");
    assert!(!message.contains("hunter2"), "{message}");
    assert!(message.len() < 512, "{message}");
    assert_eq!(answer(run("count")), "1 0 0", "after `{body}`");
}

#[test]
fn a_call_that_meets_a_limit_traps_and_says_which() {
    for (body, said) in [
        ("allocate", "it had been refused more memory"),
        ("recurse", "call stack exhausted"),
        ("trap", "unreachable"),
        ("log-flood", "more than 1000 log lines"),
        ("log-volume", "256 KiB of log"),
        ("log-level", "a level is `error`, `warn`, `info` or `debug`"),
        ("call-flood", "more than 10000 calls of imports"),
        ("verdict-flood", "more than 16 verdicts"),
        ("verdict-flood-and-hash", "more than 16 verdicts"),
        ("equal-flood", "more signed bytes to check"),
        ("seen-flood", "more than 512 questions of `seen`"),
        ("large-message", "fuel"),
        ("huge-arguments", "fuel"),
        ("huge-output", "fuel"),
        ("unknown-algorithm", "verification.verify-mac: unknown algorithm `crc32`"),
    ] {
        check_trap(body, said);
    }
}

#[test]
fn hashing_is_bounded_by_the_bytes_and_not_by_the_parts() {
    let body = format!("hash-flood {}", "x".repeat(1 << 20));
    let start = Instant::now();
    let message = trap(run(&body));
    assert!(message.contains("more signed bytes to check"), "{message}");
    // 2,000 times 1 MiB would take seconds, in which no deadline could interrupt.
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    assert_eq!(answer(run("hash-flood")), "survived", "2,000 times ten bytes");
}

/// Two parts of the message a byte of the guest's: 20 GiB of it, if the host put it together.
#[test]
fn a_message_is_not_put_together_for_a_secret_that_is_not_there() {
    for (word, said) in [
        ("join-flood", "more signed bytes to check"),
        ("join-flood-unknown", "more signed bytes to check"),
        ("join-flood-nothing", "more signed bytes to check"),
    ] {
        for signing in [false, true] {
            let body = format!("{word} {}", "x".repeat((1 << 20) - 100));
            let start = Instant::now();
            let ended = shared().adapter.receive(request_to(signing).call(&route(), body));
            let message = trap(ended.end);
            assert!(message.contains(said), "{word}: {message}");
            assert!(start.elapsed() < Duration::from_secs(2), "{word}: {:?}", start.elapsed());
        }
    }
}

#[test]
fn the_largest_body_that_a_route_may_take_can_be_parsed_and_passed_on() {
    // Long enough for this test's own debug build to copy what goes in and out.
    let deadline = Duration::from_secs(30);
    let sandbox = Sandbox::new(SandboxLimits { deadline, ..SandboxLimits::default() }).unwrap();
    let plugin = load(&sandbox, &hostile()).unwrap();
    let adapter = configure(&sandbox, &plugin, json!({})).unwrap();
    let text = |bytes: usize| format!("parse {{\"a\":\"{}\"}}", "x".repeat(bytes - 14));
    for bytes in [1 << 20, 5 << 20, BODY_BYTES_MAX] {
        let mut request = request();
        request.body_max = bytes;
        let body = text(bytes);
        assert_eq!(body.len(), bytes);
        let end = adapter.receive(request.call(&route(), body)).end;
        assert_eq!(outcome(end).events[0].data.len(), bytes - "parse ".len(), "{bytes}");
    }
    // The control: there is more memory for larger bodies alone.
    let end = adapter.receive(request().call(&route(), text(BODY_BYTES_MAX))).end;
    trap(end);
}

#[test]
fn memory_beyond_the_limit_is_refused_and_what_was_granted_is_kept() {
    let granted: usize = answer(run("allocate-and-return")).parse().unwrap();
    // 16 MiB less the guest's own stack and data.
    assert!((8..16).contains(&granted), "{granted} MiB");
}

#[test]
fn a_spinning_call_ends_at_its_deadline() {
    let sandbox = Sandbox::new(SandboxLimits::default()).unwrap();
    let plugin = load(&sandbox, &hostile()).unwrap();
    let adapter = configure(&sandbox, &plugin, json!({})).unwrap();
    let start = Instant::now();
    assert_eq!(receive(&adapter, "spin").end, End::Deadline);
    let took = start.elapsed();
    // A ticker that woke late just then counts what it had missed against this call.
    assert!(took >= Duration::from_millis(80), "{took:?}");
    // 20 ms beyond it on an idle machine. On a busy one it has ten times its deadline, and then waits
    // for its turn to be ended.
    assert!(took < Duration::from_millis(1_500), "{took:?}");
    // Repeating a host call is spinning, too.
    let end = receive(&adapter, "body-flood").end;
    assert!(matches!(end, End::Deadline | End::Trap(_)), "{end:?}");
    assert_eq!(answer(receive(&adapter, "count").end), "1 0 0");
}

#[test]
fn other_calls_succeed_while_hostile_ones_run() {
    let hostile_are_running = Arc::new(AtomicBool::new(true));
    let hostile: Vec<_> = ["spin", "allocate"]
        .into_iter()
        .map(|body| {
            let running = Arc::clone(&hostile_are_running);
            thread::spawn(move || {
                let mut ended = 0;
                while running.load(Ordering::SeqCst) {
                    assert!(matches!(run(body), End::Deadline | End::Trap(_)));
                    ended += 1;
                }
                ended
            })
        })
        .collect();
    for _ in 0..500 {
        assert_eq!(answer(run("count")), "1 0 0");
    }
    hostile_are_running.store(false, Ordering::SeqCst);
    for thread in hostile {
        assert!(thread.join().unwrap() > 0);
    }
}

#[test]
fn ten_thousand_calls_find_no_trace_of_one_another() {
    let adapter = &shared().adapter;
    for call in 0..10_000 {
        match call % 10 {
            3 => drop(trap(receive(adapter, "trap").end)),
            7 if call % 100 == 7 => drop(trap(receive(adapter, "allocate").end)),
            _ => assert_eq!(answer(receive(adapter, "count").end), "1 0 0", "call {call}"),
        }
    }
}

#[test]
fn more_calls_than_slots_wait_for_one() {
    let limits = SandboxLimits { calls_in_flight_max: 1, ..SandboxLimits::default() };
    let sandbox = Sandbox::new(limits).unwrap();
    let plugin = load(&sandbox, &hostile()).unwrap();
    let adapter = Arc::new(configure(&sandbox, &plugin, json!({})).unwrap());
    // The engine lives on in its adapters: deadlines must not end with the sandbox.
    drop((sandbox, plugin));
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let adapter = Arc::clone(&adapter);
            thread::spawn(move || {
                for _ in 0..50 {
                    assert_eq!(answer(receive(&adapter, "count").end), "1 0 0");
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(receive(&adapter, "spin").end, End::Deadline);
}

#[test]
fn a_configure_that_misbehaves_is_refused_by_name_and_nobody_else_notices() {
    let shared = shared();
    for (misdeed, said) in [
        ("allocate", "it had been refused more memory"),
        ("recurse", "call stack exhausted"),
        ("trap", "unreachable"),
        ("log-flood", "more than 1000 log lines"),
        ("ask-inbound", "`inbound.method` is not there in `configure`"),
        ("ask-call", "`call.now` is not there in `configure`"),
        ("ask-verification", "`verification.verify-header` is not there in `configure`"),
        ("ask-state", "`state.get` is not there in `configure`"),
    ] {
        let error = configure(&shared.sandbox, &shared.plugin, json!({ "configure": misdeed }))
            .unwrap_err();
        let ConfigureError::Load(error) = error else { panic!("{misdeed}: {error:?}") };
        let error = error.to_string();
        assert!(error.starts_with("plugin `hostile`: 1.2.3: `configure` "), "{error}");
        assert!(error.contains(said), "{error}");
        assert_eq!(answer(run("count")), "1 0 0", "after `{misdeed}`");
    }
    // The control: the import that is there.
    configure(&shared.sandbox, &shared.plugin, json!({ "configure": "log-controls" })).unwrap();
}

#[test]
fn a_spinning_configure_ends_at_its_deadline() {
    let limits = SandboxLimits { deadline: Duration::from_millis(50), ..SandboxLimits::default() };
    let sandbox = Sandbox::new(limits).unwrap();
    let plugin = load(&sandbox, &hostile()).unwrap();
    let start = Instant::now();
    let error = configure(&sandbox, &plugin, json!({ "configure": "spin" })).unwrap_err();
    assert!(matches!(error, ConfigureError::Load(_)));
    assert!(error.to_string().ends_with("1.2.3: `configure` took too long"), "{error}");
    let took = start.elapsed();
    // On a busy machine the epoch may have lagged behind at the start and have caught up since.
    assert!(took >= Duration::from_millis(400) && took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn the_problems_of_configure_name_route_and_path() {
    let shared = shared();
    let error =
        configure(&shared.sandbox, &shared.plugin, json!({ "configure": "problems" })).unwrap_err();
    let ConfigureError::Problems(problems) = error else { panic!("{error:?}") };
    let expected =
        [(None, "configure", "do not"), (Some("first"), "fields.caller", "not [31m like this")]
            .map(|(route, path, message)| SettingsProblem {
                route: route.map(|name| RouteName::new(name).unwrap()),
                path: path.to_owned(),
                message: message.to_owned(),
            });
    assert_eq!(problems, expected);
}

#[test]
fn an_unreadable_store_ends_the_call_and_is_not_blamed_on_the_plugin() {
    let mut request = request();
    request.seen = Arc::new(Unreadable);
    let end = shared().adapter.receive(request.call(&route(), "seen-twice")).end;
    assert!(trap(end).contains("the store could not be read (no fault of the plugin)"));
}

#[derive(Debug)]
struct Panicking;

impl SeenReader for Panicking {
    fn seen(&self, _key: &IdempotencyKey) -> Option<bool> {
        panic!("a bug of the gateway's own")
    }
}

#[test]
fn a_panic_of_our_own_ends_the_call_and_no_other() {
    let mut request = request();
    request.seen = Arc::new(Panicking);
    for _ in 0..20 {
        let end = shared().adapter.receive(request.call(&route(), "seen-twice")).end;
        assert!(trap(end).ends_with("the gateway's own code failed"));
        assert_eq!(answer(run("count")), "1 0 0");
    }
}
