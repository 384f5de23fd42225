//! `cargo xtask run`: from a fresh checkout to a gateway that serves `config/sluice.toml`.

use std::ffi::OsString;
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, bail};

use crate::plugins;
use crate::process;
use crate::progress::Progress;
use crate::secrets;
use crate::workspace::Workspace;

/// Prepares, builds, and becomes the gateway.
///
/// # Errors
///
/// Where something is missing or does not build; then with the remedy.
pub(crate) fn run(
    workspace: &Workspace,
    progress: &Progress,
    options: &[OsString],
) -> anyhow::Result<ExitCode> {
    let config = workspace.root.join("config");
    progress.step("Building the gateway (release)");
    process::run(process::cargo(&workspace.root).args([
        "build",
        "--release",
        "--package",
        "sluice",
    ]))?;
    plugins::build_adapters(workspace, progress)?;
    copy_changed(&workspace.target.join("plugins"), &config.join("plugins"), progress)?;
    let made = secrets::make_missing(&config.join("secrets"))?;
    if !made.is_empty() {
        progress.step(&format!("Made secrets in config/secrets: {}", made.join(", ")));
    }
    progress.step("Starting the gateway (Ctrl-C stops it)");
    Err(become_gateway(workspace, &config.join("sluice.toml"), options))
}

/// Copies components that differ, so that the folder's watcher sees only changes.
fn copy_changed(from: &Path, to: &Path, progress: &Progress) -> anyhow::Result<()> {
    fs::create_dir_all(to).with_context(|| format!("making {}", to.display()))?;
    for entry in fs::read_dir(from).context("listing built adapters")? {
        let file = entry.context("listing built adapters")?.path();
        let Some(name) = file.file_name().filter(|_| has_extension(&file, "wasm")) else {
            continue;
        };
        let bytes = fs::read(&file).with_context(|| format!("reading {}", file.display()))?;
        let copy = to.join(name);
        if !fs::read(&copy).is_ok_and(|old| old == bytes) {
            plugins::replace(&copy, &bytes)?;
            progress.detail(&format!("copied {} to config/plugins", name.to_string_lossy()));
        }
    }
    Ok(())
}

fn has_extension(file: &Path, extension: &str) -> bool {
    file.extension().is_some_and(|found| found == extension)
}

/// Replaces this process. Returns only where that fails.
fn become_gateway(workspace: &Workspace, config: &Path, options: &[OsString]) -> anyhow::Error {
    match leave_announcer(workspace) {
        Err(error) => error,
        Ok(ready_file) => {
            let gateway = workspace.target.join("release/sluice");
            let error = Command::new(&gateway)
                .arg("run")
                .arg("--config")
                .arg(config)
                .arg("--ready-file")
                .arg(ready_file)
                .args(options)
                .exec();
            anyhow::Error::new(error).context(format!("starting {}", gateway.display()))
        }
    }
}

fn leave_announcer(workspace: &Workspace) -> anyhow::Result<std::path::PathBuf> {
    let folder = workspace.target.join("run");
    fs::create_dir_all(&folder).context("making a folder for the ready file")?;
    let ready_file = folder.join("ready.json");
    if ready_file.exists() {
        fs::remove_file(&ready_file).context("removing an old ready file")?;
    }
    let status = Command::new(std::env::current_exe().context("finding ourselves")?)
        .arg("announce")
        .arg("--detach")
        .arg(&ready_file)
        .arg(std::process::id().to_string())
        .status()
        .context("starting the announcer")?;
    if !status.success() {
        bail!("the announcer did not start");
    }
    Ok(ready_file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_changed_components_are_copied() {
        let folder = std::env::temp_dir().join(format!("xtask-copy-{}", std::process::id()));
        let (from, to) = (folder.join("from"), folder.join("to"));
        fs::create_dir_all(&from).unwrap();
        fs::write(from.join("a.wasm"), "one").unwrap();
        fs::write(from.join("a.new"), "half").unwrap();
        let progress = Progress::start();
        copy_changed(&from, &to, &progress).unwrap();
        assert_eq!(fs::read(to.join("a.wasm")).unwrap(), b"one");
        assert!(!to.join("a.new").exists());
        let before = fs::metadata(to.join("a.wasm")).unwrap().modified().unwrap();
        copy_changed(&from, &to, &progress).unwrap();
        assert_eq!(fs::metadata(to.join("a.wasm")).unwrap().modified().unwrap(), before);
        fs::write(from.join("a.wasm"), "two").unwrap();
        copy_changed(&from, &to, &progress).unwrap();
        assert_eq!(fs::read(to.join("a.wasm")).unwrap(), b"two");
        fs::remove_dir_all(&folder).unwrap();
    }
}
