//! The metrics registry, in Prometheus' text format.

use std::sync::{Mutex, PoisonError};

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

use super::delivery::DELIVERY_SECONDS;

/// Upper bounds of latency histograms, in seconds: from a warm sandbox call to a slow destination.
const SECONDS: [f64; 14] = [
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 0.5, 1.0, 5.0,
    15.0,
];

/// Upper bounds of what a delivery takes, in seconds: from a write to a file to a receiver that was
/// down for a day.
const DELIVERY_SECONDS_BOUNDS: [f64; 14] = [
    0.005, 0.01, 0.025, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 1_800.0, 7_200.0, 36_000.0, 86_400.0,
];

fn builder() -> Result<PrometheusBuilder, BuildError> {
    let delivery = Matcher::Full(DELIVERY_SECONDS.to_owned());
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?
        .set_buckets_for_metric(delivery, &DELIVERY_SECONDS_BOUNDS)
}

/// The process-wide registry.
#[derive(Clone)]
pub struct Metrics(PrometheusHandle);

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics(…)")
    }
}

impl Metrics {
    /// The registry of this process, made and installed at the first call.
    ///
    /// # Errors
    ///
    /// Where another recorder was installed before.
    pub fn install() -> anyhow::Result<Self> {
        static INSTALLED: Mutex<Option<PrometheusHandle>> = Mutex::new(None);
        let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(handle) = &*installed {
            return Ok(Self(handle.clone()));
        }
        let handle = builder()?.install_recorder()?;
        *installed = Some(handle.clone());
        Ok(Self(handle))
    }

    /// What `/metrics` is answered from. Its upkeep is due every few seconds.
    #[must_use]
    pub fn handle(&self) -> PrometheusHandle {
        self.0.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_that_took_hours_is_told_from_one_that_took_minutes() {
        let recorder = builder().unwrap().build_recorder();
        let shown = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            for seconds in [0.003, 200.0, 10_000.0] {
                metrics::histogram!(DELIVERY_SECONDS).record(seconds);
                metrics::histogram!("sluice_request_seconds").record(seconds);
            }
        });
        let text = shown.render();
        for line in [
            "sluice_delivery_seconds_bucket{le=\"0.005\"} 1",
            "sluice_delivery_seconds_bucket{le=\"300\"} 2",
            "sluice_delivery_seconds_bucket{le=\"36000\"} 3",
            "sluice_request_seconds_bucket{le=\"0.0025\"} 0",
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line} in {text}");
        }
    }
}
