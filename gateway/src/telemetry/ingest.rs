//! Happenings of ingest.
//!
//! What is accepted is logged at `debug` only; refusals are for operators and say why, at a
//! bounded rate. No line holds a path, a query, a header's value, a body, a client's address or
//! an adapter's words.

mod connections;
mod meters;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use metrics::{counter, describe_counter, describe_gauge, describe_histogram};

pub use self::connections::{
    AcceptFailed, ConnectionEnded, ConnectionPanicked, ConnectionsAtLimit, DescriptorsFew,
    DrainBegan, DrainEnded, ProxyHeaderRefused,
};
use self::meters::NO_ROUTE;
pub use self::meters::{Answered, CallTimes, RequestMeter, RequestTimes};
use super::Happening;
use crate::model::{AdapterName, Diagnosis, RequestId, RouteName, UnixMillis};

/// Most lines about refusals in one second. Beyond it only the metric counts them: whoever can
/// reach the listener can be refused as often as they like.
const REFUSAL_LINES_PER_SECOND: u64 = 50;

/// Describes the metrics of ingest to the recorder.
pub fn describe() {
    describe_counter!("sluice_requests_total", "Requests answered, by route and disposition.");
    describe_histogram!("sluice_request_seconds", "From the whole head to the answer.");
    describe_counter!("sluice_refused_total", "Requests refused, by route and diagnosis.");
    describe_counter!("sluice_verified_again_total", "Refused requests verified again.");
    describe_counter!("sluice_route_switches_total", "Switches of routes set by operators.");
    describe_histogram!("sluice_adapter_call_seconds", "One adapter call.");
    describe_counter!(
        "sluice_call_conflicts_total",
        "Calls run again because what they read had changed, by adapter and whether in its lane."
    );
    describe_gauge!("sluice_requests_in_flight", "Requests between head and answer.");
    describe_gauge!("sluice_connections_open", "Open connections of providers.");
    describe_counter!(
        "sluice_connections_limited_total",
        "Times that all permitted connections were open."
    );
    describe_counter!("sluice_accept_errors_total", "Failures to accept a connection.");
    describe_counter!(
        "sluice_proxy_headers_refused_total",
        "Connections of trusted proxies without a good PROXY header."
    );
    describe_counter!("sluice_connections_ended_total", "Connections ended, by reason.");
}

/// Counts down on drop.
#[derive(Debug)]
pub struct Gauged<'a>(&'a metrics::Gauge);

impl<'a> Gauged<'a> {
    #[must_use]
    pub fn new(gauge: &'a metrics::Gauge) -> Self {
        gauge.increment(1.0);
        Self(gauge)
    }
}

impl Drop for Gauged<'_> {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

/// The gauges of ingest. Made after the recorder was installed.
#[derive(Debug)]
pub struct Gauges {
    pub in_flight: metrics::Gauge,
    pub connections: metrics::Gauge,
}

impl Default for Gauges {
    fn default() -> Self {
        Self {
            in_flight: metrics::gauge!("sluice_requests_in_flight"),
            connections: metrics::gauge!("sluice_connections_open"),
        }
    }
}

/// A request was answered.
#[derive(Debug)]
pub struct RequestAnswered<'a> {
    pub id: RequestId,
    /// Of the route's requests.
    pub meter: &'a RequestMeter,
    pub times: &'a RequestTimes,
    pub answered: Answered,
    pub status: u16,
    pub took: Duration,
}

impl Happening for RequestAnswered<'_> {
    fn emit(self) {
        tracing::debug!(
            request = %self.id,
            route = self.meter.route(),
            disposition = self.answered.as_str(),
            status = self.status,
            took_us = u64::try_from(self.took.as_micros()).unwrap_or(u64::MAX),
            "Request answered."
        );
        self.meter.count(self.answered);
        self.times.record(self.answered, self.took);
    }
}

/// A request was refused, or quarantined.
#[derive(Debug)]
pub struct RequestRefused<'a> {
    pub id: RequestId,
    pub route: Option<&'a RouteName>,
    pub diagnosis: &'a Diagnosis,
    pub status: u16,
    /// Whether to write the line: [`Budget::take`].
    pub told: bool,
}

impl Happening for RequestRefused<'_> {
    fn emit(self) {
        let route = self.route.map_or(NO_ROUTE, RouteName::as_str);
        let (diagnosis, status) = (self.diagnosis.as_str(), self.status);
        // Ours to mend, or the operator's; what a stranger sends to no route is neither.
        if self.told && self.route.is_some() {
            tracing::warn!(request = %self.id, route, diagnosis, status, "Request refused.");
        } else if self.told {
            tracing::info!(request = %self.id, diagnosis, status, "Request refused.");
        }
        let diagnosis = diagnosis_label(diagnosis);
        counter!("sluice_refused_total", "route" => route.to_owned(), "diagnosis" => diagnosis)
            .increment(1);
    }
}

/// The diagnosis as a label: an adapter's own word counts as `other`, because labels are bounded
/// and a guest's words are not.
fn diagnosis_label(diagnosis: &str) -> &'static str {
    const LABELS: [&str; 25] = [
        "address_not_allowed",
        "body_too_large",
        "body_too_slow",
        "deadline",
        "header_missing",
        "header_repeated",
        "invalid_outcome",
        "malformed_body",
        "malformed_request",
        "matches_expired_secret",
        "matches_other_route",
        "method_not_allowed",
        "not_configured",
        "overloaded",
        "paused",
        "rate_limited",
        "secret_mismatch",
        "signature_mismatch",
        "signature_missing",
        "signature_seen_with_other_body",
        "storage_unavailable",
        "too_old",
        "trap",
        "unspecified",
        "unverified",
    ];
    LABELS.into_iter().find(|label| *label == diagnosis).unwrap_or("other")
}

/// How many of something there may still be this second.
#[derive(Debug)]
pub struct Budget {
    per_second: u64,
    /// The second, and below it how many it has had.
    word: AtomicU64,
}

impl Budget {
    const COUNT_BITS: u32 = 16;

    /// At most so many in a second; no more than 65,535.
    #[must_use]
    pub const fn new(per_second: u64) -> Self {
        Self { per_second, word: AtomicU64::new(0) }
    }

    /// Of lines about refusals.
    #[must_use]
    pub const fn lines() -> Self {
        Self::new(REFUSAL_LINES_PER_SECOND)
    }

    /// Takes one of this second's, if one is left.
    #[must_use]
    pub fn take(&self, now: UnixMillis) -> bool {
        let second = (now.0 / 1_000) << Self::COUNT_BITS;
        let taken = self.word.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
            let used = if word >> Self::COUNT_BITS == second >> Self::COUNT_BITS {
                word & ((1 << Self::COUNT_BITS) - 1)
            } else {
                0
            };
            (used < self.per_second).then_some(second | (used + 1))
        });
        taken.is_ok()
    }
}

/// An adapter call ended.
#[derive(Debug)]
pub struct AdapterCalled<'a> {
    /// Of the adapter's calls.
    pub times: &'a CallTimes,
    pub took: Duration,
}

impl Happening for AdapterCalled<'_> {
    fn emit(self) {
        self.times.record(self.took);
    }
}

/// What a call had read was changed before its commit: it is run again.
#[derive(Debug)]
pub struct CallConflicted<'a> {
    pub adapter: &'a AdapterName,
    /// Whether it held its adapter's exclusive lane.
    pub in_lane: bool,
}

impl Happening for CallConflicted<'_> {
    fn emit(self) {
        let Self { adapter, in_lane } = self;
        tracing::debug!(%adapter, in_lane, "A call is run again: what it read has changed.");
        let (adapter, lane) = (adapter.as_str().to_owned(), if in_lane { "yes" } else { "no" });
        counter!("sluice_call_conflicts_total", "adapter" => adapter, "lane" => lane).increment(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_its_lines_and_the_next_has_new_ones() {
        let budget = Budget::lines();
        let in_second =
            |second| (0..200).filter(|_| budget.take(UnixMillis(second))).count() as u64;
        assert_eq!(in_second(5_000), REFUSAL_LINES_PER_SECOND);
        assert_eq!(in_second(5_999), 0);
        assert_eq!(in_second(6_000), REFUSAL_LINES_PER_SECOND);
    }

    #[test]
    fn labels_are_known_words() {
        assert_eq!(diagnosis_label(Diagnosis::TRAP.as_str()), "trap");
        assert_eq!(diagnosis_label(Diagnosis::PAUSED.as_str()), "paused");
        assert_eq!(diagnosis_label("a_guests_own_word"), "other");
    }
}
