use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::{fs, thread};

use serde_json::json;

use super::*;
use crate::adapter::{CallEnd, Description, Receive, ReceiveCall};
use crate::config::{self, RouteAuth};
use crate::model::{Answer, PluginVersion};
use crate::verification::RouteSecrets;

/// It has a description, and is never called.
#[derive(Debug)]
struct Described(Arc<Description>);

impl Receive for Described {
    fn version(&self) -> &Arc<PluginVersion> {
        panic!("nobody asks while routes are found")
    }

    fn description(&self) -> &Arc<Description> {
        &self.0
    }

    fn receive(&self, _call: ReceiveCall) -> CallEnd {
        panic!("nobody calls while routes are found")
    }
}

/// A snapshot of one route, `/hook`, with these limits.
fn snapshot(generation: u64, limits: &str) -> Arc<Snapshot> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sluice.toml");
    let text = format!(
        "admin.token_secret = 'admin'\nsecrets.admin = {{ env = 'A' }}\n\
         [routes.hook]\npath = '/hook'\nplugin = 'p'\nauth = 'none'\nlimits = {{ {limits} }}\n"
    );
    fs::write(&path, text).unwrap();
    let value = |_: &str| Some("0123456789abcdef0123456789abcdef".into());
    let config = config::load_with(&path, &value).unwrap();
    let description = json!({ "name": "p", "version": "1.0.0", "methods": ["POST"], "events": [] });
    let adapter = Arc::new(Described(Arc::new(serde_json::from_value(description).unwrap())));
    let bound = config.routes.iter().map(|(name, route)| {
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &[7; 32]);
        let bound = BoundRoute {
            config: route.clone(),
            adapter: Arc::clone(&adapter) as _,
            secrets: Arc::new(RouteSecrets::new(Vec::new(), None, RouteAuth::None, key)),
            paused_answer: Answer::unavailable(60),
        };
        (name.clone(), Arc::new(bound))
    });
    let routes = bound.collect();
    Arc::new(Snapshot::new(generation, Arc::new(config), BTreeMap::new(), routes))
}

/// What was used of the route's limits stands in here.
fn limits(routed: &Routed) -> Option<Arc<RouteLimits>> {
    let name = RouteName::new("hook").unwrap();
    routed.table.named(&name).unwrap().limits.clone()
}

/// Threads that look at the same time as often as they can, more of them than there are processors:
/// so that some are interrupted between any two steps.
#[test]
fn of_many_that_find_a_new_snapshot_none_goes_back_behind_it() {
    const LOOKERS: usize = 8;
    let (unlimited, limited) = (snapshot(1, ""), snapshot(2, "per_route = '1/d'"));
    for round in 0..100 {
        let source = Arc::new(ArcSwap::new(Arc::clone(&unlimited)));
        let routing = Routing::new(Arc::clone(&source));
        let looks = [const { AtomicUsize::new(0) }; LOOKERS];
        let ended = AtomicBool::new(false);
        let all_have_looked_again = || {
            for (looks, before) in
                looks.iter().zip(looks.each_ref().map(|looks| looks.load(Ordering::SeqCst)))
            {
                // The one under way may have begun earlier.
                while looks.load(Ordering::SeqCst) < before + 2 {
                    thread::yield_now();
                }
            }
        };
        thread::scope(|scope| {
            for looks in &looks {
                scope.spawn(|| {
                    while !ended.load(Ordering::SeqCst) {
                        drop(routing.current());
                        looks.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
            all_have_looked_again();
            source.store(Arc::clone(&limited));
            let first = limits(&routing.current()).unwrap();
            all_have_looked_again();
            let after = limits(&routing.current()).unwrap();
            ended.store(true, Ordering::SeqCst);
            assert!(Arc::ptr_eq(&first, &after), "round {round}: what was used is forgotten");
        });
    }
}
