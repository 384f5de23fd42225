//! What the documentation lists is what there is: each bundled adapter's page,
//! `docs/adapters/<name>.md`, is what its `describe` says.

mod fields;
mod metrics;
mod modules;
mod page;

use std::fs;
use std::path::PathBuf;

use sluice::adapter::{Sandbox, SandboxLimits};
use sluice::model::PluginName;
use sluice_tests::artifacts::{self, workspace};

/// Set by `cargo xtask docs`: the pages are written instead of compared.
const WRITE: &str = "SLUICE_WRITE_DOCS";

#[test]
fn the_page_of_every_adapter_is_what_it_describes() {
    let sandbox = Sandbox::new(SandboxLimits::default()).unwrap();
    let folder = workspace().join("docs/adapters");
    let write = std::env::var_os(WRITE).is_some();
    let mut wrong = Vec::new();
    let adapters = adapters();
    for adapter in &adapters {
        let bytes = fs::read(artifacts::plugin(adapter).unwrap()).unwrap();
        let plugin = sandbox.load(&PluginName::new(adapter).unwrap(), &bytes).unwrap();
        let page = page::page(&plugin.description);
        let path = folder.join(format!("{adapter}.md"));
        if write {
            fs::create_dir_all(&folder).unwrap();
            fs::write(&path, page).unwrap();
        } else if fs::read_to_string(&path).unwrap_or_default() != page {
            wrong.push(path.display().to_string());
        }
    }
    assert!(wrong.is_empty(), "`cargo xtask docs` writes these anew: {}", wrong.join(", "));
    let mut pages: Vec<PathBuf> =
        fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    pages.retain(|page| !adapters.iter().any(|adapter| page.file_stem() == Some(adapter.as_ref())));
    assert!(pages.is_empty(), "pages of no adapter: {pages:?}");
}

/// The guide for authors tells the bounds that a component and its calls have.
#[test]
fn the_guide_for_authors_tells_the_bounds_of_a_call() {
    let guide = fs::read_to_string(workspace().join("plugin-sdk/README.md")).unwrap();
    let SandboxLimits { deadline, memory, component_bytes_max, .. } = SandboxLimits::default();
    for told in [
        format!("more than {} ms of computing", deadline.as_millis()),
        format!("more than {} MiB in one call", memory >> 20),
        format!("a component has at most {} MiB", component_bytes_max >> 20),
    ] {
        assert!(guide.contains(&told), "{told}");
    }
}

fn adapters() -> Vec<String> {
    let folders = fs::read_dir(workspace().join("plugins")).unwrap();
    let mut names: Vec<String> = folders
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().join("Cargo.toml").is_file())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}
