//! The checked stage: what the tree means. Every function tells all problems it finds and goes
//! on; what it returns is used only where there were none.

mod adapters;
mod conflicts;
mod consuming;
mod deliver_to;
mod destinations;
mod limits;
mod listeners;
pub(super) mod names;
pub(super) mod path;
pub(crate) mod routes;
pub(crate) mod secrets;
pub(crate) mod sections;

use std::ffi::OsString;

use super::checked::Config;
use super::files::Tree;
use super::section::Section;
use super::{Inputs, Problems, Sources};
use names::Names;

/// Reads an environment variable.
pub(super) type Environment<'e> = &'e dyn Fn(&str) -> Option<OsString>;

/// Checks everything, and returns the configuration where nothing is missing. The caller looks
/// at `problems` first: with any of them the result means nothing. Secrets' files and the folder of
/// components are added to `inputs`.
pub(super) fn check(
    tree: &Tree,
    environment: Environment<'_>,
    inputs: &mut Inputs,
    problems: &mut Problems,
) -> Option<Config> {
    let mut root = Section::new(tree.main.clone(), Some(&tree.root));
    // Taken out of the tree when the files were read.
    root.skip(&["include"]);
    let names = Names::declared(&tree.root);
    let sources = Sources::of(&tree.root);
    let places = conflicts::Places { sources: &sources, main: &tree.main };
    let secrets = secrets::check(&mut root, environment, inputs, problems);

    let ingest = sections::ingest(root.section("ingest", problems), inputs, problems);
    let mut admin_section = root.section("admin", problems);
    let admin_listen = sections::admin_listen(&mut admin_section, problems);
    let token = sections::admin_token(&mut admin_section, &names, &secrets, problems);
    admin_section.finish(&[], problems);
    listeners::check_apart(&ingest.listeners, admin_listen, &places, problems);

    let storage = sections::storage(root.section("storage", problems), problems);
    let plugins_section = root.section("plugins", problems);
    let plugins = sections::plugins(plugins_section, &storage, problems);
    inputs.add_pattern(&plugins.directory, "*.wasm");
    let log = sections::log(root.section("log", problems), problems);

    let mut adapters = adapters::check(&mut root, &plugins, &names, problems);
    let scope = routes::Scope { names: &names, secrets: &secrets, plugins: &plugins };
    let routes = routes::check(&mut root, &scope, &ingest, &mut adapters, problems);
    let destinations = destinations::check(&mut root, &names, &secrets, problems);
    root.finish(&[], problems);

    conflicts::route_paths(&routes.paths, &places, problems);
    consuming::check(&adapters, &routes.checked, &destinations, &places, problems);
    conflicts::written_files(&storage, &destinations, &tree.files, &places, problems);
    Some(Config {
        ingest,
        admin: super::AdminConfig { listen: admin_listen, token: token? },
        storage,
        plugins,
        log,
        secrets,
        adapters,
        routes: routes.checked,
        destinations,
        files: tree.files.clone(),
        sources,
    })
}
