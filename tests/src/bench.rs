//! What the bench is made of: load, counts and the table. `src/bin/bench.rs` puts it in order.

pub mod adapters;
pub mod against;
pub mod call;
pub mod commits;
pub mod counts;
pub mod h2load;
pub mod http;
pub mod load;
pub mod state;
pub mod table;
pub mod wrk;

use std::time::Duration;

use crate::{Gateway, wait_until};

/// Delivery of everything that a load left behind.
pub const DRAIN_MAX: Duration = Duration::from_secs(300);

/// Waits until nothing is left to be delivered.
///
/// # Errors
///
/// Where that takes longer than [`DRAIN_MAX`].
pub async fn settled(gateway: &Gateway) -> anyhow::Result<()> {
    wait_until("no delivery to be pending", DRAIN_MAX, || async {
        let metrics = gateway.admin_get("/metrics").await.ok()?.text();
        pending(&metrics).is_none_or(|pending| pending == 0.0).then_some(())
    })
    .await
}

/// The number of pending deliveries among the metrics, where it is one of them.
fn pending(metrics: &str) -> Option<f64> {
    let samples = metrics.lines().filter(|line| line.starts_with("sluice_deliveries_pending"));
    samples.map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

/// The value below which this share of `sorted` lies; zero where there is none.
#[must_use]
pub fn percentile(sorted: &[Duration], share: f64) -> Duration {
    let last = sorted.len().saturating_sub(1);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a rank among at most millions"
    )]
    let rank = (share * last as f64).round() as usize;
    sorted.get(rank.min(last)).copied().unwrap_or_default()
}

/// The middle value; of an even number, the lower of the two.
#[must_use]
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len().saturating_sub(1) / 2).copied().unwrap_or_default()
}

/// Says what is measured now.
#[expect(clippy::print_stdout, reason = "a bench speaks on its standard output")]
pub fn say(text: &str) {
    println!("{text}");
}

/// One line for a run, as it ends.
pub fn show(what: &str, run: &wrk::Run) {
    let wrk::Run { p50_us, p99_us, .. } = run;
    say(&format!(
        "  {what:<20} {:>9.0} requests/s   p50 {p50_us:>8.0} us   p99 {p99_us:>8.0} us",
        run.per_second()
    ));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_and_medians_are_values_that_occurred() {
        let times: Vec<_> = (1..=101).map(Duration::from_micros).collect();
        assert_eq!(percentile(&times, 0.5), Duration::from_micros(51));
        assert_eq!(percentile(&times, 0.99), Duration::from_micros(100));
        assert_eq!(percentile(&times, 1.0), Duration::from_micros(101));
        assert_eq!(percentile(&[], 0.5), Duration::ZERO);
        assert!((median(&[3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
        assert!((median(&[4.0, 1.0, 2.0, 3.0]) - 2.0).abs() < f64::EPSILON);
    }
}
