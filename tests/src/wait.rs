//! Waiting for what happens elsewhere: always for a condition, never for a time.

use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::bail;

/// The first pause between two looks.
const PAUSE_MIN: Duration = Duration::from_millis(2);

/// The longest: an answer is late by no more than this.
const PAUSE_MAX: Duration = Duration::from_millis(50);

/// Looks until `look` finds something, pausing longer each time.
///
/// # Errors
///
/// Where nothing is found in time; `what` names what was waited for.
pub async fn wait_until<T, F>(
    what: &str,
    at_most: Duration,
    look: impl FnMut() -> F,
) -> anyhow::Result<T>
where
    F: Future<Output = Option<T>>,
{
    wait_pausing(what, at_most, PAUSE_MAX, look).await
}

/// [`wait_until`] with a longest pause of its own, for what is measured.
pub(crate) async fn wait_pausing<T, F>(
    what: &str,
    at_most: Duration,
    pause_max: Duration,
    mut look: impl FnMut() -> F,
) -> anyhow::Result<T>
where
    F: Future<Output = Option<T>>,
{
    let started = Instant::now();
    let mut pause = PAUSE_MIN.min(pause_max);
    loop {
        if let Some(found) = look().await {
            return Ok(found);
        }
        if started.elapsed() >= at_most {
            bail!("waited {at_most:?} for {what}");
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(pause_max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_looks_until_something_is_found_and_no_longer_than_allowed() {
        let mut looks = 0;
        let found = wait_until("the third look", Duration::from_secs(10), || {
            looks += 1;
            let found = (looks == 3).then_some(looks);
            async move { found }
        });
        assert_eq!(found.await.unwrap(), 3);
        let never = wait_until("rain", Duration::from_millis(5), || async { None::<()> });
        assert!(never.await.unwrap_err().to_string().contains("for rain"));
    }
}
