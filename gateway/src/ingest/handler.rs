//! One request from its head to its answer, in the order of suspicion: form, path, method, size,
//! body, adapter.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use http::request::Parts;
use hyper::body::Body;
use smol_str::SmolStr;
use tokio::time::Instant;

use super::Shared;
use super::admission::{Charged, Entry, Share};
use super::answer::{self, HttpAnswer, Refusal};
use super::body::{self, BodyFault, Bounds};
use super::call::{Call, Ending};
use super::client::{ClientAddress, Neighbour};
use super::head::head_of;
use super::refused::RefusedRequest;
use super::route::{Hit, Lookup, Routed, Served};
use super::unjudged::Unjudged;
use super::{admission, diagnose, strict};
use crate::faults::Fault;
use crate::model::{
    Diagnosis, Disposition, Found, InboundRequest, RequestHead, RequestId, RouteName, UnixMillis,
    VerdictRecord,
};
use crate::telemetry::Happening as _;
use crate::telemetry::ingest::{Answered, Gauged, RequestAnswered, RequestRefused};
use crate::verification::{MASK, Presented};

/// Answers one request. Reads as much of the body as it needs to.
pub(super) async fn answer<B>(
    shared: &Shared,
    peer: Neighbour,
    parts: Parts,
    body: &mut B,
) -> HttpAnswer
where
    B: Body<Data = Bytes> + Unpin,
{
    let received_at = shared.clock.now();
    let id = RequestId::new(received_at);
    let started = Instant::now();
    let routed = shared.routing.current();
    let ingest = &routed.snapshot.config.ingest;
    let unbounded = Fault::QueueWithoutBound.is_on();
    let in_flight_max = if unbounded { usize::MAX } else { ingest.requests_in_flight_max };
    let client = ClientAddress::of(peer, &parts.headers, ingest);
    let exchange = Exchange { shared, routed, client, parts, id, received_at, started };
    let Some(_counted) = shared.in_flight.enter(in_flight_max) else {
        // Nothing was looked at, so there is nothing for the ring; and it has better to keep.
        let refusal = Refusal::overloaded("too many requests are in flight");
        return exchange.told(None, &refusal);
    };
    let _gauged = Gauged::new(&shared.gauges.in_flight);
    exchange.run(body).await
}

/// A request that is being answered.
struct Exchange<'a> {
    shared: &'a Shared,
    /// All that it is served by, from here to its answer.
    routed: Arc<Routed>,
    client: ClientAddress,
    parts: Parts,
    id: RequestId,
    received_at: UnixMillis,
    started: Instant,
}

/// What is known of a refused request.
#[derive(Default)]
struct Evidence {
    head: Option<RequestHead>,
    body: Bytes,
    /// An adapter had parts of it masked.
    redacted: bool,
    verdicts: Vec<VerdictRecord>,
    body_was_read: bool,
    presented: Option<Arc<Presented>>,
    /// For the operator.
    detail: Cow<'static, str>,
}

impl Exchange<'_> {
    async fn run<B>(self, body: &mut B) -> HttpAnswer
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let Parts { method, uri, version, headers, .. } = &self.parts;
        if let Err(fault) = strict::check(method, uri, *version, headers) {
            let diagnosis = Diagnosis::MALFORMED_REQUEST;
            let refusal = Refusal::new(fault.status, diagnosis, fault.detail).closing();
            return self.turn_away(None, &refusal, || self.anonymous());
        }
        let routed = &*self.routed;
        let hit = match routed.table.find(uri.path(), self.received_at) {
            Lookup::Route(hit) => hit,
            Lookup::WrongToken { meant } => return self.wrong_token(meant.as_ref()),
            Lookup::Nothing => return self.not_found(None),
        };
        let served = hit.served;
        let (route, limits) = (&served.route.config, served.limits.as_deref());
        let (charged, entry) =
            admission::admit(route, limits, self.client, &self.shared.switches).await;
        let answer = match entry {
            Ok(Entry::Open) => self.serve(routed, &hit, &charged, body).await,
            Ok(Entry::Paused) => self.paused(&hit),
            Err(refusal) => self.turn_away(Some(served), &refusal, || self.masked(&hit)),
        };
        charged.tell(answer)
    }

    /// Reads the body of a request that was let in, and brings it to its adapter.
    async fn serve<B>(
        &self,
        routed: &Routed,
        hit: &Hit<'_>,
        charged: &Charged<'_>,
        body: &mut B,
    ) -> HttpAnswer
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let served = hit.served;
        if let Err(refusal) = self.check_for(served) {
            return self.turn_away(Some(served), &refusal, || self.masked(hit));
        }
        let config = &served.route.config;
        let ingest = &routed.snapshot.config.ingest;
        let bounds = Bounds {
            size_max: config.body_max,
            started: self.started,
            // Whole before the answer is due: a later one could be committed, but not answered.
            deadline: ingest.body_deadline.min(config.deadline),
            rate_min: ingest.body_rate_min,
        };
        let share =
            Share::new(&self.shared.bodies, self.client.ip(), ingest.requests_in_flight_max);
        let body = match body::read(body, bounds, share).await {
            Ok(body) => body,
            Err(fault) => {
                return self.turn_away(Some(served), &unread(fault), || self.masked(hit));
            }
        };
        let (head, presented) = served.route.secrets.mask(head_of(&self.parts), segment(hit));
        let inbound = InboundRequest {
            id: self.id,
            received_at: self.received_at,
            client: self.client.ip(),
            head,
            body,
            redacted: false,
        };
        let deadline = self.started + config.deadline;
        let token = hit.token.as_ref().map(|(_, verdict)| verdict.clone());
        let call = Call { shared: self.shared, routed, served, charged, token, deadline };
        let ending = call.run(inbound, presented).await;
        self.end(routed, served, ending)
    }

    /// Refuses what no adapter had a say in. Of these a few are kept.
    fn turn_away(
        &self,
        served: Option<&Served>,
        refusal: &Refusal,
        evidence: impl FnOnce() -> Evidence,
    ) -> HttpAnswer {
        self.keep_unjudged(served, refusal.status.as_u16(), &refusal.diagnosis, || Evidence {
            detail: refusal.detail.clone(),
            ..evidence()
        });
        self.told(served, refusal)
    }

    fn end(&self, routed: &Routed, served: &Served, ending: Ending) -> HttpAnswer {
        match ending {
            Ending::Committed { answer, disposition, diagnosis } => {
                if let Some(diagnosis) = diagnosis {
                    self.tell_refusal(Some(&served.route.config.name), &diagnosis, answer.status);
                }
                self.tell(Some(served), Answered::As(disposition), answer.status);
                answer::from_adapter(answer)
            }
            Ending::Refused { refusal, verdicts, inbound, presented } => {
                let refused = diagnose::Refused {
                    shared: self.shared,
                    routed,
                    served,
                    verdicts: &verdicts,
                    inbound: inbound.as_ref(),
                    presented: presented.as_ref(),
                };
                let refusal = diagnose::refine(refusal, &refused);
                let body_was_read = true;
                let evidence = match inbound.map(Arc::unwrap_or_clone) {
                    Some(InboundRequest { head, body, redacted, .. }) => {
                        let head = Some(head);
                        let detail = Cow::default();
                        Evidence {
                            head,
                            body,
                            redacted,
                            verdicts,
                            body_was_read,
                            presented,
                            detail,
                        }
                    }
                    None => Evidence { verdicts, ..Evidence::default() },
                };
                if Unjudged::is(&refusal.diagnosis) {
                    return self.turn_away(Some(served), &refusal, || evidence);
                }
                let evidence = Evidence { detail: refusal.detail.clone(), ..evidence };
                let (name, status) = (&served.route.config.name, refusal.status.as_u16());
                self.shared.ring.push(self.kept(Some(name), status, &refusal.diagnosis, evidence));
                self.told(Some(served), &refusal)
            }
        }
    }

    /// What a route has to say about a head before its body is read.
    fn check_for(&self, served: &Served) -> Result<(), Refusal> {
        let headers = &self.parts.headers;
        if strict::has_twin(headers, |name| served.credentials.contains(name)) {
            let detail = "a header with underscores reads like one that carries a credential";
            let diagnosis = Diagnosis::MALFORMED_REQUEST;
            return Err(Refusal::new(StatusCode::BAD_REQUEST, diagnosis, detail).closing());
        }
        if !served.takes(self.parts.method.as_str()) {
            let diagnosis = Diagnosis::METHOD_NOT_ALLOWED;
            let refusal = Refusal::new(StatusCode::METHOD_NOT_ALLOWED, diagnosis, "");
            return Err(Refusal { allow: Some(served.allow.clone()), ..refusal });
        }
        Ok(())
    }

    /// Counted and shown, and never called accepted.
    fn paused(&self, hit: &Hit<'_>) -> HttpAnswer {
        let answer = hit.served.route.paused_answer.clone();
        let name = &hit.served.route.config.name;
        self.tell_refusal(Some(name), &Diagnosis::PAUSED, answer.status);
        self.tell(Some(hit.served), Answered::Paused, answer.status);
        let masked = || self.masked(hit);
        self.keep_unjudged(Some(hit.served), answer.status, &Diagnosis::PAUSED, masked);
        answer::from_adapter(answer)
    }

    fn wrong_token(&self, meant: Option<&Hit<'_>>) -> HttpAnswer {
        let expired = |hit: &Hit<'_>| {
            hit.token.as_ref().is_some_and(|(_, verdict)| verdict.found == Found::MatchedExpired)
        };
        let diagnosis = if meant.is_some_and(expired) {
            Diagnosis::MATCHES_EXPIRED_SECRET
        } else {
            Diagnosis::SECRET_MISMATCH
        };
        let served = meant.map(|hit| hit.served);
        let status = StatusCode::NOT_FOUND.as_u16();
        self.tell_refusal(served.map(|served| &served.route.config.name), &diagnosis, status);
        self.keep_unjudged(served, status, &diagnosis, || {
            let evidence = match meant {
                Some(hit) => self.masked(hit),
                None => self.anonymous(),
            };
            Evidence { detail: "the path token".into(), ..evidence }
        });
        self.not_found(served)
    }

    /// Not kept in the ring: nothing can be masked where nobody knows what is secret, and whoever
    /// looks for open doors would flush it.
    fn not_found(&self, served: Option<&Served>) -> HttpAnswer {
        self.tell(served, Answered::NotFound, StatusCode::NOT_FOUND.as_u16());
        answer::not_found()
    }

    fn told(&self, served: Option<&Served>, refusal: &Refusal) -> HttpAnswer {
        let status = refusal.status.as_u16();
        let name = served.map(|served| &served.route.config.name);
        self.tell_refusal(name, &refusal.diagnosis, status);
        let ours = refusal.status == StatusCode::SERVICE_UNAVAILABLE;
        let rejected = Answered::As(Disposition::Rejected);
        self.tell(served, if ours { Answered::Unavailable } else { rejected }, status);
        refusal.to_http()
    }

    fn keep_unjudged(
        &self,
        served: Option<&Served>,
        status: u16,
        diagnosis: &Diagnosis,
        evidence: impl FnOnce() -> Evidence,
    ) {
        let unjudged = served.map_or(&self.shared.unjudged, |served| &served.unjudged);
        if unjudged.keeps(diagnosis, self.received_at) {
            let name = served.map(|served| &served.route.config.name);
            self.shared.ring.push_unjudged(self.kept(name, status, diagnosis, evidence()));
        }
    }

    fn kept(
        &self,
        route: Option<&RouteName>,
        status: u16,
        diagnosis: &Diagnosis,
        evidence: Evidence,
    ) -> RefusedRequest {
        RefusedRequest {
            id: self.id,
            received_at: self.received_at,
            route: route.cloned(),
            client: self.client.ip(),
            status,
            diagnosis: diagnosis.clone(),
            detail: evidence.detail.into_owned(),
            verdicts: evidence.verdicts,
            head: evidence.head,
            body_bytes: evidence.body.len(),
            body: evidence.body,
            redacted: evidence.redacted,
            body_was_read: evidence.body_was_read,
            presented: evidence.presented,
        }
    }

    fn tell(&self, served: Option<&Served>, answered: Answered, status: u16) {
        let meter = served.map_or(&self.shared.unrouted, |served| &served.requests);
        let (times, took) = (&self.shared.request_times, self.started.elapsed());
        RequestAnswered { id: self.id, meter, times, answered, status, took }.emit();
    }

    fn tell_refusal(&self, route: Option<&RouteName>, diagnosis: &Diagnosis, status: u16) {
        let told = self.shared.log_budget.take(self.received_at);
        RequestRefused { id: self.id, route, diagnosis, status, told }.emit();
    }

    /// The head as the operators of a route may see it, of a request that its adapter did not.
    fn masked(&self, hit: &Hit<'_>) -> Evidence {
        let route = &hit.served.route;
        let (mut head, presented) = route.secrets.mask(head_of(&self.parts), segment(hit));
        let redacted = head.query.is_some() && route.adapter.description().redacts;
        if redacted {
            head.query = Some(MASK.to_owned());
        }
        let presented = Some(Arc::new(presented));
        let verdicts = hit.token.iter().map(|(_, verdict)| verdict.clone()).collect();
        Evidence { head: Some(head), redacted, verdicts, presented, ..Evidence::default() }
    }

    /// The head where no route says what is secret: names only.
    fn anonymous(&self) -> Evidence {
        let head = RequestHead {
            method: self.parts.method.as_str().into(),
            path: MASK.to_owned(),
            query: self.parts.uri.query().map(|_| MASK.to_owned()),
            headers: self
                .parts
                .headers
                .keys()
                .map(|name| (name.as_str().into(), SmolStr::new_static(MASK)))
                .collect(),
        };
        Evidence { head: Some(head), ..Evidence::default() }
    }
}

fn unread(fault: BodyFault) -> Refusal {
    let (status, diagnosis, detail) = match fault {
        BodyFault::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, Diagnosis::BODY_TOO_LARGE, ""),
        BodyFault::TooSlow => (StatusCode::REQUEST_TIMEOUT, Diagnosis::BODY_TOO_SLOW, ""),
        BodyFault::TooMany => {
            let detail = "too many bodies are awaited of this client, or of all";
            return Refusal::overloaded(detail).closing();
        }
        BodyFault::Broken => {
            let detail = "the body ended early or its framing is bad";
            (StatusCode::BAD_REQUEST, Diagnosis::MALFORMED_REQUEST, detail)
        }
    };
    Refusal::new(status, diagnosis, detail).closing()
}

fn segment(hit: &Hit<'_>) -> Option<std::ops::Range<usize>> {
    hit.token.as_ref().map(|(segment, _)| segment.clone())
}
