//! `sluice backup`: a copy of a running gateway's store, checked before it gets its name.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use ring::digest;
use serde_json::json;

use super::client::AdminArguments;
use super::requests::pretty;
use super::{CommandError, Format, print};
use crate::storage::sqlite;

/// Requests and events hold personal data: the file is its owner's alone.
const FILE_MODE: u32 = 0o600;

#[derive(Debug, Args)]
pub(super) struct BackupArguments {
    #[command(flatten)]
    admin: AdminArguments,
    /// The file to make.
    file: PathBuf,
    /// Replace the file where there is one.
    #[arg(long)]
    force: bool,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(super) fn run(arguments: &BackupArguments) -> Result<(), CommandError> {
    let BackupArguments { file, force, .. } = arguments;
    if !force && fs::symlink_metadata(file).is_ok() {
        return Err(exists(file).into());
    }
    let client = arguments.admin.client()?;
    let partial = Partial::beside(file)?;
    let mut received = Received { file: &partial.file, bytes: 0, digest: sha256() };
    client.download(&["api", "v1", "backup"], |part| received.take(part))?;
    let Received { bytes, digest, .. } = received;
    partial.file.sync_all().context("syncing the backup to disk")?;
    sqlite::check_backup(&partial.path).context("the copy that was received is damaged")?;
    partial.name(file, *force)?;
    let sha256 = hex::encode(digest.finish());
    match arguments.format {
        Format::Json => print(&pretty(&json!({
            "file": file.display().to_string(), "bytes": bytes, "sha256": sha256,
        }))),
        Format::Text => print(&format!("{}: {bytes} bytes, SHA-256 {sha256}", file.display())),
    }
}

fn sha256() -> digest::Context {
    digest::Context::new(&digest::SHA256)
}

fn exists(file: &Path) -> anyhow::Error {
    anyhow::anyhow!("there is a file `{}` already: `--force` replaces it", file.display())
}

struct Received<'f> {
    file: &'f File,
    bytes: u64,
    digest: digest::Context,
}

impl Received<'_> {
    fn take(&mut self, part: &[u8]) -> io::Result<()> {
        self.file.write_all(part)?;
        self.digest.update(part);
        self.bytes += part.len() as u64;
        Ok(())
    }
}

/// A file under a name of its own, which goes unless it gets the right one.
struct Partial {
    path: PathBuf,
    file: File,
}

impl Partial {
    /// In the folder of `file`, so that it can be renamed.
    fn beside(file: &Path) -> anyhow::Result<Self> {
        let Some(name) = file.file_name() else {
            bail!("`{}` is no name of a file", file.display());
        };
        let mut hidden = OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{}.partial", std::process::id()));
        let path = file.with_file_name(hidden);
        let made = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(&path);
        let file = made.with_context(|| format!("making `{}`", path.display()))?;
        Ok(Self { path, file })
    }

    fn name(self, file: &Path, force: bool) -> anyhow::Result<()> {
        let named = if force {
            fs::rename(&self.path, file)
        } else {
            // Unlike a rename, it replaces nothing that has come meanwhile.
            fs::hard_link(&self.path, file)
        };
        match named {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(exists(file)),
            Err(_) if !force && fs::symlink_metadata(file).is_err() => {
                // A file system without hard links.
                fs::rename(&self.path, file)
            }
            named => named,
        }
        .with_context(|| format!("naming the backup `{}`", file.display()))?;
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))
            .and_then(|folder| folder.sync_all())
            .context("syncing the folder of the backup to disk")
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                super::complain(&format!("`{}` is left: {error}", self.path.display()));
            }
            Ok(()) | Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_partial_file_gets_its_name_or_goes_and_replaces_only_when_forced() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("backup.db");
        let names = || fs::read_dir(folder.path()).unwrap().count();
        drop(Partial::beside(&file).unwrap());
        assert_eq!(names(), 0);
        let write = |text: &[u8]| {
            let partial = Partial::beside(&file).unwrap();
            (&partial.file).write_all(text).unwrap();
            partial
        };
        write(b"1").name(&file, false).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, FILE_MODE);
        let refused = write(b"2").name(&file, false).unwrap_err().to_string();
        assert!(refused.contains("`--force`"), "{refused}");
        assert_eq!((fs::read(&file).unwrap(), names()), (b"1".to_vec(), 1));
        write(b"3").name(&file, true).unwrap();
        assert_eq!((fs::read(&file).unwrap(), names()), (b"3".to_vec(), 1));
    }
}
