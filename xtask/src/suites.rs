//! Test programs: which ones cargo built, and what running one came to.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::Value;

/// One test program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Suite {
    /// Package and target, as `sluice lib`.
    pub(crate) name: String,
    pub(crate) executable: PathBuf,
    /// Its package's folder, in which cargo would run it.
    pub(crate) folder: PathBuf,
}

impl Suite {
    /// Whether that is its target's name: then all of its tests are meant.
    pub(crate) fn is_called(&self, filter: &str) -> bool {
        self.name.rsplit_once(' ').is_some_and(|(_, target)| target == filter)
    }
}

/// What a suite came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) ignored: u64,
    pub(crate) took: Duration,
}

/// Reads the test programs out of cargo's JSON messages, in order of their names.
pub(crate) fn from_messages(messages: &str) -> Vec<Suite> {
    let mut suites: Vec<Suite> = messages
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .filter_map(|message: Value| suite(&message))
        .collect();
    // The black-box suite runs last: a failure of a unit explains its failures.
    suites.sort_by_key(|suite| (suite.name.ends_with(" it"), suite.name.clone()));
    suites
}

fn suite(message: &Value) -> Option<Suite> {
    let is_test = message.get("profile")?.get("test")?.as_bool()?;
    let executable = message.get("executable")?.as_str().filter(|_| is_test)?;
    let target = message.get("target")?;
    let folder = PathBuf::from(message.get("manifest_path")?.as_str()?).parent()?.to_owned();
    let package = folder.file_name()?.to_string_lossy().into_owned();
    let kind = target.get("kind")?.get(0)?.as_str()?;
    let name = match kind {
        "bin" => format!("{package} bin {}", target.get("name")?.as_str()?),
        "test" => format!("{package} {}", target.get("name")?.as_str()?),
        _ => format!("{package} lib"),
    };
    Some(Suite { name, executable: executable.into(), folder })
}

/// Runs a test program, shows what it prints, and counts. One that ends without a result, or that
/// is still running after `at_most` and is ended, counts one failure.
///
/// # Errors
///
/// Where it cannot be started.
pub(crate) fn run(command: &mut Command, at_most: Duration) -> anyhow::Result<Tally> {
    let started = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("starting {}", command.get_program().display()))?;
    let output = child.stdout.take().context("a test program without output")?;
    let child = Arc::new(Mutex::new(child));
    let (finished, watch) = mpsc::channel::<()>();
    let watchdog = thread::spawn({
        let child = Arc::clone(&child);
        move || {
            if watch.recv_timeout(at_most) == Err(mpsc::RecvTimeoutError::Timeout) {
                println!("\nstill running after {} min: ended", at_most.as_secs() / 60);
                if let Err(error) = lock(&child).kill() {
                    println!("could not end it: {error}");
                }
            }
        }
    });
    let mut tally = Tally::default();
    let mut results = 0_u32;
    for line in BufReader::new(output).split(b'\n') {
        let line = line.context("reading the output of tests")?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        if let Some(result) = parse_result(&line) {
            results += 1;
            tally.passed += result.passed;
            tally.failed += result.failed;
            tally.ignored += result.ignored;
        }
    }
    // The receiver is gone where the time was up: nobody is left to tell.
    drop(finished);
    let status = lock(&child).wait().context("waiting for tests")?;
    if watchdog.join().is_err() || results == 0 || (!status.success() && tally.failed == 0) {
        println!("the suite ended without a result of its own: {status}");
        tally.failed += 1;
    }
    tally.took = started.elapsed();
    Ok(tally)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads `test result: ok. 3 passed; 0 failed; 1 ignored; …`.
fn parse_result(line: &str) -> Option<Tally> {
    let counts = line.strip_prefix("test result: ")?.split_once(". ")?.1;
    let mut tally = Tally::default();
    for part in counts.split("; ") {
        let Some((number, word)) = part.split_once(' ') else { continue };
        let Ok(number) = number.parse() else { continue };
        match word {
            "passed" => tally.passed = number,
            "failed" => tally.failed = number,
            "ignored" => tally.ignored = number,
            _ => {}
        }
    }
    Some(tally)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGES: &str = concat!(
        r#"{"reason":"compiler-artifact","manifest_path":"/w/tests/Cargo.toml","target":{"kind":["test"],"name":"it"},"profile":{"test":true},"executable":"/t/it-1"}"#,
        "\n",
        r#"{"reason":"compiler-artifact","manifest_path":"/w/tests/Cargo.toml","target":{"kind":["bin"],"name":"bench"},"profile":{"test":false},"executable":"/t/bench"}"#,
        "\n",
        r#"{"reason":"compiler-artifact","manifest_path":"/w/xtask/Cargo.toml","target":{"kind":["lib"],"name":"x"},"profile":{"test":true},"executable":"/t/x-1"}"#,
        "\n",
        r#"{"reason":"build-finished","success":true}"#,
        "\nnot JSON\n",
    );

    #[test]
    fn test_programs_are_found_and_black_box_tests_come_last() {
        let suites = from_messages(MESSAGES);
        let names: Vec<_> = suites.iter().map(|suite| suite.name.as_str()).collect();
        assert_eq!(names, ["xtask lib", "tests it"]);
        assert_eq!(suites[1].executable, PathBuf::from("/t/it-1"));
        assert_eq!(suites[1].folder, PathBuf::from("/w/tests"));
        assert!(suites[1].is_called("it"));
        assert!(!suites[1].is_called("tests") && !suites[1].is_called("i"));
    }

    #[track_caller]
    fn check(script: &str, (passed, failed, ignored): (u64, u64, u64)) {
        let mut command = Command::new("sh");
        let tally = run(command.args(["-c", script]), Duration::from_secs(20)).unwrap();
        assert_eq!((tally.passed, tally.failed, tally.ignored), (passed, failed, ignored));
    }

    #[test]
    fn results_are_counted_and_none_is_a_failure() {
        let ok = "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out";
        check(&format!("echo '{ok}'"), (3, 0, 1));
        check(&format!("echo '{ok}'; echo '{ok}'"), (6, 0, 2));
        check("echo 'test result: FAILED. 1 passed; 2 failed; 0 ignored'; exit 101", (1, 2, 0));
        check("echo nothing", (0, 1, 0));
        check(&format!("echo '{ok}'; kill -9 $$"), (3, 1, 1));
    }

    #[test]
    fn a_suite_that_hangs_is_ended() {
        let mut command = Command::new("sleep");
        let tally = run(command.arg("600"), Duration::from_millis(50)).unwrap();
        assert_eq!((tally.passed, tally.failed), (0, 1));
        assert!(tally.took < Duration::from_secs(60));
    }
}
