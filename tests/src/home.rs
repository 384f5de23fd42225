//! The folder that a gateway lives in: configuration, secrets, plugins, data. It outlives the
//! process, so that a test can kill one gateway and start the next on the same store.

use std::fmt::Write as _;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Context as _;
use tempfile::TempDir;

use crate::artifacts;
use crate::provider::{VKYC_PATH, VKYC_SECRET_ROLE};

/// The value of the secret `vkyc-secret` of [`HomeBuilder::vkyc`], recognisable in any text.
pub const VKYC_SECRET: &str = "canary-vkyc-7d0c5a51f2a64c0b9e1f";

/// The value of the secret `admin-token`, recognisable in any text.
pub const ADMIN_TOKEN: &str = "canary-admin-1b9a0d6c44e84d0fa6c2";

/// Describes a home before it is made.
#[derive(Debug)]
pub struct HomeBuilder {
    plugins: Vec<(String, PathBuf)>,
    secrets: Vec<(String, String)>,
    data: Option<PathBuf>,
    ingest: String,
    storage: String,
    include: Option<String>,
    rest: String,
}

/// A gateway's home. Clones share it; the folder goes with the last of them.
#[derive(Clone, Debug)]
pub struct Home {
    folder: Arc<TempDir>,
    data: PathBuf,
    starts: Arc<AtomicU32>,
}

impl Default for HomeBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl HomeBuilder {
    /// A gateway without routes, on ports that the system chooses.
    #[must_use]
    pub fn new() -> Self {
        Self {
            plugins: Vec::new(),
            secrets: vec![("admin-token".to_owned(), ADMIN_TOKEN.to_owned())],
            data: None,
            ingest: String::new(),
            storage: String::new(),
            include: None,
            rest: String::new(),
        }
    }

    /// Includes further files, as `routes/*.toml`; makes the folder.
    #[must_use]
    pub fn include(mut self, pattern: &str) -> Self {
        self.include = Some(pattern.to_owned());
        self
    }

    /// Adds a bundled adapter's component.
    ///
    /// # Errors
    ///
    /// Where it is not built.
    pub fn plugin(self, name: &str) -> anyhow::Result<Self> {
        let file = artifacts::plugin(name)?;
        Ok(self.component(name, file))
    }

    /// Adds a test guest's component.
    ///
    /// # Errors
    ///
    /// Where it is not built.
    pub fn guest(self, name: &str) -> anyhow::Result<Self> {
        let file = artifacts::guest(name)?;
        Ok(self.component(name, file))
    }

    /// Adds any file as the plugin of that name.
    #[must_use]
    pub fn component(mut self, name: &str, file: PathBuf) -> Self {
        self.plugins.push((name.to_owned(), file));
        self
    }

    /// Adds a secret, in a file of its own.
    #[must_use]
    pub fn secret(mut self, name: &str, value: &str) -> Self {
        self.secrets.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds keys to `[ingest]`.
    #[must_use]
    pub fn ingest(mut self, toml: &str) -> Self {
        self.ingest.push_str(toml);
        self.ingest.push('\n');
        self
    }

    /// Adds keys to `[storage]`.
    #[must_use]
    pub fn storage(mut self, toml: &str) -> Self {
        self.storage.push_str(toml);
        self.storage.push('\n');
        self
    }

    /// Keeps database, cache and file destinations in this folder, as on a small file system,
    /// instead of `data` in the home.
    #[must_use]
    pub fn data(mut self, folder: PathBuf) -> Self {
        self.data = Some(folder);
        self
    }

    /// Adds tables: adapters, routes, destinations.
    #[must_use]
    pub fn toml(mut self, toml: &str) -> Self {
        self.rest.push('\n');
        self.rest.push_str(toml);
        self
    }

    /// Adds the VKYC adapter with its secret and the route [`VKYC_PATH`], delivering to these
    /// destinations.
    ///
    /// # Errors
    ///
    /// Where the adapter is not built.
    pub fn vkyc(self, deliver_to: &[&str]) -> anyhow::Result<Self> {
        let route = format!(
            "[routes.vkyc]\npath = \"{VKYC_PATH}\"\nplugin = \"vkyc\"\n\
             secrets = {{ {VKYC_SECRET_ROLE} = \"vkyc-secret\" }}\ndeliver_to = {deliver_to:?}\n"
        );
        Ok(self.plugin("vkyc")?.secret("vkyc-secret", VKYC_SECRET).toml(&route))
    }

    /// Adds the file destination `events`, see [`Home::events`].
    #[must_use]
    pub fn events_file(self) -> Self {
        // The data folder may yet be chosen; `build` fills it in.
        self.toml("[destinations.events]\ntype = \"file\"\npath = \"@data@/events.jsonl\"\n")
    }

    /// Adds an HTTP destination.
    #[must_use]
    pub fn http_destination(self, name: &str, url: &str, more: &str) -> Self {
        self.toml(&format!("[destinations.{name}]\ntype = \"http\"\nurl = \"{url}\"\n{more}\n"))
    }

    /// Writes it all down.
    ///
    /// # Errors
    ///
    /// Where the folder cannot be written or a component cannot be copied.
    pub fn build(self) -> anyhow::Result<Home> {
        let folder = tempfile::Builder::new().prefix("sluice-").tempdir().context("a folder")?;
        let at = folder.path();
        let data = self.data.clone().unwrap_or_else(|| at.join("data"));
        for name in ["plugins", "logs"] {
            fs::create_dir(at.join(name)).context("making a gateway's folders")?;
        }
        if let Some((folder, _)) =
            self.include.as_deref().and_then(|include| include.rsplit_once('/'))
        {
            fs::create_dir(at.join(folder)).context("making the folder of included files")?;
        }
        DirBuilder::new().mode(0o700).create(at.join("secrets")).context("making a folder")?;
        for (name, file) in &self.plugins {
            fs::copy(file, at.join("plugins").join(format!("{name}.wasm")))
                .with_context(|| format!("copying {}", file.display()))?;
        }
        for (name, value) in &self.secrets {
            write_secret(&at.join("secrets").join(name), value)
                .with_context(|| format!("writing the secret `{name}`"))?;
        }
        fs::write(at.join("sluice.toml"), self.text(&data)?).context("writing sluice.toml")?;
        Ok(Home { folder: Arc::new(folder), data, starts: Arc::default() })
    }

    fn text(&self, data: &Path) -> anyhow::Result<String> {
        let Self { ingest, storage, rest, .. } = self;
        let include = self.include.as_ref().map(|include| format!("include = [{include:?}]\n"));
        let include = include.unwrap_or_default();
        let data = data.to_str().context("the data folder's path is not text")?;
        let mut secrets = String::new();
        for (name, _) in &self.secrets {
            writeln!(secrets, "{name} = {{ file = \"secrets/{name}\" }}")?;
        }
        let rest = rest.replace("@data@", data);
        Ok(format!(
            "{include}[ingest]\nlisten = \"127.0.0.1:0\"\n{ingest}\n\
             [admin]\nlisten = \"127.0.0.1:0\"\ntoken_secret = \"admin-token\"\n\n\
             [storage]\nurl = \"sqlite:{data}/sluice.db\"\n{storage}\n\
             [plugins]\ndirectory = \"plugins\"\n\n\
             [secrets]\n{secrets}{rest}"
        ))
    }
}

impl Home {
    /// The folder that holds `sluice.toml`, `secrets` and `plugins`.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.folder().join("sluice.toml")
    }

    /// Where database and file destinations lie.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Every event that arrived at the file destination of [`HomeBuilder::events_file`]; a last
    /// line that is not whole is left out.
    ///
    /// # Errors
    ///
    /// Where a whole line is no JSON.
    pub fn events(&self) -> anyhow::Result<Vec<serde_json::Value>> {
        let text = match fs::read(self.data.join("events.jsonl")) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).context("reading delivered events"),
        };
        text.split_inclusive(|byte| *byte == b'\n')
            .filter(|line| line.ends_with(b"\n"))
            .map(|line| serde_json::from_slice(line).context("a delivered line is no JSON"))
            .collect()
    }

    /// The number of the start that is about to be made.
    pub(crate) fn next_start(&self) -> u32 {
        self.starts.fetch_add(1, Ordering::Relaxed)
    }

    /// Runs another command of `sluice` to its end, in the home's folder.
    ///
    /// # Errors
    ///
    /// Where it is not built or cannot be started.
    pub fn sluice(&self, arguments: &[&str]) -> anyhow::Result<Output> {
        Command::new(artifacts::gateway()?)
            .args(arguments)
            .current_dir(self.folder())
            .stdin(Stdio::null())
            .output()
            .context("running sluice")
    }
}

/// A file that its owner alone may read.
fn write_secret(file: &Path, value: &str) -> std::io::Result<()> {
    let mut open = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
    writeln!(open, "{value}")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_home_holds_a_whole_configuration() {
        let home = HomeBuilder::new()
            .secret("other", "value")
            .ingest("body_max = \"1KiB\"")
            .events_file()
            .http_destination("ledger", "http://127.0.0.1:1/in", "timeout = \"1s\"")
            .build()
            .unwrap();
        let text = fs::read_to_string(home.config()).unwrap();
        for part in [
            "[ingest]\nlisten = \"127.0.0.1:0\"\nbody_max = \"1KiB\"\n",
            "other = { file = \"secrets/other\" }",
            &format!("path = \"{}/events.jsonl\"", home.data().display()),
            "url = \"http://127.0.0.1:1/in\"\ntimeout = \"1s\"",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        let secret = home.folder().join("secrets/other");
        assert_eq!(fs::metadata(&secret).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_to_string(secret).unwrap(), "value\n");
    }

    #[test]
    fn events_are_whole_lines() {
        let home = HomeBuilder::new().build().unwrap();
        assert_eq!(home.events().unwrap(), Vec::<serde_json::Value>::new());
        fs::create_dir(home.data()).unwrap();
        fs::write(home.data().join("events.jsonl"), "{\"id\":1}\n{\"id\":2}\n{\"i").unwrap();
        assert_eq!(home.events().unwrap().len(), 2);
    }
}
