use std::cell::RefCell;
use std::collections::BTreeMap;

use serde_json::Value;

use super::presented::Readings;
use super::redaction::Redactions;
use super::script::{Request, Script, VerdictRecord};
use super::state::{Entries, State};
use super::{presented, verify};
use crate::verification::{Compared, Found, Mac, Part, Signature, Verdict};
use crate::{Description, Key, Rejection, Travels};

/// What the gateway puts where a credential stood.
const MASK: &str = "***";

/// Role of the path token, which the gateway compares itself.
const TOKEN: &str = "token";

thread_local! {
    static HOST: RefCell<Option<Host>> = const { RefCell::new(None) };
}

/// Lets a function of the SDK ask the scripted host of this thread.
pub(crate) fn with<T>(ask: impl FnOnce(&mut Host) -> T) -> T {
    HOST.with_borrow_mut(|host| {
        ask(host.as_mut().expect("natively, adapters run under plugin_sdk::testing"))
    })
}

/// How often a call runs for one request, as in the gateway.
const RUNS_MAX: u32 = 3;

/// Most verdicts that one call may ask for.
const VERDICTS_MAX: usize = 16;

/// Runs `call` under a host scripted so, and closes as the gateway does: an unknown method, a
/// wrong path token, or an outcome without a matching verdict on every secret of the route is
/// refused. A call that asks to have parts of its request masked runs again without them.
pub(super) fn scripted<T>(
    script: &Script,
    kind: &'static str,
    description: &Description,
    call: impl Fn() -> Result<T, Rejection>,
) -> (Result<T, Rejection>, Host) {
    let mut host = Host::new(script, kind, description);
    let received = kind == "receive";
    if received && let Err(refusal) = host.admit(description) {
        return (Err(refusal), host);
    }
    let state_before = host.state.entries.clone();
    let mut runs = 1;
    let (end, mut host) = loop {
        let (end, ended) = under(host, &call);
        if ended.redactions.is_empty() || !ended.broken.is_empty() {
            break (end, ended);
        }
        host = ended.masked(script, kind, description);
        if runs == RUNS_MAX {
            host.broken.push(format!("asks to have more masked after {RUNS_MAX} runs"));
            break (end, host);
        }
        runs += 1;
    };
    let end = end.and_then(|outcome| match host.unverified() {
        Some(why) if received => Err(Rejection::unauthorized("unverified", why)),
        _ => Ok(outcome),
    });
    if end.is_err() {
        host.state.entries = state_before;
    }
    (end, host)
}

fn under<T>(host: Host, call: impl Fn() -> Result<T, Rejection>) -> (Result<T, Rejection>, Host) {
    HOST.set(Some(host));
    let end = call();
    (end, HOST.take().expect("the call does not take the host away"))
}

/// The scripted host of one call.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) now: u64,
    pub(crate) id: String,
    pub(crate) kind: &'static str,
    pub(crate) route: String,
    pub(crate) log: Vec<String>,
    pub(super) verdicts: Vec<VerdictRecord>,
    /// What the adapter asked and no adapter may; one sentence each.
    pub(super) broken: Vec<String>,
    pub(crate) state: State,
    request: Request,
    route_path: Option<String>,
    auth_none: bool,
    secrets: BTreeMap<String, Vec<String>>,
    /// Every role that `describe` has.
    roles: BTreeMap<String, Travels>,
    /// Of the roles that the route has a secret for.
    travels: BTreeMap<String, Travels>,
    seen: Vec<String>,
    /// `describe` says that it asks to have parts masked.
    redacts: bool,
    /// What this run asked to have masked.
    redactions: Redactions,
    /// Of a run on a masked request: the request as received.
    pub(super) received: Option<Request>,
    /// And the verdicts of the run before, in order.
    verdicts_before: Vec<VerdictRecord>,
}

impl Host {
    fn new(script: &Script, kind: &'static str, description: &Description) -> Self {
        let travels = description
            .roles()
            .filter(|(role, _)| script.secrets.contains_key(*role))
            .map(|(role, travels)| (role.to_owned(), resolved(travels, &script.settings)))
            .collect();
        Self {
            now: script.now,
            id: script.id.clone(),
            kind,
            route: script.route.clone(),
            log: Vec::new(),
            verdicts: Vec::new(),
            broken: Vec::new(),
            state: State::new(granted(script, description), script.now, kind == "view"),
            request: script.request.clone(),
            route_path: script.route_path.clone(),
            auth_none: script.auth_none,
            secrets: script.secrets.clone(),
            roles: description.roles().map(|(role, how)| (role.to_owned(), how.clone())).collect(),
            travels,
            seen: script.seen.clone(),
            redacts: description.says_that_it_redacts(),
            redactions: Redactions::default(),
            received: None,
            verdicts_before: Vec::new(),
        }
    }

    /// The host of the run that follows this one, on what may be kept of the request.
    fn masked(self, script: &Script, kind: &'static str, description: &Description) -> Self {
        // The path token is judged once, before the first run.
        let token = self.token_index().map(|_| self.verdicts.first().cloned());
        Self {
            request: self.redactions.masked(&self.request, self.masked_query().as_deref()),
            received: Some(self.received.unwrap_or(self.request)),
            verdicts: token.flatten().into_iter().collect(),
            verdicts_before: self.verdicts,
            ..Self::new(script, kind, description)
        }
    }

    fn admit(&mut self, description: &Description) -> Result<(), Rejection> {
        let is_unknown = |role: &&String| *role != TOKEN && !self.roles.contains_key(*role);
        if let Some(role) = self.secrets.keys().find(is_unknown) {
            let roles: Vec<&str> = self.roles.keys().map(String::as_str).collect();
            self.broken.push(format!(
                "a secret is given for `{role}`, and `describe` has none but `{}`",
                roles.join("`, `")
            ));
        }
        if !description.takes_method(&self.request.method) {
            return Err(Rejection::new(405, "method_not_allowed", ""));
        }
        let Some(index) = self.token_index() else { return Ok(()) };
        let segment = self.request.path.split('/').nth(index).unwrap_or_default();
        let presented = presented::in_path(segment);
        if self.compare(TOKEN, &[presented], Compared::Value).is_match() {
            Ok(())
        } else {
            Err(Rejection::new(404, "secret_mismatch", ""))
        }
    }

    /// Why an outcome may not be kept: nothing matched where something must, or one of the
    /// route's secrets did not.
    fn unverified(&self) -> Option<String> {
        let matched = |role: &String| {
            let of_role = |verdict: &&VerdictRecord| verdict.role == *role;
            self.verdicts.iter().filter(of_role).any(|verdict| verdict.found == Found::Matched)
        };
        if let Some(role) = self.secrets.keys().find(|role| !matched(role)) {
            return Some(format!("no verdict on the secret `{role}` matched"));
        }
        (self.secrets.is_empty() && !self.auth_none).then(|| "no verdict matched".to_owned())
    }

    /// Whether `describe` has the role, and says that it is compared in this way. Any other question
    /// traps in the gateway: it would protect nothing.
    fn asked(&mut self, role: &str, compared: Compared) {
        let wrong = match self.roles.get(role) {
            None => Some(format!("asks for the secret `{role}`, which is not described")),
            Some(travels) => presented::elsewhere(travels, compared).map(|travels| {
                format!("the secret `{role}` {travels}, as `describe` says, and is not checked so")
            }),
        };
        self.broken.extend(wrong);
    }

    /// Which segment of the path is the token.
    fn token_index(&self) -> Option<usize> {
        self.route_path.as_ref()?.split('/').position(|segment| segment == "{token}")
    }

    pub(crate) const fn request(&self) -> &Request {
        assert!(matches!(self.kind.as_bytes(), b"receive"), "`inbound` traps outside `receive`");
        &self.request
    }

    /// The request as it is kept, where parts of it were masked.
    pub(super) fn kept(&self) -> Option<&Request> {
        self.received.is_some().then_some(&self.request)
    }

    fn received_body(&self) -> &[u8] {
        &self.received.as_ref().unwrap_or_else(|| self.request()).body
    }

    pub(crate) fn body_sha256(&self) -> Vec<u8> {
        ring::digest::digest(&ring::digest::SHA256, self.received_body()).as_ref().to_vec()
    }

    pub(crate) fn redact(&mut self, part: &str, mask: &str, spans: &[(u32, u32)]) {
        // What carries a credential is masked already.
        let query = self.masked_query().unwrap_or_default();
        let text = if part == "query" { query.as_bytes() } else { &self.request.body };
        let asked = self.redactions.ask(text, part, mask, spans);
        self.broken.extend(asked.err());
        if !self.redacts {
            let what = "asks to have parts masked, which `describe` does not say (`redacts`)";
            self.broken.push(what.to_owned());
        }
    }

    pub(crate) fn seen(&self, key: &Key) -> bool {
        self.seen.iter().any(|each| each == key.value())
    }

    pub(crate) fn masked_path(&self) -> String {
        let token = self.token_index();
        let mask = |(index, segment)| if Some(index) == token { MASK } else { segment };
        self.request().path.split('/').enumerate().map(mask).collect::<Vec<_>>().join("/")
    }

    pub(crate) fn masked_query(&self) -> Option<String> {
        let carries = |raw: &str| {
            self.travels.values().any(|travels| match travels {
                Travels::Query { name, .. } => presented::is_named(raw, name),
                Travels::Header { .. } | Travels::Body | Travels::Key => false,
            })
        };
        let mask = |pair: &str| match pair.split_once('=') {
            Some((name, _)) if carries(name) => format!("{name}={MASK}"),
            Some(_) | None => pair.to_owned(),
        };
        let query = self.request().query.as_ref()?;
        Some(query.split('&').map(mask).collect::<Vec<_>>().join("&"))
    }

    pub(crate) fn masked_header(&self, name: &str) -> Vec<String> {
        let carries = self.travels.values().any(|travels| {
            matches!(travels, Travels::Header { name: each, .. } if each.eq_ignore_ascii_case(name))
        });
        let stray = |value: &str| {
            let after_scheme = value.split_once(' ').map_or(value, |(_, rest)| rest);
            let is_secret = |secret: &String| secret == value || secret == after_scheme;
            self.secrets.values().flatten().any(is_secret) || self.is_credential(name, value)
        };
        let values = self.request().header(name);
        values.map(|value| if carries || stray(value) { MASK } else { value }.to_owned()).collect()
    }

    /// Whether a header carries a credential by its nature. With a key there may be a code in
    /// `authorization`.
    fn is_credential(&self, name: &str, value: &str) -> bool {
        let is = |each: &str| name.eq_ignore_ascii_case(each);
        let has_key = self.travels.values().any(|travels| matches!(travels, Travels::Key));
        let scheme = value.split(' ').next().unwrap_or_default();
        let is_password = ["basic", "bearer"].iter().any(|each| scheme.eq_ignore_ascii_case(each));
        is("cookie")
            || is("proxy-authorization")
            || is("authorization") && (!has_key || is_password)
    }

    /// Compares what travels in a header or in the query, as `describe` says.
    pub(crate) fn verify_presented(&mut self, role: &str, compared: Compared) -> Verdict {
        self.asked(role, compared);
        let presented: Vec<Readings> = match self.travels.get(role) {
            Some(Travels::Header { name, prefix, .. }) => {
                let after = |value| presented::in_header(value, prefix);
                self.request().header(name).map(after).collect()
            }
            Some(Travels::Query { name, .. }) => {
                presented::in_query(self.request().query.as_deref().unwrap_or_default(), name)
            }
            Some(Travels::Body | Travels::Key) | None => Vec::new(),
        };
        self.compare(role, &presented, compared)
    }

    pub(crate) fn verify_equal(&mut self, role: &str, presented: &str) -> Verdict {
        self.asked(role, Compared::Value);
        self.compare(role, &[vec![presented.to_owned()]], Compared::Value)
    }

    fn compare(&mut self, role: &str, presented: &[Readings], compared: Compared) -> Verdict {
        let found = |values: &[String]| match presented {
            [] => (Found::Missing, None),
            [one] => verify::first_match(values, |value| {
                one.iter().any(|reading| !reading.is_empty() && reading == value)
            }),
            _ => (Found::Repeated, None),
        };
        self.verdict(role, compared, found)
    }

    pub(crate) fn verify_mac(&mut self, mac: &Mac<'_>, message: &[Part<'_>]) -> Verdict {
        self.asked(mac.role, Compared::Signature);
        let message = self.joined(message);
        self.verdict(mac.role, Compared::Signature, |values| {
            verify::first_match(values, |value| verify::mac(value, mac, &message))
        })
    }

    pub(crate) fn verify_signature(
        &mut self,
        signature: &Signature<'_>,
        message: &[Part<'_>],
    ) -> Verdict {
        self.asked(signature.role, Compared::Signature);
        let message = self.joined(message);
        self.verdict(signature.role, Compared::Signature, |values| {
            verify::first_match(values, |value| verify::signature(value, signature, &message))
        })
    }

    fn joined(&self, message: &[Part<'_>]) -> Vec<u8> {
        let bytes = |part: &Part<'_>| match part {
            Part::Body => self.received_body().to_vec(),
            Part::Bytes(bytes) => bytes.to_vec(),
        };
        message.iter().flat_map(bytes).collect()
    }

    fn verdict(
        &mut self,
        role: &str,
        compared: Compared,
        find: impl FnOnce(&[String]) -> (Found, Option<usize>),
    ) -> Verdict {
        let before = self.verdicts_before.get(self.verdicts.len());
        let (found, version) = match before.filter(|before| before.role == role) {
            Some(before) => (before.found, before.version),
            None => {
                self.secrets.get(role).map_or((Found::NotConfigured, None), |values| find(values))
            }
        };
        if self.verdicts.len() == VERDICTS_MAX {
            self.broken.push(format!("asks for more than {VERDICTS_MAX} verdicts"));
        }
        self.verdicts.push(VerdictRecord { role: role.to_owned(), found, version });
        let version = version.and_then(|version| u32::try_from(version).ok());
        Verdict { found, version, compared }
    }
}

/// The state that the call begins with, where the adapter is granted any.
fn granted(script: &Script, description: &Description) -> Option<Entries> {
    description.uses_state().then(|| script.state.clone().unwrap_or_default())
}

/// Where a secret travels once a route setting has had its say.
fn resolved(travels: &Travels, settings: &Value) -> Travels {
    let mut travels = travels.clone();
    if let Travels::Header { name, setting, .. } | Travels::Query { name, setting } = &mut travels
        && let Some(path) = setting
        && let Some(Value::String(text)) = settings.pointer(&format!("/{}", path.replace('.', "/")))
    {
        *name = text.clone().into();
    }
    travels
}
