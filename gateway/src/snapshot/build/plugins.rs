//! Reads component files: each once, however many adapters run it.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::rc::Rc;

use super::Loader;
use super::words::told;
use crate::config::{AdapterConfig, Config, FileError, Location, Problems, name_help, read_file};

/// Component files by path.
pub(super) struct Files<'c, L: Loader> {
    config: &'c Config,
    loader: &'c L,
    /// Absent where a file could not be read.
    read: BTreeMap<PathBuf, Option<Read<L::Plugin>>>,
}

struct Read<P> {
    bytes: Vec<u8>,
    /// SHA-256 in lower-case hex.
    digest: String,
    loaded: Loaded<P>,
}

enum Loaded<P> {
    /// No adapter has asked for it whose pinned digest it has.
    NotYet,
    Refused,
    Plugin(Rc<P>),
}

impl<'c, L: Loader> Files<'c, L> {
    pub(super) const fn new(config: &'c Config, loader: &'c L) -> Self {
        Self { config, loader, read: BTreeMap::new() }
    }

    /// The plugin that an adapter runs. What is wrong with a file is told once, at the first
    /// adapter that runs it; a pinned digest is compared for each, and before the file is loaded:
    /// what the operator did not pin is not even compiled.
    pub(super) fn plugin(
        &mut self,
        adapter: &AdapterConfig,
        problems: &mut Problems,
    ) -> Option<Rc<L::Plugin>> {
        let (config, loader) = (self.config, self.loader);
        let path = &adapter.plugin.path;
        if !self.read.contains_key(path) {
            let read = self.read_file(adapter, problems);
            self.read.insert(path.clone(), read);
        }
        let read = self.read.get_mut(path)?.as_mut()?;
        if let Some(pinned) = &adapter.plugin.digest
            && *pinned != read.digest
        {
            let key = format!("adapters.{}.digest", adapter.name);
            let at = config.sources.get(&key).unwrap_or(&adapter.at);
            let message = format!(
                "`{}` has the digest `{}`, not the pinned `{pinned}`",
                path.display(),
                read.digest
            );
            let help = "check where the file comes from, then pin the new digest";
            problems.push(at, message, Some(help.to_owned()));
            return None;
        }
        if matches!(read.loaded, Loaded::NotYet) {
            read.loaded = match loader.load(&adapter.plugin.name, &read.bytes) {
                Ok(plugin) => Loaded::Plugin(Rc::new(plugin)),
                Err(error) => {
                    problems.push(place(config, adapter), told(&error), None);
                    Loaded::Refused
                }
            };
        }
        match &read.loaded {
            Loaded::Plugin(plugin) => Some(Rc::clone(plugin)),
            Loaded::NotYet | Loaded::Refused => None,
        }
    }

    fn read_file(
        &self,
        adapter: &AdapterConfig,
        problems: &mut Problems,
    ) -> Option<Read<L::Plugin>> {
        let path = &adapter.plugin.path;
        let size_max = self.config.plugins.size_max;
        match read_file(path, size_max) {
            Ok(bytes) => {
                let digest = hex::encode(ring::digest::digest(&ring::digest::SHA256, &bytes));
                Some(Read { bytes, digest, loaded: Loaded::NotYet })
            }
            Err(error) => {
                let help = match error {
                    FileError::Missing => Some(self.missing_help(adapter)),
                    FileError::TooLarge => {
                        let has = fs::metadata(path).map_or(0, |about| about.len());
                        let allows = format!("`plugins.size_max` allows {size_max} bytes");
                        Some(format!("{allows}, and it has {has}"))
                    }
                    FileError::Denied | FileError::NotAFile | FileError::Other(_) => None,
                };
                problems.push(place(self.config, adapter), error.tell(path), help);
                None
            }
        }
    }

    /// What components there are instead.
    fn missing_help(&self, adapter: &AdapterConfig) -> String {
        let directory = &self.config.plugins.directory;
        let mut names: Vec<String> = fs::read_dir(directory)
            .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
            .unwrap_or_else(|_| Vec::<PathBuf>::new())
            .iter()
            .filter(|path| path.extension().is_some_and(|extension| extension == "wasm"))
            .filter_map(|path| path.file_stem()?.to_str().map(str::to_owned))
            .collect();
        names.sort();
        let none = format!("no `*.wasm` file is in `{}`", directory.display());
        name_help(adapter.plugin.name.as_str(), names.iter().map(String::as_str), &none)
    }
}

fn place<'c>(config: &'c Config, adapter: &'c AdapterConfig) -> &'c Location {
    let key = format!("adapters.{}.plugin", adapter.name);
    config.sources.get(&key).unwrap_or(&adapter.at)
}
