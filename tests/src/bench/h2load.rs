//! h2load (Debian `nghttp2-client`): the same closed loop in HTTP/1.1 and in HTTP/2.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};

use super::percentile;
use super::wrk::{CONNECTIONS, Run};

/// Of HTTP/2: together as many requests in flight as HTTP/1.1 has connections.
const HTTP_2_CONNECTIONS: u32 = 8;

/// Which version is to be spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// One request at a time on each of many connections.
    Http1,
    /// Many requests at a time on each of a few.
    Http2,
}

/// What is posted, again and again.
#[derive(Clone, Copy, Debug)]
pub struct Post<'a> {
    pub url: &'a str,
    /// Name and value.
    pub header: (&'a str, &'a str),
    pub body: &'a str,
}

/// Posts for this time. `folder`: where h2load may leave its files.
///
/// # Errors
///
/// Where h2load is missing, fails, or saw a connection break.
pub fn run(version: Version, post: Post<'_>, folder: &Path, time: Duration) -> anyhow::Result<Run> {
    let (data, log) = (folder.join("h2load.body"), folder.join("h2load.log"));
    fs::write(&data, post.body).context("writing a body")?;
    // h2load adds to a log that is there.
    if log.exists() {
        fs::remove_file(&log).context("removing a log")?;
    }
    let mut command = Command::new("h2load");
    let (connections, streams) = match version {
        Version::Http1 => {
            command.arg("--h1");
            (CONNECTIONS, 1)
        }
        Version::Http2 => (HTTP_2_CONNECTIONS, CONNECTIONS / HTTP_2_CONNECTIONS),
    };
    command
        .arg(format!("--clients={connections}"))
        .arg(format!("--max-concurrent-streams={streams}"))
        .arg(format!("--duration={}", time.as_secs()))
        .arg(format!("--data={}", data.display()))
        .arg(format!("--log-file={}", log.display()))
        // It has no other place for it: the secret of a bench is for everybody to see.
        .arg(format!("--header={}: {}", post.header.0, post.header.1))
        .arg(post.url);
    let output = command
        .stdin(Stdio::null())
        .output()
        .context("starting h2load (`cargo xtask bench` installs it)")?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        bail!("h2load failed: {}\n{text}", String::from_utf8_lossy(&output.stderr));
    }
    let latencies = latencies(&fs::read_to_string(&log).context("reading h2load's log")?)?;
    let run = parse(&text, &latencies).with_context(|| format!("h2load's report:\n{text}"))?;
    ensure!(run.broken == 0, "{} requests broke under h2load:\n{text}", run.broken);
    Ok(run)
}

/// The third column of its log, in microseconds; sorted.
fn latencies(log: &str) -> anyhow::Result<Vec<Duration>> {
    let third = |line: &str| line.split('\t').nth(2)?.parse().ok().map(Duration::from_micros);
    let latencies: Option<Vec<Duration>> = log.lines().map(third).collect();
    let mut latencies = latencies.context("h2load's log")?;
    latencies.sort_unstable();
    Ok(latencies)
}

fn parse(text: &str, latencies: &[Duration]) -> anyhow::Result<Run> {
    let line = |begin: &str| {
        let found = text.lines().find_map(|line| line.strip_prefix(begin));
        found.with_context(|| format!("no line `{begin}`"))
    };
    // "64 total, 64 started": each number before its word.
    let number = |line: &str, word: &str| -> anyhow::Result<u64> {
        let part = line.split(", ").find_map(|part| part.trim().strip_suffix(word));
        part.and_then(|part| part.trim().parse().ok()).with_context(|| format!("no `{word}`"))
    };
    let (requests, codes) = (line("requests: ")?, line("status codes: ")?);
    let seconds = line("finished in ")?.split('s').next().context("no time")?;
    let refused = number(codes, "4xx")? + number(codes, "5xx")?;
    let micros = |share| percentile(latencies, share).as_secs_f64() * 1e6;
    Ok(Run {
        answers: number(codes, "2xx")? + number(codes, "3xx")? + refused,
        seconds: seconds.parse().context("a time")?,
        p50_us: micros(0.5),
        p99_us: micros(0.99),
        refused,
        broken: number(requests, "errored")? + number(requests, "timeout")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = "starting benchmark...\n\nfinished in 3.00s, 3741.00 req/s, 99.16KB/s\n\
        requests: 11223 total, 11287 started, 11223 done, 11213 succeeded, 10 failed, 2 errored, 1 timeout\n\
        status codes: 11213 2xx, 0 3xx, 4 4xx, 6 5xx\ntraffic: 297.47KB (304605) total\n";

    #[test]
    fn a_report_is_read_by_its_words_and_the_log_by_its_third_column() {
        let log = "1795657874337399\t200\t9304\n1795657874337406\t200\t9300\n1795657874337411\t503\t9355\n";
        let latencies = latencies(log).unwrap();
        let run = parse(REPORT, &latencies).unwrap();
        assert_eq!((run.answers, run.refused, run.broken), (11_223, 10, 3));
        assert_eq!(run.answered_200(), 11_213);
        let near = |value: f64, expected: f64| (value - expected).abs() < 1e-9;
        assert!(near(run.seconds, 3.0) && near(run.p50_us, 9_304.0) && near(run.p99_us, 9_355.0));
    }

    #[test]
    fn what_is_no_report_is_told() {
        assert!(parse("finished in 0us, 0 req/s\n", &[]).is_err());
        assert!(latencies("a\tb\n").is_err());
    }
}
