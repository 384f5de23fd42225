//! The metrics that every request counts, held at hand: to look one up by its labels costs a dozen
//! allocations. Each is looked up at its first event, so that no series is there before it.

use std::sync::OnceLock;
use std::time::Duration;

use metrics::{Counter, Histogram, counter, histogram};

use crate::model::{AdapterName, Disposition, RouteName};

/// Stands for the route where there is none; no route can have this name.
pub(super) const NO_ROUTE: &str = "-";

/// What a request was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered {
    As(Disposition),
    Paused,
    Unavailable,
    NotFound,
}

impl Answered {
    /// The label's value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::As(disposition) => disposition.as_str(),
            Self::Paused => "paused",
            Self::Unavailable => "unavailable",
            Self::NotFound => "not_found",
        }
    }
}

/// One metric by its label `disposition`.
#[derive(Debug)]
struct ByAnswer<M> {
    accepted: OnceLock<M>,
    ignored: OnceLock<M>,
    duplicate: OnceLock<M>,
    rejected: OnceLock<M>,
    quarantined: OnceLock<M>,
    superseded: OnceLock<M>,
    paused: OnceLock<M>,
    unavailable: OnceLock<M>,
    not_found: OnceLock<M>,
}

impl<M> ByAnswer<M> {
    const fn new() -> Self {
        Self {
            accepted: OnceLock::new(),
            ignored: OnceLock::new(),
            duplicate: OnceLock::new(),
            rejected: OnceLock::new(),
            quarantined: OnceLock::new(),
            superseded: OnceLock::new(),
            paused: OnceLock::new(),
            unavailable: OnceLock::new(),
            not_found: OnceLock::new(),
        }
    }

    fn of(&self, answered: Answered, look_up: impl FnOnce(&'static str) -> M) -> &M {
        let metric = match answered {
            Answered::As(Disposition::Accepted) => &self.accepted,
            Answered::As(Disposition::Ignored) => &self.ignored,
            Answered::As(Disposition::Duplicate) => &self.duplicate,
            Answered::As(Disposition::Rejected) => &self.rejected,
            Answered::As(Disposition::Quarantined) => &self.quarantined,
            Answered::As(Disposition::Superseded) => &self.superseded,
            Answered::Paused => &self.paused,
            Answered::Unavailable => &self.unavailable,
            Answered::NotFound => &self.not_found,
        };
        metric.get_or_init(|| look_up(answered.as_str()))
    }
}

/// Counts the requests of one route, or of none. Two of the same route count as one.
#[derive(Debug)]
pub struct RequestMeter {
    route: Option<RouteName>,
    total: ByAnswer<Counter>,
}

impl RequestMeter {
    #[must_use]
    pub const fn new(route: Option<RouteName>) -> Self {
        Self { route, total: ByAnswer::new() }
    }

    /// The label's value.
    #[must_use]
    pub fn route(&self) -> &str {
        self.route.as_ref().map_or(NO_ROUTE, RouteName::as_str)
    }

    pub(super) fn count(&self, answered: Answered) {
        let look_up = |disposition| {
            let route = self.route().to_owned();
            counter!("sluice_requests_total", "route" => route, "disposition" => disposition)
        };
        self.total.of(answered, look_up).increment(1);
    }
}

/// Times the requests of all routes: a histogram is a dozen series, and there may be hundreds of
/// routes.
#[derive(Debug)]
pub struct RequestTimes(ByAnswer<Histogram>);

impl Default for RequestTimes {
    fn default() -> Self {
        Self(ByAnswer::new())
    }
}

impl RequestTimes {
    pub(super) fn record(&self, answered: Answered, took: Duration) {
        let look_up =
            |disposition| histogram!("sluice_request_seconds", "disposition" => disposition);
        self.0.of(answered, look_up).record(took);
    }
}

/// Times the calls of one adapter.
#[derive(Debug)]
pub struct CallTimes {
    adapter: AdapterName,
    seconds: OnceLock<Histogram>,
}

impl CallTimes {
    #[must_use]
    pub const fn new(adapter: AdapterName) -> Self {
        Self { adapter, seconds: OnceLock::new() }
    }

    pub(super) fn record(&self, took: Duration) {
        let look_up = || {
            let adapter = self.adapter.as_str().to_owned();
            histogram!("sluice_adapter_call_seconds", "adapter" => adapter)
        };
        self.seconds.get_or_init(look_up).record(took);
    }
}

#[cfg(test)]
mod tests {
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;

    #[test]
    fn a_metric_is_looked_up_once() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let meter = RequestMeter::new(Some(RouteName::new("shop").unwrap()));
        let (times, calls) =
            (RequestTimes::default(), CallTimes::new(AdapterName::new("vkyc").unwrap()));
        let happen = || {
            meter.count(Answered::As(Disposition::Accepted));
            times.record(Answered::As(Disposition::Accepted), Duration::from_millis(1));
            calls.record(Duration::from_millis(1));
        };
        metrics::with_local_recorder(&recorder, happen);
        // Whatever were looked up now would be another recorder's.
        happen();
        let rendered = recorder.handle().render();
        for counted in [
            r#"sluice_requests_total{route="shop",disposition="accepted"} 2"#,
            r#"sluice_request_seconds_count{disposition="accepted"} 2"#,
            r#"sluice_adapter_call_seconds_count{adapter="vkyc"} 2"#,
        ] {
            assert!(rendered.lines().any(|line| line == counted), "{counted}: {rendered}");
        }
    }

    #[test]
    fn a_series_begins_with_its_first_event_and_goes_on_in_the_next_meter_of_its_route() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let rendered = || recorder.handle().render();
        metrics::with_local_recorder(&recorder, || {
            let route = || Some(RouteName::new("shop").unwrap());
            let (before, after) = (RequestMeter::new(route()), RequestMeter::new(route()));
            assert_eq!(rendered(), "");
            before.count(Answered::As(Disposition::Accepted));
            before.count(Answered::As(Disposition::Accepted));
            after.count(Answered::As(Disposition::Accepted));
            after.count(Answered::Paused);
            RequestMeter::new(None).count(Answered::NotFound);
        });
        let mut lines: Vec<_> = rendered().lines().map(str::to_owned).collect();
        lines.retain(|line| line.starts_with("sluice_"));
        lines.sort_unstable();
        assert_eq!(
            lines,
            [
                r#"sluice_requests_total{route="-",disposition="not_found"} 1"#,
                r#"sluice_requests_total{route="shop",disposition="accepted"} 3"#,
                r#"sluice_requests_total{route="shop",disposition="paused"} 1"#,
            ]
        );
    }
}
