//! Where things are: folders of the workspace, and its members as cargo sees them.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::process;

/// The workspace that this command belongs to.
#[derive(Debug)]
pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    /// Cargo's target folder.
    pub(crate) target: PathBuf,
    members: Vec<Member>,
}

/// One package of the workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Member {
    package: String,
    folder: PathBuf,
    /// Name of its `cdylib` target, where it has one.
    cdylib: Option<String>,
}

/// A member that becomes a component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ComponentCrate {
    pub(crate) package: String,
    /// The last part of its folder: the component's file name.
    pub(crate) name: String,
    /// File name of the core module that cargo makes.
    pub(crate) module: String,
}

impl Workspace {
    /// Asks cargo.
    ///
    /// # Errors
    ///
    /// Where cargo cannot read the workspace.
    pub(crate) fn find() -> anyhow::Result<Self> {
        // Cargo sets the variable when it runs us; the constant serves a copied binary.
        let manifest = std::env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = manifest.parent().context("xtask lies in no workspace")?;
        let text = process::read(process::cargo(root).args([
            "metadata",
            "--no-deps",
            "--format-version=1",
        ]))?;
        Self::from_metadata(&text)
    }

    fn from_metadata(text: &str) -> anyhow::Result<Self> {
        let metadata: Value = serde_json::from_str(text).context("reading cargo's metadata")?;
        let members = array(&metadata, "packages")?
            .iter()
            .map(|package| {
                let manifest = PathBuf::from(string(package, "manifest_path")?);
                let folder = manifest.parent().context("a manifest lies in no folder")?.to_owned();
                let cdylib = array(package, "targets")?
                    .iter()
                    .find(|target| is_cdylib(target))
                    .map(|target| string(target, "name"))
                    .transpose()?;
                Ok(Member { package: string(package, "name")?, folder, cdylib })
            })
            .collect::<anyhow::Result<Vec<_>>>()?;
        Ok(Self {
            root: string(&metadata, "workspace_root")?.into(),
            target: string(&metadata, "target_directory")?.into(),
            members,
        })
    }

    /// The crates in a folder of the workspace (`plugins`, `tests/guests`) that become components,
    /// in order of their names; none where the folder does not exist.
    ///
    /// # Errors
    ///
    /// Where a crate there is no member of the workspace, or makes no `cdylib`.
    pub(crate) fn component_crates(&self, folder: &str) -> anyhow::Result<Vec<ComponentCrate>> {
        let folder = self.root.join(folder);
        if !folder.is_dir() {
            return Ok(Vec::new());
        }
        let mut crates = Vec::new();
        for entry in std::fs::read_dir(&folder).context("listing component crates")? {
            let crate_folder = entry.context("listing component crates")?.path();
            if !crate_folder.join("Cargo.toml").is_file() {
                continue;
            }
            crates.push(self.component_crate(&crate_folder)?);
        }
        crates.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(crates)
    }

    fn component_crate(&self, folder: &Path) -> anyhow::Result<ComponentCrate> {
        let Some(member) = self.members.iter().find(|member| member.folder == folder) else {
            bail!("{} is no member of the workspace: add it to Cargo.toml", folder.display());
        };
        let Some(cdylib) = &member.cdylib else {
            bail!("{} makes no component: give it crate-type `cdylib`", folder.display());
        };
        let name = folder.file_name().context("a crate's folder has no name")?;
        Ok(ComponentCrate {
            package: member.package.clone(),
            name: name.to_string_lossy().into_owned(),
            module: format!("{}.wasm", cdylib.replace('-', "_")),
        })
    }
}

fn is_cdylib(target: &Value) -> bool {
    target
        .get("crate_types")
        .and_then(Value::as_array)
        .is_some_and(|types| types.iter().any(|kind| kind == "cdylib"))
}

fn array<'a>(value: &'a Value, key: &str) -> anyhow::Result<&'a Vec<Value>> {
    value.get(key).and_then(Value::as_array).with_context(|| format!("cargo gave no list `{key}`"))
}

fn string(value: &Value, key: &str) -> anyhow::Result<String> {
    value
        .get(key)
        .and_then(Value::as_str)
        .map(str::to_owned)
        .with_context(|| format!("cargo gave no text `{key}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const METADATA: &str = r#"{
        "workspace_root": "/w", "target_directory": "/w/target",
        "packages": [
            {"name": "ottu", "manifest_path": "/w/plugins/ottu/Cargo.toml",
             "targets": [{"name": "ottu", "crate_types": ["cdylib", "rlib"]}]},
            {"name": "guest-spin", "manifest_path": "/w/tests/guests/spin/Cargo.toml",
             "targets": [{"name": "guest-spin", "crate_types": ["cdylib"]}]},
            {"name": "native", "manifest_path": "/w/native/Cargo.toml",
             "targets": [{"name": "native", "crate_types": ["lib"]}]}
        ]
    }"#;

    #[test]
    fn a_component_takes_its_name_from_its_folder() {
        let workspace = Workspace::from_metadata(METADATA).unwrap();
        assert_eq!(workspace.target, Path::new("/w/target"));
        assert_eq!(
            workspace.component_crate(Path::new("/w/tests/guests/spin")).unwrap(),
            ComponentCrate {
                package: "guest-spin".to_owned(),
                name: "spin".to_owned(),
                module: "guest_spin.wasm".to_owned(),
            }
        );
    }

    #[test]
    fn what_cannot_become_a_component_is_named() {
        let workspace = Workspace::from_metadata(METADATA).unwrap();
        for (folder, expected) in
            [("/w/native", "crate-type `cdylib`"), ("/w/plugins/new", "no member")]
        {
            let error = workspace.component_crate(Path::new(folder)).unwrap_err().to_string();
            assert!(error.contains(expected) && error.contains(folder), "{error}");
        }
    }
}
