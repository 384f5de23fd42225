//! From a path to a route.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use http::HeaderValue;
use smol_str::SmolStr;

use super::admission::{Limiters, LimitsByRoute, RouteLimits};
use super::unjudged::Unjudged;
use crate::config::RoutePath;
use crate::model::{Found, KeyedDigest, RequestHead, RouteName, UnixMillis, VerdictRecord};
use crate::snapshot::{BoundRoute, Snapshot};
use crate::telemetry::ingest::{CallTimes, RequestMeter};

/// A route, and what serving it needs on every request, worked out once.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) route: Arc<BoundRoute>,
    /// Name and version, as `ottu/1.0.0`.
    pub(super) adapter: SmolStr,
    /// The value of `Allow`.
    pub(super) allow: HeaderValue,
    /// Headers in which a credential of this route travels, in lower case with hyphens.
    pub(super) credentials: HashSet<String>,
    /// By event type: the URI of the schema of its data, where the adapter describes one.
    pub(super) schemas: HashMap<String, SmolStr>,
    /// Absent where it has none.
    pub(super) limits: Option<Arc<RouteLimits>>,
    /// What is kept of its refusals without an adapter's say.
    pub(super) unjudged: Unjudged,
    pub(super) requests: RequestMeter,
    pub(super) call_times: CallTimes,
}

impl Served {
    fn new(route: Arc<BoundRoute>, limits: Option<Arc<RouteLimits>>) -> Self {
        let description = route.adapter.description();
        let allow = HeaderValue::try_from(description.methods.join(", "));
        let schema = |kind: &String| Some((kind.clone(), description.schema_uri(kind)?.into()));
        Self {
            adapter: description.adapter().into(),
            // Methods of a checked description are tokens.
            allow: allow.unwrap_or_else(|_| HeaderValue::from_static("")),
            credentials: credential_headers(&route),
            schemas: description.events.iter().filter_map(|event| schema(&event.kind)).collect(),
            limits,
            unjudged: Unjudged::default(),
            requests: RequestMeter::new(Some(route.config.name.clone())),
            call_times: CallTimes::new(route.config.adapter.clone()),
            route,
        }
    }

    /// Whether requests with this method come to the adapter.
    pub(super) fn takes(&self, method: &str) -> bool {
        self.route.adapter.description().methods.iter().any(|each| each == method)
    }
}

/// One that is itself spelt with an underscore has no twin: it is the credential.
fn credential_headers(route: &BoundRoute) -> HashSet<String> {
    let names = route.secrets.credential_headers().filter(|name| !name.contains('_'));
    names.map(str::to_ascii_lowercase).collect()
}

/// What a path leads to.
#[derive(Debug)]
pub(super) enum Lookup<'t> {
    Route(Hit<'t>),
    /// Paths of this form lead to routes, but the token is none of theirs. To the sender this is
    /// the same as `Nothing`.
    WrongToken {
        /// The route that is meant, where that is certain: the only one of this form, or the one
        /// whose expired token it is.
        meant: Option<Hit<'t>>,
    },
    Nothing,
}

/// A route, and where its token stands in the path.
#[derive(Debug)]
pub(super) struct Hit<'t> {
    pub(super) served: &'t Served,
    pub(super) token: Option<(Range<usize>, VerdictRecord)>,
}

/// All routes of one snapshot by their paths.
#[derive(Debug, Default)]
pub(super) struct RouteTable {
    exact: HashMap<String, Served>,
    /// By what stands before and after the token.
    tokens: BTreeMap<(String, String), Vec<Served>>,
    /// Whose secret has a value with this digest, of those that travel as they are.
    secrets: HashMap<[u8; 32], RouteName>,
}

impl RouteTable {
    pub(super) fn new<'r>(
        routes: impl IntoIterator<Item = &'r Arc<BoundRoute>>,
        mut limits: LimitsByRoute,
    ) -> Self {
        let mut table = Self::default();
        for route in routes {
            let limits = limits.remove(&route.config.name);
            let digests = route.secrets.value_digests();
            table.secrets.extend(digests.map(|digest| (digest.0, route.config.name.clone())));
            let served = Served::new(Arc::clone(route), limits);
            match &route.config.path {
                RoutePath::Exact(path) => {
                    table.exact.insert(path.clone(), served);
                }
                RoutePath::Token { prefix, suffix } => {
                    let form = (prefix.clone(), suffix.clone());
                    table.tokens.entry(form).or_default().push(served);
                }
            }
        }
        table
    }

    /// Every route.
    pub(super) fn all(&self) -> impl Iterator<Item = &Served> {
        self.exact.values().chain(self.tokens.values().flatten())
    }

    /// The route of that name.
    pub(super) fn named(&self, name: &RouteName) -> Option<&Served> {
        self.all().find(|served| served.route.config.name == *name)
    }

    /// A route with a secret of which this is the digest. The digest is keyed, so that looking it
    /// up tells nothing in the time that it takes.
    pub(super) fn route_of_secret(&self, digest: KeyedDigest) -> Option<&RouteName> {
        self.secrets.get(&digest.0)
    }

    /// Finds the route of a path, byte for byte as received. Of several that match by token the
    /// first is taken; configuration refuses that two share one.
    pub(super) fn find(&self, path: &str, now: UnixMillis) -> Lookup<'_> {
        if let Some(served) = self.exact.get(path) {
            return Lookup::Route(Hit { served, token: None });
        }
        let mut lookup = Lookup::Nothing;
        for ((prefix, suffix), routes) in &self.tokens {
            let Some(segment) = segment(path, prefix, suffix) else { continue };
            match try_tokens(routes, path, &segment, now) {
                Lookup::Route(hit) => return Lookup::Route(hit),
                wrong @ Lookup::WrongToken { .. } if matches!(lookup, Lookup::Nothing) => {
                    lookup = wrong;
                }
                // A path of two forms: nobody knows which was meant.
                Lookup::WrongToken { .. } => lookup = Lookup::WrongToken { meant: None },
                Lookup::Nothing => {}
            }
        }
        lookup
    }
}

/// Where the token stands in a path of this form: one segment, and not an empty one.
fn segment(path: &str, prefix: &str, suffix: &str) -> Option<Range<usize>> {
    let token = path.strip_prefix(prefix)?.strip_suffix(suffix)?;
    let plain = !token.is_empty() && !token.contains('/');
    plain.then(|| prefix.len()..prefix.len() + token.len())
}

/// Compares with the token of every route, whatever the ones before came to, so that the time it
/// takes does not tell which one it resembles.
fn try_tokens<'t>(
    routes: &'t [Served],
    path: &str,
    segment: &Range<usize>,
    now: UnixMillis,
) -> Lookup<'t> {
    let mut matched = None;
    let mut expired = None;
    let mut last = None;
    for served in routes {
        // Only the path matters here; the rest of the head is masked once the route is known.
        let head = RequestHead {
            method: SmolStr::default(),
            path: path.to_owned(),
            query: None,
            headers: Vec::new(),
        };
        let secrets = &served.route.secrets;
        let (_, presented) = secrets.mask(head, Some(segment.clone()));
        let verdict = secrets.verify_path_token(&presented, now);
        let found = verdict.found;
        let hit = Some(Hit { served, token: Some((segment.clone(), verdict)) });
        let place = match found {
            Found::Matched { .. } => &mut matched,
            Found::MatchedExpired => &mut expired,
            Found::Mismatched | Found::Missing | Found::Repeated | Found::NotConfigured => {
                &mut last
            }
        };
        if place.is_none() {
            *place = hit;
        }
    }
    match matched {
        Some(hit) => Lookup::Route(hit),
        None if routes.len() == 1 => Lookup::WrongToken { meant: expired.or(last) },
        None => Lookup::WrongToken { meant: expired },
    }
}

/// A snapshot with its table of routes.
#[derive(Debug)]
pub(super) struct Routed {
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) table: RouteTable,
}

impl Routed {
    fn new(snapshot: Arc<Snapshot>, limiters: &mut Limiters) -> Self {
        let limits = limiters.take_up(snapshot.routes.values().map(|route| &route.config));
        let table = RouteTable::new(snapshot.routes.values(), limits);
        Self { snapshot, table }
    }
}

/// The current snapshot with its table, which is made at the first request after a swap.
#[derive(Debug)]
pub(super) struct Routing {
    source: Arc<ArcSwap<Snapshot>>,
    routed: ArcSwap<Routed>,
    /// Held while a table is made. Whoever holds it finds the newest snapshot, so tables, and the
    /// limits with what was used of them, follow one another as snapshots do.
    limiters: Mutex<Limiters>,
}

impl Routing {
    pub(super) fn new(source: Arc<ArcSwap<Snapshot>>) -> Self {
        let mut limiters = Limiters::default();
        let routed = ArcSwap::from_pointee(Routed::new(source.load_full(), &mut limiters));
        Self { source, routed, limiters: Mutex::new(limiters) }
    }

    /// What a request is served by, from its head to its answer.
    pub(super) fn current(&self) -> Arc<Routed> {
        self.made().unwrap_or_else(|| self.make())
    }

    /// The table of the current snapshot, where it is made.
    fn made(&self) -> Option<Arc<Routed>> {
        let snapshot = self.source.load();
        let routed = self.routed.load_full();
        Arc::ptr_eq(&snapshot, &routed.snapshot).then_some(routed)
    }

    fn make(&self) -> Arc<Routed> {
        // What a panic leaves behind is made anew at the next reload.
        let mut limiters = self.limiters.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever held it before may have made this one.
        self.made().unwrap_or_else(|| {
            let routed = Arc::new(Routed::new(self.source.load_full(), &mut limiters));
            self.routed.store(Arc::clone(&routed));
            routed
        })
    }
}

#[cfg(test)]
#[path = "route_tests.rs"]
mod tests;
