//! The installation's own key for digests of presented credentials.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use anyhow::{Context as _, ensure};
use ring::hmac;
use ring::rand::{SecureRandom as _, SystemRandom};
use zeroize::Zeroizing;

/// As long as the digest it keys: RFC 2104, section 3.
const KEY_BYTES: usize = 32;

/// Opens the key that belongs to a database, and makes it at the first start. It lies beside the
/// database (`sluice.digest-key` beside `sluice.db`), since digests stored there are of no use
/// without it.
pub(super) fn open(database: &Path) -> anyhow::Result<hmac::Key> {
    let path = database.with_extension("digest-key");
    open_file(&path).with_context(|| format!("opening the digest key {}", path.display()))
}

fn open_file(path: &Path) -> anyhow::Result<hmac::Key> {
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    match OpenOptions::new().read(true).open(path) {
        Ok(mut file) => {
            file.read_exact(key.as_mut()).context("it is shorter than 32 bytes: remove it")?;
        }
        Err(error) if error.kind() == ErrorKind::NotFound => create(path, &mut key)?,
        Err(error) => return Err(error.into()),
    }
    ensure!(*key != [0; KEY_BYTES], "it holds zeros: remove it");
    Ok(hmac::Key::new(hmac::HMAC_SHA256, key.as_ref()))
}

fn create(path: &Path, key: &mut [u8; KEY_BYTES]) -> anyhow::Result<()> {
    SystemRandom::new().fill(key).ok().context("the system gave no random bytes")?;
    if let Some(folder) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    // Whole or not at all: a crash must not leave half a key behind.
    let beside = path.with_extension("digest-key.partial");
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.write_all(key)?;
    file.sync_all()?;
    std::fs::rename(&beside, path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_made_once_and_stays() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("new").join("sluice.db");
        let sign = |key: &hmac::Key| hmac::sign(key, b"x").as_ref().to_vec();
        let first = sign(&open(&database).unwrap());
        assert_eq!(sign(&open(&database).unwrap()), first);
        let other = folder.path().join("other.db");
        assert_ne!(sign(&open(&other).unwrap()), first);
    }

    #[test]
    fn a_damaged_key_is_refused_rather_than_used() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.digest-key"), [0; 32]).unwrap();
        std::fs::write(folder.path().join("b.digest-key"), b"short").unwrap();
        assert!(open(&folder.path().join("a.db")).is_err());
        assert!(open(&folder.path().join("b.db")).is_err());
    }
}
