//! What a rebuilt snapshot shares with the one before.

use std::path::Path;
use std::sync::Arc;

use sluice::adapter::Sandbox;
use sluice::config;
use sluice::model::AdapterName;
use sluice::snapshot::{self, OnBrokenAdapter, Rebuild, Snapshot};
use sluice_tests::Home;
use tokio_util::sync::CancellationToken;

use super::{home, hostile_route, hostile_version};

struct Bench {
    home: Home,
    sandbox: Sandbox,
    digest_key: ring::hmac::Key,
    stop: CancellationToken,
}

impl Bench {
    fn start() -> (Self, Snapshot) {
        let home = home();
        home.replace("routes/hostile.toml", hostile_route("one")).unwrap();
        let config = Arc::new(config::load(&home.config()).unwrap());
        let sandbox = Sandbox::new(snapshot::sandbox_limits(&config)).unwrap();
        let digest_key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &[7; 32]);
        let broken = OnBrokenAdapter::Refuse;
        let first = snapshot::build(1, config, &sandbox, &digest_key, broken).unwrap();
        (Self { home, sandbox, digest_key, stop: CancellationToken::new() }, first)
    }

    fn rebuild(&self, serving: &Snapshot) -> Result<Snapshot, config::Problems> {
        let config = Arc::new(config::load(Path::new(&self.home.config())).unwrap());
        let rebuild = Rebuild {
            serving,
            sandbox: &self.sandbox,
            digest_key: &self.digest_key,
            stop: &self.stop,
        };
        snapshot::rebuild(config, rebuild)
    }
}

/// Whether both snapshots share each adapter: `hostile` and `vkyc`.
fn shared(one: &Snapshot, other: &Snapshot) -> [bool; 2] {
    ["hostile", "vkyc"].map(|name| {
        let name = AdapterName::new(name).unwrap();
        Arc::ptr_eq(&one.adapters[&name], &other.adapters[&name])
    })
}

#[test]
fn an_adapter_is_made_anew_only_where_its_component_or_its_settings_changed() {
    let (bench, first) = Bench::start();
    let looks = || {
        let counts = bench.sandbox.cache_counts();
        counts.hits + counts.misses
    };
    let before = looks();
    let second = bench.rebuild(&first).unwrap();
    assert_eq!((second.generation, shared(&first, &second)), (2, [true, true]));

    // Secrets, limits, paths and destinations are none of an adapter's business.
    bench.home.replace("secrets/hostile-secret", "another-secret-0123456789").unwrap();
    bench.home.edit("[ingest]\n", "[ingest]\nbody_max = \"2MiB\"\n").unwrap();
    bench.home.edit("/hooks/vkyc", "/hooks/elsewhere").unwrap();
    bench.home.edit("deliver_to = [\"events\"]", "deliver_to = []").unwrap();
    let third = bench.rebuild(&second).unwrap();
    assert_eq!(shared(&second, &third), [true, true]);
    assert_eq!(looks(), before, "not even the cache is looked at");

    bench.home.replace("routes/hostile.toml", hostile_route("two")).unwrap();
    let fourth = bench.rebuild(&third).unwrap();
    assert_eq!(shared(&third, &fourth), [false, true]);
    bench.home.replace("plugins/hostile.wasm", hostile_version("1.2.4")).unwrap();
    let fifth = bench.rebuild(&fourth).unwrap();
    assert_eq!(shared(&fourth, &fifth), [false, true]);

    // The settings before, and so the adapter before, from the cache.
    bench.home.replace("plugins/hostile.wasm", hostile_version("1.2.3")).unwrap();
    let misses = bench.sandbox.cache_counts().misses;
    let sixth = bench.rebuild(&fifth).unwrap();
    assert_eq!(shared(&fifth, &sixth), [false, true]);
    assert_eq!(bench.sandbox.cache_counts().misses, misses, "nothing is compiled");
}

#[test]
fn an_adapter_that_no_snapshot_holds_is_freed() {
    let (bench, first) = Bench::start();
    bench.home.replace("routes/hostile.toml", hostile_route("two")).unwrap();
    let second = bench.rebuild(&first).unwrap();
    let adapter = |snapshot: &Snapshot, name: &str| {
        Arc::downgrade(&snapshot.adapters[&AdapterName::new(name).unwrap()])
    };
    let (changed, kept) = (adapter(&first, "hostile"), adapter(&first, "vkyc"));
    drop(first);
    assert!(changed.upgrade().is_none());
    assert!(kept.upgrade().is_some());
    drop(second);
    assert!(kept.upgrade().is_none());
}

#[test]
fn a_rebuild_ends_before_its_next_plugin_when_the_gateway_stops() {
    let (bench, first) = Bench::start();
    bench.stop.cancel();
    let problems = bench.rebuild(&first).unwrap_err();
    assert!(problems.0[0].message.contains("the gateway is stopping"), "{problems}");
}
