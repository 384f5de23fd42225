//! A Python environment with other people's implementations of the standards that events follow:
//! the tests ask them whether they accept ours.

use std::fs;
use std::process::Command;

use anyhow::Context as _;

use crate::debian::{self, Need};
use crate::process;
use crate::progress::Progress;
use crate::workspace::Workspace;

/// The pinned packages, as pip reads them.
const REQUIREMENTS: &str = "tests/requirements.txt";

/// Makes `target/tools/venv`, once for each change of the requirements.
///
/// # Errors
///
/// Where Python is missing and may not be installed, or its package index does not answer.
pub(crate) fn prepare(workspace: &Workspace, progress: &Progress) -> anyhow::Result<()> {
    debian::ensure(
        progress,
        &[Need { package: "python3-venv", probe: &["python3", "-c", "import ensurepip, venv"] }],
    )?;
    let file = workspace.root.join(REQUIREMENTS);
    let wanted = fs::read_to_string(&file).with_context(|| format!("reading {REQUIREMENTS}"))?;
    let venv = workspace.target.join("tools/venv");
    let installed = venv.join("installed.txt");
    if fs::read_to_string(&installed).is_ok_and(|found| found == wanted) {
        return Ok(());
    }
    progress.step("Installing Python packages that check our signatures and events");
    process::read(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv))?;
    process::read(
        Command::new(venv.join("bin/pip"))
            .args(["install", "--quiet", "--disable-pip-version-check", "--requirement"])
            .arg(&file),
    )
    .with_context(|| format!("installing {REQUIREMENTS} needs a Python package index"))?;
    fs::write(&installed, wanted).context("noting what is installed")
}
