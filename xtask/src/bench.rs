//! `cargo xtask bench`: builds what is measured as `run` builds it, and starts the bench program.

use std::ffi::OsString;
use std::process::{Command, ExitCode};

use crate::debian::{self, Need};
use crate::plugins;
use crate::process;
use crate::progress::Progress;
use crate::workspace::Workspace;

/// The load generators.
const NEEDS: [Need; 2] = [
    Need { package: "wrk", probe: &["sh", "-c", "command -v wrk"] },
    Need { package: "nghttp2-client", probe: &["sh", "-c", "command -v h2load"] },
];

/// Prepares, builds and measures. Fails where the counts of the bench do not agree.
///
/// # Errors
///
/// Where something is missing, does not build, or the bench fails.
pub(crate) fn bench(
    workspace: &Workspace,
    progress: &Progress,
    options: &[OsString],
) -> anyhow::Result<ExitCode> {
    debian::ensure(progress, &NEEDS)?;
    progress.step("Building the gateway (release)");
    // By itself, so that it is the very program that `run` builds, with the same features.
    process::run(process::cargo(&workspace.root).args([
        "build",
        "--release",
        "--package",
        "sluice",
    ]))?;
    progress.step("Building the bench programs (release)");
    process::run(process::cargo(&workspace.root).args([
        "build",
        "--release",
        "--package=sluice-tests",
        "--bins",
    ]))?;
    plugins::build_adapters(workspace, progress)?;
    progress.step("Measuring");
    process::run(Command::new(workspace.target.join("release/bench")).args(options))?;
    Ok(ExitCode::SUCCESS)
}
