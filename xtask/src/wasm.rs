//! A Rust toolchain for `wasm32-unknown-unknown`.
//!
//! The ordinary one comes from rustup. Where rustup cannot reach its server, Debian's own Rust
//! carries the source of the standard library, from which cargo builds it for the target.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

use crate::debian;
use crate::process;
use crate::progress::Progress;
use crate::workspace::Workspace;

/// What adapters are compiled for: no clock, file or socket exists there.
pub(crate) const TARGET: &str = "wasm32-unknown-unknown";

/// Set to `debian`, it takes the second way at once: how that way is tested.
const FORCE_VARIABLE: &str = "SLUICE_WASM_TOOLCHAIN";

/// Where the Debian packages are unpacked, under cargo's target folder.
const DEBIAN_FOLDER: &str = "tools/debian-rust";

/// How adapters are compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Toolchain {
    /// The compiler in use has the target's standard library.
    Installed,
    /// Debian's compiler in this folder, which builds the standard library itself.
    Debian { root: PathBuf, linker: PathBuf },
}

impl Toolchain {
    /// Finds a toolchain, or makes one.
    ///
    /// # Errors
    ///
    /// Where neither way works here, with what to do.
    pub(crate) fn prepare(workspace: &Workspace, progress: &Progress) -> anyhow::Result<Self> {
        let forced = std::env::var_os(FORCE_VARIABLE).is_some_and(|value| value == "debian");
        if !forced {
            if is_installed(workspace)? {
                return Ok(Self::Installed);
            }
            progress.step(&format!("Adding the target {TARGET} with rustup"));
            let added = process::read(
                Command::new("rustup").args(["target", "add", TARGET]).current_dir(&workspace.root),
            );
            match added {
                Ok(_) if is_installed(workspace)? => return Ok(Self::Installed),
                Ok(_) => progress.detail("rustup added it, but not to the compiler in use"),
                Err(error) => progress.detail(&format!("{error:#}")),
            }
        }
        progress.step("Unpacking Debian's Rust, which brings the standard library's source");
        debian_toolchain(workspace, progress).with_context(|| {
            format!(
                "no way to compile for {TARGET}. Where rustup reaches its server: \
                 rustup target add {TARGET}. Without it: a Debian with the package `rustc-web`"
            )
        })
    }

    /// A cargo command that builds for the target.
    pub(crate) fn cargo_build(&self, workspace: &Workspace, package: &str) -> Command {
        let mut command = process::cargo(&workspace.root);
        // As nothing but a component: for a library beside it cargo would leave out link-time
        // optimisation, which saves calls time (docs/bench.md).
        command.args(["rustc", "--lib", "--crate-type", "cdylib", "--package", package]);
        command.args(["--profile", "plugin", "--target", TARGET]);
        if let Self::Debian { root, linker } = self {
            command
                .arg("-Zbuild-std=std,panic_abort")
                .env("RUSTC", root.join("usr/bin/rustc"))
                .env("LD_LIBRARY_PATH", libraries(root))
                // A released compiler, asked to build its own standard library.
                .env("RUSTC_BOOTSTRAP", "1")
                .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker)
                // Beside the other compiler's artifacts, so that switching rebuilds neither.
                .env("CARGO_TARGET_DIR", workspace.target.join("debian"));
        }
        command
    }

    /// Where [`Self::cargo_build`] leaves core modules.
    pub(crate) fn modules(&self, workspace: &Workspace) -> PathBuf {
        let target = match self {
            Self::Installed => workspace.target.clone(),
            Self::Debian { .. } => workspace.target.join("debian"),
        };
        target.join(TARGET).join("plugin")
    }
}

fn is_installed(workspace: &Workspace) -> anyhow::Result<bool> {
    Ok(sysroot(workspace)?.join("lib/rustlib").join(TARGET).join("lib").is_dir())
}

fn sysroot(workspace: &Workspace) -> anyhow::Result<PathBuf> {
    let path = process::read(
        Command::new("rustc").args(["--print", "sysroot"]).current_dir(&workspace.root),
    )?;
    Ok(path.trim().into())
}

/// The compiler's own host, as `x86_64-unknown-linux-gnu`.
fn host(workspace: &Workspace) -> anyhow::Result<String> {
    let about = process::read(Command::new("rustc").arg("-vV").current_dir(&workspace.root))?;
    about
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .map(str::to_owned)
        .context("rustc does not say its host")
}

fn debian_toolchain(workspace: &Workspace, progress: &Progress) -> anyhow::Result<Toolchain> {
    let folder = workspace.target.join(DEBIAN_FOLDER);
    let root = folder.join("root");
    if !starts(&root) {
        unpack(&folder, progress)?;
        if !starts(&root) {
            // What its LLVM needs in turn is best left to apt.
            debian::install(&[&llvm_package(&packages()?)?])?;
        }
        process::read(&mut compiler(&root)).context("Debian's rustc does not start")?;
    }
    // Debian's own linker is another package; rustup's has come with the compiler in use.
    let linker =
        sysroot(workspace)?.join("lib/rustlib").join(host(workspace)?).join("bin/rust-lld");
    if !linker.is_file() {
        bail!("the compiler in use brings no linker: {} is missing", linker.display());
    }
    Ok(Toolchain::Debian { root, linker })
}

/// The packages, all of one version: a compiler cannot build another version's library.
fn packages() -> anyhow::Result<Vec<String>> {
    if !process::exists("apt-cache")? {
        bail!("this is no Debian: there is no apt-cache");
    }
    let mut about = show("rustc-web");
    if about.is_err() && debian::is_root()? {
        process::read(Command::new("apt-get").arg("update"))?;
        about = show("rustc-web");
    }
    let about = about.context("Debian offers no package `rustc-web` here (apt-get update?)")?;
    let version = field(&about, "Version").context("`rustc-web` has no version")?;
    let library = format!("libstd-rust-web-{}", release(version)?);
    let names = ["rustc-web", &library, "libstd-rust-web-dev", "rust-web-src"];
    Ok(names.iter().map(|name| format!("{name}={version}")).collect())
}

/// The library of LLVM that the compiler is linked to, as `libllvm22`.
fn llvm_package(packages: &[String]) -> anyhow::Result<String> {
    packages
        .iter()
        .filter_map(|package| field(&show(package).ok()?, "Depends").map(str::to_owned))
        .find_map(|depends| llvm_dependency(&depends))
        .context("no package of Debian's Rust depends on LLVM")
}

fn unpack(folder: &Path, progress: &Progress) -> anyhow::Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).context("removing what an earlier try left")?;
    }
    fs::create_dir_all(folder).context("making a folder for Debian's Rust")?;
    let mut packages = packages()?;
    packages.push(llvm_package(&packages)?);
    progress.detail(&packages.join(" "));
    process::read(Command::new("apt-get").arg("download").args(&packages).current_dir(folder))?;
    for entry in fs::read_dir(folder).context("listing downloaded packages")? {
        let file = entry.context("listing downloaded packages")?.path();
        if file.extension().is_some_and(|extension| extension == "deb") {
            process::read(Command::new("dpkg").arg("-x").arg(&file).arg(folder.join("root")))?;
            fs::remove_file(&file).context("removing an unpacked package")?;
        }
    }
    Ok(())
}

fn starts(root: &Path) -> bool {
    root.join("usr/bin/rustc").is_file() && process::read(&mut compiler(root)).is_ok()
}

fn compiler(root: &Path) -> Command {
    let mut command = Command::new(root.join("usr/bin/rustc"));
    command.arg("--version").env("LD_LIBRARY_PATH", libraries(root));
    command
}

/// Debian keeps libraries in a folder named after the architecture, spelt its own way.
fn libraries(root: &Path) -> PathBuf {
    root.join(format!("usr/lib/{}-linux-gnu", std::env::consts::ARCH))
}

/// What apt knows of the newest version of a package.
fn show(package: &str) -> anyhow::Result<String> {
    process::read(Command::new("apt-cache").args(["show", "--no-all-versions", package]))
}

fn field<'a>(about: &'a str, name: &str) -> Option<&'a str> {
    about.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// `1.96` of `1.96.0+dfsg1-1~deb12u2`.
fn release(version: &str) -> anyhow::Result<String> {
    let mut parts = version.split('.');
    match (parts.next(), parts.next()) {
        (Some(major), Some(minor)) => Ok(format!("{major}.{minor}")),
        _ => bail!("no release of Rust in the version `{version}`"),
    }
}

fn llvm_dependency(depends: &str) -> Option<String> {
    depends
        .split(", ")
        .filter_map(|dependency| dependency.split(' ').next())
        .find(|package| package.starts_with("libllvm"))
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABOUT: &str = "Package: libstd-rust-web-1.96\nVersion: 1.96.0+dfsg1-1~deb12u2\n\
                         Depends: libc6 (>= 2.34), libllvm22 (>= 1:22~), zlib1g\n";

    #[test]
    fn packages_are_read_as_apt_shows_them() {
        let version = field(ABOUT, "Version").unwrap();
        assert_eq!(version, "1.96.0+dfsg1-1~deb12u2");
        assert_eq!(release(version).unwrap(), "1.96");
        assert!(release("unknown").is_err());
        assert_eq!(llvm_dependency(field(ABOUT, "Depends").unwrap()).unwrap(), "libllvm22");
        assert_eq!(llvm_dependency("libc6, zlib1g"), None);
        assert_eq!(field(ABOUT, "Pack"), None);
    }
}
