//! Where the built things are: found from the running program, which lies among them.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

/// The gateway's own program, of the same profile as this one.
///
/// # Errors
///
/// Where it is not built.
pub fn gateway() -> anyhow::Result<PathBuf> {
    built(profile_folder()?.join("sluice"))
}

/// Another program of this package.
///
/// # Errors
///
/// Where it is not built.
pub fn program(name: &str) -> anyhow::Result<PathBuf> {
    built(profile_folder()?.join(name))
}

/// The component of a bundled adapter.
///
/// # Errors
///
/// Where it is not built.
pub fn plugin(name: &str) -> anyhow::Result<PathBuf> {
    built(target_folder()?.join("plugins").join(format!("{name}.wasm")))
}

/// The component of a test guest.
///
/// # Errors
///
/// Where it is not built.
pub fn guest(name: &str) -> anyhow::Result<PathBuf> {
    built(target_folder()?.join("guests").join(format!("{name}.wasm")))
}

/// The bytes of a guest of that name: one of the tests, else a bundled adapter.
///
/// # Errors
///
/// Where neither is built.
pub fn artifact(name: &str) -> anyhow::Result<Vec<u8>> {
    let file = guest(name).or_else(|_| plugin(name))?;
    std::fs::read(&file).with_context(|| format!("reading {}", file.display()))
}

/// The Python that has the packages of `tests/requirements.txt`.
///
/// # Errors
///
/// Where it is not prepared.
pub fn python() -> anyhow::Result<PathBuf> {
    built(target_folder()?.join("tools/venv/bin/python3"))
}

/// The workspace's folder.
#[must_use]
pub fn workspace() -> PathBuf {
    let tests = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    tests.parent().map_or_else(|| tests.clone(), Path::to_path_buf)
}

/// Cargo's target folder.
///
/// # Errors
///
/// Where this program does not lie in one.
pub fn target_folder() -> anyhow::Result<PathBuf> {
    let profile = profile_folder()?;
    Ok(profile.parent().context("this program lies in no target folder")?.to_owned())
}

/// `target/debug` or `target/release`; test programs lie in `deps` below it.
fn profile_folder() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe().context("finding this program")?;
    let folder = program.parent().context("this program lies in no folder")?;
    Ok(match folder.parent() {
        Some(above) if folder.ends_with("deps") => above.to_owned(),
        _ => folder.to_owned(),
    })
}

fn built(path: PathBuf) -> anyhow::Result<PathBuf> {
    if !path.is_file() {
        bail!("{} is not built: `cargo xtask test` builds everything", path.display());
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_built_is_named_with_the_remedy() {
        let error = plugin("no-such-plugin").unwrap_err().to_string();
        assert!(error.contains("plugins/no-such-plugin.wasm"), "{error}");
        assert!(error.contains("cargo xtask test"), "{error}");
        assert!(workspace().join("Cargo.toml").is_file());
    }
}
