//! Modules depend on each other one way, as `gateway/ARCHITECTURE.md` says: siblings, with all that
//! is below them, in no circle. Between a module and what is inside it both directions are fine.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use sluice_tests::artifacts::workspace;
use syn::visit::{self, Visit};
use syn::{Attribute, Item, ItemMod, ItemUse, UseTree};

/// The path of a module from the root of its crate.
type Module = Vec<String>;

#[test]
fn no_modules_depend_on_each_other_in_a_circle() {
    let mut looked_at = 0;
    for package in packages() {
        let circles = circles(&package.join("src"));
        looked_at += 1;
        assert!(circles.is_empty(), "{}:\n{}", package.display(), circles.join("\n"));
    }
    assert!(looked_at > 5, "{looked_at} packages");
}

#[test]
fn a_circle_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let write = |file: &str, text: &str| {
        let path = folder.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("lib.rs", "mod a; mod b; mod c;");
    write("a.rs", "mod inner; use inner::X; pub struct Y;");
    write("a/inner.rs", "use super::Y; use crate::{b::{self, Z}}; pub struct X;");
    write("b.rs", "pub struct Z; fn f() { crate::c::g(); }");
    write("c.rs", "pub fn g() {}\n#[cfg(test)]\nmod tests { use crate::a::Y; }");
    assert_eq!(circles(folder.path()), Vec::<String>::new());
    write("c.rs", "use super::a; pub fn g(_: a::Y) {}");
    assert_eq!(circles(folder.path()), ["crate: a -> b -> c -> a"]);
    write("c.rs", "pub fn g() {}");
    write("a/inner.rs", "use super::other::O; pub struct X;");
    write("a/other.rs", "pub struct O(super::inner::X);");
    assert_eq!(circles(folder.path()), ["crate::a: inner -> other -> inner"]);
}

/// Every package of the workspace but the SDK, whose types and host are one module for adapters.
fn packages() -> Vec<PathBuf> {
    let root = workspace();
    let plugins = fs::read_dir(root.join("plugins")).unwrap();
    let plugins = plugins.map(|entry| entry.unwrap().path());
    let others = ["gateway", "tests", "xtask"].map(|name| root.join(name));
    let mut packages: Vec<_> = plugins.chain(others).collect();
    packages.retain(|package| package.join("Cargo.toml").is_file());
    packages.sort();
    packages
}

/// One line for the first circle among the children of each module.
fn circles(source: &Path) -> Vec<String> {
    let modules = modules(source);
    let mut levels: BTreeMap<Module, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    for (module, file) in &modules {
        let file = syn::parse_file(&fs::read_to_string(file).unwrap()).unwrap();
        for used in used(module, &file) {
            let Some(used) = longest(&modules, &used) else { continue };
            let shared = module.iter().zip(&used).take_while(|(one, other)| one == other).count();
            if let (Some(from), Some(to)) = (module.get(shared), used.get(shared)) {
                let level = levels.entry(used[..shared].to_vec()).or_default();
                level.entry(from.clone()).or_default().insert(to.clone());
            }
        }
    }
    let found = levels.iter().filter_map(|(level, uses)| {
        let circle = uses.keys().find_map(|start| circle(uses, &mut vec![start.clone()]))?;
        let level: Vec<_> = ["crate"].into_iter().chain(level.iter().map(String::as_str)).collect();
        Some(format!("{}: {}", level.join("::"), circle.join(" -> ")))
    });
    found.collect()
}

/// The way back to where `way` begins, if there is one.
fn circle(uses: &BTreeMap<String, BTreeSet<String>>, way: &mut Vec<String>) -> Option<Vec<String>> {
    for next in uses.get(way.last()?).into_iter().flatten() {
        way.push(next.clone());
        if *next == way[0] {
            return Some(way.clone());
        }
        let is_new = !way[..way.len() - 1].contains(next);
        if is_new && let Some(circle) = circle(uses, way) {
            return Some(circle);
        }
        way.pop();
    }
    None
}

/// The modules that have a file, but for tests, by path.
fn modules(source: &Path) -> BTreeMap<Module, PathBuf> {
    let mut modules = BTreeMap::new();
    let mut folders = vec![(source.to_owned(), Module::new())];
    while let Some((folder, above)) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let is_root = above.is_empty() && ["lib", "main", "bin"].contains(&name.as_str());
            if is_root || name == "tests" || name.ends_with("_tests") {
                continue;
            }
            let module: Module = above.iter().cloned().chain([name]).collect();
            if path.is_dir() {
                folders.push((path, module));
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                modules.insert(module, path);
            }
        }
    }
    modules
}

/// The module in which a path ends, or the item of it that the path names.
fn longest(modules: &BTreeMap<Module, PathBuf>, path: &[String]) -> Option<Module> {
    let lengths = (1..=path.len()).rev();
    lengths.map(|length| path[..length].to_vec()).find(|path| modules.contains_key(path))
}

/// The paths within the crate that a file names outside of its tests, from the crate's root.
fn used(module: &Module, file: &syn::File) -> Vec<Module> {
    let declared = file.items.iter().filter_map(|item| {
        if let Item::Mod(inner) = item { Some(inner.ident.to_string()) } else { None }
    });
    let mut uses = Uses { module, declared: declared.collect(), paths: Vec::new() };
    uses.visit_file(file);
    uses.paths
}

struct Uses<'m> {
    module: &'m Module,
    declared: BTreeSet<String>,
    paths: Vec<Module>,
}

impl Uses<'_> {
    fn note(&mut self, path: &[String]) {
        let mut base = self.module.clone();
        let rest = match path.first().map(String::as_str) {
            Some("crate") => {
                base.clear();
                &path[1..]
            }
            Some("self") => &path[1..],
            Some("super") => {
                let ups = path.iter().take_while(|part| *part == "super").count();
                base.truncate(base.len().saturating_sub(ups));
                &path[ups..]
            }
            Some(name) if self.declared.contains(name) => path,
            _ => return,
        };
        base.extend_from_slice(rest);
        self.paths.push(base);
    }

    fn note_tree(&mut self, tree: &UseTree, above: &[String]) {
        let with = |name: &syn::Ident| [above, &[name.to_string()]].concat();
        match tree {
            UseTree::Path(path) => self.note_tree(&path.tree, &with(&path.ident)),
            UseTree::Name(name) if name.ident == "self" => self.note(above),
            UseTree::Name(name) => self.note(&with(&name.ident)),
            UseTree::Rename(name) if name.ident == "self" => self.note(above),
            UseTree::Rename(name) => self.note(&with(&name.ident)),
            UseTree::Glob(_) => self.note(above),
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.note_tree(tree, above);
                }
            }
        }
    }
}

impl<'f> Visit<'f> for Uses<'_> {
    fn visit_item_mod(&mut self, item: &'f ItemMod) {
        if !is_of_tests(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'f ItemUse) {
        if !is_of_tests(&item.attrs) {
            self.note_tree(&item.tree, &[]);
        }
    }

    fn visit_path(&mut self, path: &'f syn::Path) {
        let parts: Vec<_> = path.segments.iter().map(|part| part.ident.to_string()).collect();
        if parts.len() > 1 {
            self.note(&parts);
        }
        visit::visit_path(self, path);
    }
}

fn is_of_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Path>().is_ok_and(|path| path.is_ident("test"))
    })
}
