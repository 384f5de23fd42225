use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::fixture::Observed;
use crate::state::Entry;
use crate::verification::Found;
use crate::{Outcome, Rejection};

/// An HTTP request as it arrives, before anything is masked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub method: String,
    /// Percent-encoded.
    pub path: String,
    /// Without `?`.
    pub query: Option<String>,
    /// In order; names may repeat.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub client_address: String,
}

impl Request {
    pub(crate) fn header_names(&self) -> Vec<String> {
        let mut names = Vec::new();
        for (name, _) in &self.headers {
            let name = name.to_ascii_lowercase();
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    pub(crate) fn header(&self, name: &str) -> impl Iterator<Item = &str> {
        self.headers
            .iter()
            .filter(move |(each, _)| each.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

impl Default for Request {
    /// `POST /hook` without headers or body.
    fn default() -> Self {
        Self {
            method: "POST".to_owned(),
            path: "/hook".to_owned(),
            query: None,
            headers: Vec::new(),
            body: Vec::new(),
            client_address: "192.0.2.1".to_owned(),
        }
    }
}

/// Everything that one call meets.
#[derive(Clone, Debug)]
pub struct Script {
    pub request: Request,
    /// Name of the route.
    pub route: String,
    /// Its path, perhaps with one segment `{token}`; absent: the path of the request.
    pub route_path: Option<String>,
    /// The route says `auth = "none"`.
    pub auth_none: bool,
    /// A JSON object, the route's settings over the adapter's.
    pub settings: Value,
    /// By role, the active values, newest first; `token` is the path token's.
    pub secrets: BTreeMap<String, Vec<String>>,
    /// Milliseconds since the Unix epoch.
    pub now: u64,
    /// UUID of the request, or of the attempt at the delivery.
    pub id: String,
    /// Values of keys for which `seen` is true.
    pub seen: Vec<String>,
    /// What earlier calls left. Absent: nothing. Granted where `describe` says `state_version`.
    pub state: Option<BTreeMap<Vec<u8>, Entry>>,
}

impl Default for Script {
    /// 2026-01-02T03:04:05Z, no settings, no secrets, no state.
    fn default() -> Self {
        Self {
            request: Request::default(),
            route: "route".to_owned(),
            route_path: None,
            auth_none: false,
            settings: Value::Object(Map::new()),
            secrets: BTreeMap::new(),
            now: 1_767_323_045_000,
            id: "019b7c4e-5b88-7000-8000-000000000001".to_owned(),
            seen: Vec::new(),
            state: None,
        }
    }
}

/// One verdict that the scripted host gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerdictRecord {
    pub role: String,
    pub found: Found,
    /// Which of several active values matched: 0 is the newest.
    pub version: Option<usize>,
}

/// How a call ended, and what it left.
#[derive(Debug)]
pub struct Run {
    pub end: Result<Outcome, Rejection>,
    /// In order; the path token's first.
    pub verdicts: Vec<VerdictRecord>,
    /// `level: message`.
    pub log: Vec<String>,
    /// After the call; as before where it was rejected. Absent where none is granted.
    pub state: Option<BTreeMap<Vec<u8>, Entry>>,
    /// The request as it is kept, where the adapter had parts of it masked.
    pub masked: Option<Request>,
}

impl Run {
    /// What became of the request, as a fixture tells of it. Whether it is a duplicate is not the
    /// adapter's to say: see `Script::seen`.
    #[must_use]
    pub fn observed(&self) -> Observed {
        Observed::of_run(self)
    }
}
