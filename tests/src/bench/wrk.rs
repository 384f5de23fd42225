//! Closed-loop load by wrk: as many requests as 64 connections get answered.

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::artifacts;
use crate::home::VKYC_SECRET;

/// Connections of every run; a run that ends abandons at most one request on each.
pub const CONNECTIONS: u32 = 64;

/// One thread fills two cores' worth of server; a second would take its time from the server.
const THREADS: u32 = 1;

/// What a run came to.
#[derive(Clone, Copy, Debug, PartialEq, serde::Deserialize)]
pub struct Run {
    /// Answers of any status.
    pub(super) answers: u64,
    pub seconds: f64,
    pub p50_us: f64,
    pub p99_us: f64,
    /// Answers from 400 on.
    pub refused: u64,
    /// Connections that broke, and answers that never came.
    pub broken: u64,
}

impl Run {
    /// Answers below 400; the servers of the bench have no others but 200.
    #[must_use]
    pub const fn answered_200(&self) -> u64 {
        self.answers.saturating_sub(self.refused)
    }

    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a count of requests in some seconds")]
    pub fn per_second(&self) -> f64 {
        self.answered_200() as f64 / self.seconds
    }
}

/// Posts VKYC payloads for this time. `ids`: a word that makes their ids differ from every other
/// run's.
///
/// # Errors
///
/// Where wrk is missing, fails, or saw a connection break.
pub fn run(server: SocketAddr, path: &str, ids: &str, time: Duration) -> anyhow::Result<Run> {
    script(server, path, "post.lua", &[ids], time)
}

/// Posts what a script of `tests/bench` makes of its arguments, for this time.
///
/// # Errors
///
/// As [`run`].
pub fn script(
    server: SocketAddr,
    path: &str,
    script: &str,
    arguments: &[&str],
    time: Duration,
) -> anyhow::Result<Run> {
    let script = artifacts::workspace().join("tests/bench").join(script);
    let output = Command::new("wrk")
        .arg(format!("--threads={THREADS}"))
        .arg(format!("--connections={CONNECTIONS}"))
        .arg(format!("--duration={}s", time.as_secs()))
        .arg("--script")
        .arg(script)
        .arg(format!("http://{server}{path}"))
        .arg("--")
        .args(arguments)
        // Not an argument: those are for everybody to see.
        .env("BENCH_SECRET", VKYC_SECRET)
        .stdin(Stdio::null())
        .output()
        .context("starting wrk (`cargo xtask bench` installs it)")?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        bail!("wrk failed: {}\n{text}", String::from_utf8_lossy(&output.stderr));
    }
    let run = parse(&text)?;
    if run.broken > 0 {
        bail!("{} connections broke under wrk:\n{text}", run.broken);
    }
    Ok(run)
}

fn parse(text: &str) -> anyhow::Result<Run> {
    let line = text.lines().rev().find(|line| line.starts_with('{'));
    serde_json::from_str(line.context("wrk printed no report")?).context("wrk's report")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_the_last_line_of_json() {
        let text = "Running 1s test\n  Thread Stats\n\
            {\"answers\":1000,\"seconds\":2.0,\"p50_us\":10.5,\"p99_us\":99.0,\"refused\":10,\"broken\":0}\n";
        let run = parse(text).unwrap();
        assert_eq!(run.answered_200(), 990);
        assert!((run.per_second() - 495.0).abs() < 1e-9);
        assert!(parse("Running 1s test\n").is_err());
    }
}
