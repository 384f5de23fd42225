//! Hostile guests: what they may not do, and that nobody else notices.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

mod cache;
mod contract;
mod limits;
mod low_level;
mod panics;
mod redaction;
mod refusals;
mod state;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Map, Value, json};
use sluice::adapter::{
    Adapter, CallEnd, ConfigureError, End, LoadError, Outcome, Plugin, Receive as _, Sandbox,
    SandboxLimits,
};
use sluice::model::{PluginName, RouteName, SecretName, Travels};
use sluice_tests::artifact;
use sluice_tests::sandbox::{Request, secret, settings};

/// The engine that most tests share: compiling the guest is most of their time.
struct Shared {
    sandbox: Sandbox,
    plugin: Plugin,
    adapter: Arc<Adapter>,
}

fn shared() -> &'static Shared {
    static SHARED: OnceLock<Shared> = OnceLock::new();
    SHARED.get_or_init(|| {
        // Ten times what production has: most tests here are about other limits, and run beside
        // one another.
        let deadline = Duration::from_secs(1);
        let limits = SandboxLimits { deadline, ..SandboxLimits::default() };
        let sandbox = Sandbox::new(limits).unwrap();
        let plugin = load(&sandbox, &hostile()).unwrap();
        let adapter = Arc::new(configure(&sandbox, &plugin, json!({})).unwrap());
        Shared { sandbox, plugin, adapter }
    })
}

fn hostile() -> Vec<u8> {
    artifact("hostile").unwrap()
}

fn name() -> PluginName {
    PluginName::new("hostile").unwrap()
}

fn route() -> RouteName {
    RouteName::new("first").unwrap()
}

fn load(sandbox: &Sandbox, bytes: &[u8]) -> Result<Plugin, LoadError> {
    sandbox.load(&name(), bytes)
}

fn configure(sandbox: &Sandbox, plugin: &Plugin, own: Value) -> Result<Adapter, ConfigureError> {
    let own: Map<String, Value> = settings(own);
    sandbox.configure(plugin, &own, &[(route(), own.clone())])
}

/// A request that presents the secret that its route has.
fn request() -> Request {
    request_to(false)
}

/// The same; the route may have a key for MACs as well, so that one must match.
fn request_to(signing: bool) -> Request {
    let bearer = Travels::Header {
        name: "authorization".to_owned(),
        prefix: "Bearer ".to_owned(),
        setting: None,
    };
    let value = || Some(secret(SecretName::new("s").unwrap(), "hunter2"));
    let asked = Travels::Query { name: "asked".to_owned(), setting: None };
    let roles = [
        ("shared", bearer, value()),
        ("key", Travels::Key, signing.then(value).flatten()),
        ("inner", Travels::Body, None),
        ("asked", asked, None),
    ];
    Request::new(
        roles.map(|(role, travels, secret)| (role.to_owned(), travels, secret)).into(),
        &[("authorization", "Bearer hunter2"), ("x-thing", "one"), ("x-thing", "2")],
    )
}

fn receive(adapter: &Adapter, body: impl Into<Bytes>) -> CallEnd {
    adapter.receive(request().call(&route(), body))
}

/// Runs `body` on the shared adapter.
fn run(body: &str) -> End {
    receive(&shared().adapter, body.to_owned()).end
}

#[track_caller]
fn outcome(end: End) -> Outcome {
    match end {
        End::Outcome(outcome) => outcome,
        End::Rejection(_) | End::Trap(_) | End::Deadline => panic!("no outcome: {end:?}"),
    }
}

/// What an outcome is answered with.
#[track_caller]
fn answer(end: End) -> String {
    String::from_utf8(outcome(end).answer.body.to_vec()).unwrap()
}

#[track_caller]
fn trap(end: End) -> String {
    match end {
        End::Trap(message) => message,
        End::Outcome(_) | End::Rejection(_) | End::Deadline => panic!("no trap: {end:?}"),
    }
}
