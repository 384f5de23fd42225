//! What is changed under load: everything that a reload can take up.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sluice_tests::reload::changes;

use super::sender::{Load, MOVING};
use crate::reload::{hostile_route, hostile_version};

/// Values of the secret that are active at once. A sender may be held up between taking one and
/// presenting it.
pub(super) const ACTIVE: usize = 5;

/// Kinds of change, one after the other.
pub(super) const KINDS: usize = 8;

/// What is on disk.
pub(super) struct State {
    version: &'static str,
    marker: String,
    limit: usize,
    /// Everything that was on disk together, from before it was there.
    pub(super) together: BTreeSet<String>,
}

impl State {
    pub(super) fn new() -> Self {
        let mut state =
            Self { version: "1.2.3", marker: "0".to_owned(), limit: 0, together: BTreeSet::new() };
        state.note();
        state
    }

    fn note(&mut self) {
        self.together.insert(by(self.version, &self.marker));
    }

    /// The route with its limits: far above what is sent, so that nobody is refused.
    fn route(&self) -> String {
        let rate = 1_000 + self.limit;
        let limits =
            format!("limits = {{ per_client = \"{rate}/s\", per_route = \"{rate}/s\" }}\n");
        hostile_route(&self.marker) + &limits
    }
}

/// What the guest tells of itself.
pub(super) fn by(version: &str, marker: &str) -> String {
    format!("{version} ={{}}\nhostile={{\"marker\":\"{marker}\"}}")
}

/// Makes the change whose turn it is, and reloads.
pub(super) async fn change(load: &Load, turn: usize, state: &mut State) {
    let home = &load.home;
    let round = turn / KINDS;
    match turn % KINDS {
        // Two versions of one adapter, and its settings.
        0 => {
            state.version = if state.version == "1.2.3" { "1.2.4" } else { "1.2.3" };
            state.note();
            home.replace("plugins/hostile.wasm", hostile_version(state.version)).unwrap();
            state.marker = turn.to_string();
            state.note();
            home.replace("routes/hostile.toml", state.route()).unwrap();
        }
        1 => rotate(load, turn).await,
        2 => home.replace("routes/more.toml", another_route()).unwrap(),
        3 => {
            state.limit = turn;
            home.replace("routes/hostile.toml", state.route()).unwrap();
        }
        4 => {
            let pair = &load.pairs[(round + 1) % 2];
            // Until the certificate follows, the two do not belong together, and a reload of the
            // watcher's is refused.
            home.replace("secrets/tls.key", &pair.key).unwrap();
            home.replace("tls.crt", &pair.certificate).unwrap();
        }
        5 => {
            let [from, to] = [MOVING[round % 2], MOVING[(round + 1) % 2]];
            home.edit(from, to).unwrap();
        }
        6 => std::fs::remove_file(home.folder().join("routes/more.toml")).unwrap(),
        _ => {
            let text = home.config_text().unwrap();
            let limit = format!("connections_max = {}\n", 500 + turn);
            let kept: Vec<&str> =
                text.lines().filter(|line| !line.starts_with("connections_max")).collect();
            let text = kept.join("\n").replace("[ingest]\n", &format!("[ingest]\n{limit}"));
            home.replace("sluice.toml", text).unwrap();
        }
    }
    load.gateway.reload().await.unwrap();
}

/// A new value beside the old ones; then senders change over.
pub(super) async fn rotate(load: &Load, turn: usize) {
    let mut values = load.secrets.read().unwrap().clone();
    values.insert(0, secret_value(turn));
    values.truncate(ACTIVE);
    let lines = values.iter().map(|value| format!("- {}\n", STANDARD.encode(value)));
    let file = format!("#sluice-secrets 1\n{}", lines.collect::<String>());
    load.home.replace("secrets/hostile-secret", file).unwrap();
    let record = load.gateway.reload().await.unwrap();
    // The watcher may have been quicker; then this one found nothing new.
    let expected = "secret `hostile-secret` changed";
    assert!(changes(&record).iter().all(|change| *change == expected), "{record}");
    *load.secrets.write().unwrap() = values;
}

pub(super) fn secret_value(turn: usize) -> String {
    format!("hostile-secret-number-{turn:08}")
}

/// A route of another adapter.
fn another_route() -> String {
    hostile_route("0")
        .replace("routes.hostile", "routes.more")
        .replace("/hooks/hostile", "/hooks/more")
        .replace("plugin = \"hostile\"", "plugin = \"vkyc\"")
        .replace("shared =", "shared_secret =")
        .replace("settings = { marker = \"0\" }\n", "")
}
