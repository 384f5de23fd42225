//! `cargo xtask test`: every test, one suite after another, and a table of what they came to.
//!
//! Everything is built in one go, with the features of the whole workspace, and each test program
//! is then run by itself: asking cargo for one package at a time would build most libraries again
//! with other features.

use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use crate::debian::{self, Need};
use crate::plugins;
use crate::process;
use crate::progress::{Progress, clock};
use crate::python;
use crate::suites::{self, Suite, Tally};
use crate::workspace::Workspace;

/// Seen by tests that have a longer form.
const LONG_VARIABLE: &str = "SLUICE_TEST_LONG";

/// A suite that runs longer hangs. All of them together are meant to take 6 minutes.
const SUITE_MAX: Duration = Duration::from_secs(20 * 60);

/// The same with `--long`.
const LONG_SUITE_MAX: Duration = Duration::from_secs(120 * 60);

/// Programs that tests run: the proxies that we ship configurations for, what makes their
/// certificates, what attacks slowly, and what the unit for systemd is checked with.
const PROGRAMS: [Need; 7] = [
    Need { package: "nginx-light", probe: &["nginx", "-v"] },
    Need { package: "haproxy", probe: &["haproxy", "-v"] },
    Need { package: "caddy", probe: &["caddy", "version"] },
    Need { package: "openssl", probe: &["openssl", "version"] },
    // It has no way to be asked its version: it prints its options and fails.
    Need { package: "slowhttptest", probe: &["sh", "-c", "command -v slowhttptest"] },
    Need { package: "strace", probe: &["strace", "--version"] },
    Need { package: "systemd", probe: &["systemd-analyze", "--version"] },
];

/// What the longer forms need beside: a machine whose power can be cut, its disk and its network.
const LONG_PROGRAMS: [Need; 3] = [
    Need { package: "user-mode-linux", probe: &["linux.uml", "--version"] },
    Need { package: "e2fsprogs", probe: &["mkfs.ext4", "-V"] },
    Need { package: "iproute2", probe: &["ip", "-V"] },
];

/// Which tests to run.
#[derive(Debug)]
pub(crate) struct Selection {
    pub(crate) long: bool,
    /// Part of a test's name, or the name of a test program, as `overload`.
    pub(crate) filter: Option<String>,
}

/// Prepares, builds and runs. Fails where any test did.
///
/// # Errors
///
/// Where something is missing or does not build; then with the remedy.
pub(crate) fn test(
    workspace: &Workspace,
    progress: &Progress,
    selection: &Selection,
) -> anyhow::Result<ExitCode> {
    debian::ensure(progress, &PROGRAMS)?;
    if selection.long {
        debian::ensure(progress, &LONG_PROGRAMS)?;
    }
    python::prepare(workspace, progress)?;
    plugins::build(workspace, progress)?;
    progress.step("Building the gateway and the tests");
    let suites = build_suites(workspace)?;
    let mut table = Vec::new();
    for suite in &suites {
        progress.step(&format!("Running {}", suite.name));
        table.push((suite.name.clone(), run(suite, selection)?));
    }
    progress.step("Running examples in documentation");
    table.push(("documentation".to_owned(), run_examples(workspace, selection)?));
    Ok(report(&table))
}

/// Unit tests of every library and program, and every integration test.
fn build_suites(workspace: &Workspace) -> anyhow::Result<Vec<Suite>> {
    let output = process::cargo(&workspace.root)
        // One selection for all, programs included: another would compile the libraries again
        // with other features.
        .args(["test", "--no-run", "--workspace", "--tests", "--features", "sluice/faults"])
        .arg("--message-format=json-render-diagnostics")
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("starting cargo")?;
    if !output.status.success() {
        bail!("the tests do not build: {}", output.status);
    }
    let suites = suites::from_messages(&String::from_utf8_lossy(&output.stdout));
    if suites.is_empty() {
        bail!("cargo built no tests");
    }
    Ok(suites)
}

fn run(suite: &Suite, selection: &Selection) -> anyhow::Result<Tally> {
    let mut command = Command::new(&suite.executable);
    command.current_dir(&suite.folder).env("CARGO_MANIFEST_DIR", &suite.folder);
    // Seeds and figures are for whoever reads the log, also where all went well. Not of the tests
    // of this program: what they print are results, which would be counted.
    if !suite.name.starts_with("xtask") {
        command.arg("--show-output");
    }
    let whole = selection.filter.as_deref().is_some_and(|filter| suite.is_called(filter));
    select(&mut command, selection, whole);
    suites::run(&mut command, suite_max(selection))
}

/// The examples in the documentation of every library.
fn run_examples(workspace: &Workspace, selection: &Selection) -> anyhow::Result<Tally> {
    let started = Instant::now();
    let mut command = process::cargo(&workspace.root);
    command.args(["test", "--doc", "--workspace", "--features", "sluice/faults", "--"]);
    select(&mut command, selection, false);
    let mut tally = suites::run(&mut command, suite_max(selection))?;
    tally.took = started.elapsed();
    Ok(tally)
}

/// Chooses tests: all of them, where the filter names the program itself.
fn select(command: &mut Command, selection: &Selection, whole: bool) {
    if !whole {
        command.args(&selection.filter);
    }
    if selection.long {
        command.env(LONG_VARIABLE, "1");
    }
}

const fn suite_max(selection: &Selection) -> Duration {
    if selection.long { LONG_SUITE_MAX } else { SUITE_MAX }
}

/// Prints the table and decides how the command ends.
fn report(table: &[(String, Tally)]) -> ExitCode {
    println!("\n{:<28} {:>7} {:>7} {:>8} {:>8}", "suite", "passed", "failed", "ignored", "min:s");
    let mut sum = Tally::default();
    for (name, tally) in table {
        println!("{}", row(name, tally));
        sum.passed += tally.passed;
        sum.failed += tally.failed;
        sum.ignored += tally.ignored;
        sum.took += tally.took;
    }
    println!("{}", row("all", &sum));
    println!("\n{} passed, {} failed", sum.passed, sum.failed);
    // A filter that fits no test is a mistake, not a success.
    if sum.failed > 0 || sum.passed == 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn row(name: &str, tally: &Tally) -> String {
    let Tally { passed, failed, ignored, took } = tally;
    format!("{name:<28} {passed:>7} {failed:>7} {ignored:>8} {:>8}", clock(*took))
}
