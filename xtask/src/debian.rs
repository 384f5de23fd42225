//! Debian packages that a command needs: installed where we may, else named with the command.

use std::process::Command;

use anyhow::{Context as _, bail};

use crate::process;
use crate::progress::Progress;

/// Something needed from the system, and the package that brings it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Need {
    pub(crate) package: &'static str,
    /// Succeeds where it is there already.
    pub(crate) probe: &'static [&'static str],
}

/// Sees to it that everything needed is there.
///
/// # Errors
///
/// With the command to type, where something is missing and cannot be installed.
pub(crate) fn ensure(progress: &Progress, needs: &[Need]) -> anyhow::Result<()> {
    let missing: Vec<&str> =
        needs.iter().filter(|need| !is_there(need)).map(|need| need.package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    progress.step(&format!("Installing Debian packages: {}", missing.join(" ")));
    install(&missing)?;
    if let Some(need) = needs.iter().find(|need| !is_there(need)) {
        bail!("`{}` is installed, but `{}` still fails", need.package, need.probe.join(" "));
    }
    Ok(())
}

/// Installs packages with apt.
///
/// # Errors
///
/// With the command to type, where there is no apt, or we may not, or it fails.
pub(crate) fn install(packages: &[&str]) -> anyhow::Result<()> {
    let remedy = format!(
        "install them and try again: apt-get update && apt-get install -y \
         --no-install-recommends {}",
        packages.join(" ")
    );
    if !process::exists("apt-get")? {
        bail!("missing: {}. There is no apt-get here; {remedy}", packages.join(" "));
    }
    if !is_root()? {
        bail!("missing: {}. As root, {remedy}", packages.join(" "));
    }
    // The lists may be fresh enough; a new machine has none.
    if apt_install(packages).is_ok() {
        return Ok(());
    }
    process::read(apt().arg("update")).context("reading Debian's package lists")?;
    apt_install(packages).map(drop).context(remedy)
}

fn apt_install(packages: &[&str]) -> anyhow::Result<String> {
    process::read(apt().args(["install", "-y", "--no-install-recommends"]).args(packages))
}

fn apt() -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command
}

/// Whether we run as root.
pub(crate) fn is_root() -> anyhow::Result<bool> {
    Ok(process::read(Command::new("id").arg("-u"))?.trim() == "0")
}

fn is_there(need: &Need) -> bool {
    let mut words = need.probe.iter();
    words.next().is_some_and(|program| process::read(Command::new(program).args(words)).is_ok())
}
