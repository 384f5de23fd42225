//! What is sent, and what is known of its sending.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use sluice_tests::http::{Connection, Request};
use sluice_tests::{Gateway, Home, HomeBuilder};
use tokio::task::JoinSet;

use super::history::{self, Dice, Pool, Shape};
use super::world::{Report, Telling};
use crate::fixtures::home::inline;

const STEPS: u64 = 16;

/// Each route, with what it lays over the adapter's settings.
const ROUTES: [(&str, &str, &str); 3] = [
    ("any", "/in/any", "{}"),
    ("acme", "/in/acme", r#"{ "buyer": "acme" }"#),
    ("calls", "/calls", r#"{ "receives": "calls" }"#),
];

/// Settings of the adapter: those that the model knows by heart.
pub(super) fn own_settings() -> Value {
    serde_json::from_str(super::world::SETTINGS).unwrap()
}

/// Settings of each route, the adapter's beneath them.
pub(super) fn route_settings() -> Vec<(&'static str, Value)> {
    let over = |(name, _, own): (&'static str, _, &str)| {
        let mut settings = own_settings();
        let own: serde_json::Map<String, Value> = serde_json::from_str(own).unwrap();
        settings.as_object_mut().unwrap().extend(own);
        (name, settings)
    };
    ROUTES.map(over).into()
}

pub(super) fn home() -> anyhow::Result<Home> {
    let mut home = HomeBuilder::new().plugin("payout-matcher")?.toml(&format!(
        "[adapters.payouts]\nplugin = \"payout-matcher\"\nsettings = {}\n",
        inline(&own_settings())
    ));
    for (name, path, own) in ROUTES {
        home = home.toml(&format!(
            "[routes.{name}]\npath = \"{path}\"\nadapter = \"payouts\"\nauth = \"none\"\n\
             settings = {}\n",
            inline(&serde_json::from_str(own)?)
        ));
    }
    home.build()
}

/// Something that is sent. Times are the gateway's: they are filled in from what it stored.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Tell(Telling),
    /// With the rolls that choose its fields and its shape.
    Report(Report, u64),
}

/// The steps of one history, whose ids no other has.
pub(super) fn steps(history: usize, seed: u64) -> Vec<Step> {
    let mut dice = Dice::new(seed);
    let pool = Pool::new(history);
    let mut steps: Vec<Step> = Vec::new();
    for _ in 0..STEPS {
        let step = match (dice.below(8), steps.last()) {
            (0..=2, _) => Step::Tell(history::telling(&mut dice, &pool, now_ms())),
            (3, Some(last)) => last.clone(),
            _ => Step::Report(history::report(&mut dice, &pool, 0), dice.roll()),
        };
        steps.push(step);
    }
    steps
}

/// Milliseconds since the Unix epoch.
pub(super) fn now_ms() -> u64 {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap();
    since.as_millis().try_into().unwrap()
}

/// Everything that was sent, by marker.
#[derive(Default)]
pub(super) struct Book {
    sent: Mutex<BTreeMap<String, Sent>>,
    answered: AtomicUsize,
}

#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) history: usize,
    pub(super) step: Step,
    /// Whether it was answered 2xx.
    pub(super) acknowledged: bool,
}

/// Steps that are still to be sent.
#[derive(Clone, Default)]
pub(super) struct Queue(Arc<Mutex<Vec<(usize, Step)>>>);

impl Queue {
    fn next(&self) -> Option<(usize, Step)> {
        self.0.lock().unwrap().pop()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.lock().unwrap().is_empty()
    }

    fn put_back(&self, step: (usize, Step)) {
        self.0.lock().unwrap().push(step);
    }

    pub(super) fn take(&self) -> Vec<(usize, Step)> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

impl Book {
    pub(super) fn answered(&self) -> usize {
        self.answered.load(Ordering::Relaxed)
    }

    pub(super) fn sent(&self) -> BTreeMap<String, Sent> {
        self.sent.lock().unwrap().clone()
    }

    /// Sends one step on a connection of its own. Whether it was taken.
    pub(super) async fn send(&self, address: SocketAddr, history: usize, step: &Step) -> bool {
        match Connection::open(address).await {
            Ok(mut connection) => self.send_on(&mut connection, history, step).await == Some(true),
            Err(_) => false,
        }
    }

    /// `None`: the connection is gone.
    async fn send_on(
        &self,
        connection: &mut Connection,
        history: usize,
        step: &Step,
    ) -> Option<bool> {
        let marker = {
            let mut sent = self.sent.lock().unwrap();
            let marker = sent.len().to_string();
            let entry = Sent { history, step: step.clone(), acknowledged: false };
            sent.insert(marker.clone(), entry);
            marker
        };
        let answer = connection.send(request(step, &marker)).await.ok()?;
        let taken = (200..300).contains(&answer.status);
        assert!(taken || answer.status == 503, "{}: {}", answer.status, answer.text());
        if taken {
            self.sent.lock().unwrap().get_mut(&marker).unwrap().acknowledged = true;
            self.answered.fetch_add(1, Ordering::Relaxed);
        }
        Some(taken)
    }

    /// Clients that send these steps at once, until none are left or the gateway is gone.
    pub(super) fn clients(
        self: &Arc<Self>,
        gateway: &Gateway,
        mut steps: Vec<(usize, Step)>,
        clients: usize,
    ) -> (Queue, JoinSet<()>) {
        steps.reverse();
        let queue = Queue(Arc::new(Mutex::new(steps)));
        let mut tasks = JoinSet::new();
        for _ in 0..clients {
            let (book, queue, address) = (Arc::clone(self), queue.clone(), gateway.ingest());
            tasks.spawn(async move {
                let Ok(mut connection) = Connection::open(address).await else { return };
                while let Some((history, step)) = queue.next() {
                    // As a buyer does, it sends again what was not taken.
                    match book.send_on(&mut connection, history, &step).await {
                        Some(true) => {}
                        Some(false) => queue.put_back((history, step)),
                        None => return queue.put_back((history, step)),
                    }
                }
            });
        }
        (queue, tasks)
    }
}

fn request(step: &Step, marker: &str) -> Request {
    match step {
        Step::Tell(telling) => {
            let path = format!("/calls?marker={marker}");
            Request::post_json(&path, history::call_object(telling))
        }
        Step::Report(report, seed) => {
            let mut dice = Dice::new(*seed);
            let fields = history::fields(&mut dice, report);
            let path = if report.scope.is_some() { "/in/acme" } else { "/in/any" };
            let path = format!("{path}?marker={marker}");
            match dice.pick(&Shape::ALL) {
                Shape::Query => Request::get(&format!("{path}&{}", history::encoded(&fields))),
                Shape::Form => Request::new("POST", &path)
                    .header("content-type", "application/x-www-form-urlencoded")
                    .body(history::encoded(&fields)),
                Shape::Json => Request::post_json(&path, history::object(&fields)),
            }
        }
    }
}
