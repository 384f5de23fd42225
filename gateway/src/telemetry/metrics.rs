//! The metrics registry, in Prometheus' text format.

use std::sync::{Mutex, PoisonError};

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// Upper bounds of latency histograms, in seconds: from a warm sandbox call to a slow destination.
const SECONDS: [f64; 14] = [
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 0.5, 1.0, 5.0,
    15.0,
];

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
        let handle = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?
            .install_recorder()?;
        *installed = Some(handle.clone());
        Ok(Self(handle))
    }

    /// What `/metrics` is answered from. Its upkeep is due every few seconds.
    #[must_use]
    pub fn handle(&self) -> PrometheusHandle {
        self.0.clone()
    }
}
