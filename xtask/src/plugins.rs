//! Adapters and test guests: compiled for the sandbox and turned into components.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, bail};
use wit_component::ComponentEncoder;

use crate::names::without_names;
use crate::process;
use crate::progress::Progress;
use crate::wasm::Toolchain;
use crate::workspace::{ComponentCrate, Workspace};

/// What a crate ends up as. The gateway loads both.
#[derive(Clone, Copy, Debug)]
enum Form {
    /// What operators deploy.
    Component,
    /// As cargo leaves it, with its WIT in a section of its own: what an author may have at hand.
    CoreModule,
}

/// Where the crates lie in the workspace, and where and in which form they go under `target`.
const FOLDERS: [(&str, &str, Form); 2] =
    [("plugins", "plugins", Form::Component), ("tests/guests", "guests", Form::CoreModule)];

/// Builds every adapter and every test guest.
///
/// # Errors
///
/// Where there is no toolchain for it, or one does not compile or is no component.
pub(crate) fn build(workspace: &Workspace, progress: &Progress) -> anyhow::Result<()> {
    build_folders(workspace, progress, &FOLDERS)
}

/// Builds every adapter, and no guests: what running the gateway needs.
///
/// # Errors
///
/// As [`build`].
pub(crate) fn build_adapters(workspace: &Workspace, progress: &Progress) -> anyhow::Result<()> {
    let [adapters, _] = FOLDERS;
    build_folders(workspace, progress, &[adapters])
}

fn build_folders(
    workspace: &Workspace,
    progress: &Progress,
    folders: &[(&str, &str, Form)],
) -> anyhow::Result<()> {
    let toolchain = Toolchain::prepare(workspace, progress)?;
    let mut crates = Vec::new();
    for (from, to, form) in folders {
        let into = workspace.target.join(to);
        fs::create_dir_all(&into).context("making a folder for components")?;
        let found = workspace.component_crates(from)?.into_iter();
        crates.extend(found.map(|component| (component, *form, into.clone())));
    }
    if crates.is_empty() {
        bail!("no adapter lies in `plugins`");
    }
    progress.step(&format!("Building {} components", crates.len()));
    for (component, ..) in &crates {
        process::run(&mut toolchain.cargo_build(workspace, &component.package))?;
    }
    let modules = toolchain.modules(workspace);
    for (component, form, into) in &crates {
        let line = make(component, *form, &modules, into)
            .with_context(|| format!("making `{}` a component", component.name))?;
        progress.detail(&line);
    }
    Ok(())
}

/// Writes what cargo built in the form it is wanted in; returns the line that tells of it.
fn make(
    component: &ComponentCrate,
    form: Form,
    modules: &Path,
    into: &Path,
) -> anyhow::Result<String> {
    let module = modules.join(&component.module);
    let module = fs::read(&module).with_context(|| format!("reading {}", module.display()))?;
    let module = without_names(&module).context("it is no module")?;
    let bytes = match form {
        Form::Component => ComponentEncoder::default().module(&module)?.validate(true).encode()?,
        Form::CoreModule => module,
    };
    let file = into.join(format!("{}.wasm", component.name));
    // An unchanged file keeps its time, so that a running gateway has nothing to load.
    let done = if fs::read(&file).is_ok_and(|old| old == bytes) {
        "unchanged"
    } else {
        replace(&file, &bytes)?;
        "written"
    };
    let size = bytes.len().div_ceil(1024);
    Ok(format!("{:<20} {size:>5} KiB  {done}", component.name))
}

/// Writes beside the file and renames, so that nobody reads half of it.
///
/// # Errors
///
/// Where the folder cannot be written.
pub(crate) fn replace(file: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let half = file.with_extension("new");
    fs::write(&half, bytes).with_context(|| format!("writing {}", half.display()))?;
    fs::rename(&half, file).with_context(|| format!("writing {}", file.display()))
}
