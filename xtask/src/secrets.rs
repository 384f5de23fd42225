//! The first secrets of a fresh checkout: random, and readable by their owner alone.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use anyhow::Context as _;

/// Bytes of randomness in each secret: 256 bits.
const SECRET_BYTES: usize = 32;

/// The files that `config/sluice.toml` names, and what stands before each value.
/// `whsec_` marks a Standard Webhooks key, whose rest is standard base64.
const FILES: [(&str, Form); 5] = [
    ("admin-token", Form::Hex),
    ("vkyc-secret", Form::Hex),
    ("zotlo-token", Form::Hex),
    ("paytia-token", Form::Hex),
    ("events-signing", Form::StandardWebhooks),
];

#[derive(Clone, Copy, Debug)]
enum Form {
    Hex,
    StandardWebhooks,
}

/// Makes what is missing in `folder`; returns the names of the files it made. What exists is
/// never touched.
///
/// # Errors
///
/// Where the folder cannot be written or there is no randomness.
pub(crate) fn make_missing(folder: &Path) -> anyhow::Result<Vec<&'static str>> {
    if !folder.exists() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .with_context(|| format!("making {}", folder.display()))?;
    }
    let mut made = Vec::new();
    for (name, form) in FILES {
        let file = folder.join(name);
        if !file.exists() {
            write_new(&file, &render(form, &random()?))
                .with_context(|| format!("writing {}", file.display()))?;
            made.push(name);
        }
    }
    Ok(made)
}

fn random() -> anyhow::Result<[u8; SECRET_BYTES]> {
    let mut bytes = [0; SECRET_BYTES];
    File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut bytes))
        .context("reading /dev/urandom")?;
    Ok(bytes)
}

/// Written beside and renamed: a secret cut short by a crash would be kept for ever.
fn write_new(file: &Path, text: &str) -> std::io::Result<()> {
    let half = file.with_extension("new");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut open = options.open(&half)?;
    writeln!(open, "{text}")?;
    open.sync_all()?;
    fs::rename(&half, file)
}

fn render(form: Form, bytes: &[u8]) -> String {
    match form {
        Form::Hex => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        Form::StandardWebhooks => format!("whsec_{}", base64(bytes)),
    }
}

/// RFC 4648 section 4, padded.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let group = (0..3).fold(0_u32, |group, index| {
            group << 8 | u32::from(chunk.get(index).copied().unwrap_or_default())
        });
        for place in 0..4_usize {
            let six = usize::try_from(group >> (18 - 6 * place) & 0x3f).unwrap_or_default();
            let digit = ALPHABET.get(six).copied().unwrap_or_default();
            // A chunk of n bytes has n + 1 digits.
            text.push(if place <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::PathBuf;

    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("xtask-{name}-{}", std::process::id()));
            Self(folder)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            if let Err(error) = fs::remove_dir_all(&self.0) {
                eprintln!("could not remove {}: {error}", self.0.display());
            }
        }
    }

    #[test]
    fn secrets_are_made_once_and_for_the_owner_alone() {
        let folder = Folder::new("secrets");
        assert_eq!(make_missing(&folder.0).unwrap().len(), FILES.len());
        assert_eq!(fs::metadata(&folder.0).unwrap().permissions().mode() & 0o777, 0o700);
        let read = |name: &str| fs::read_to_string(folder.0.join(name)).unwrap();
        for (name, _) in FILES {
            let mode = fs::metadata(folder.0.join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
        let before = read("vkyc-secret");
        assert_eq!(before.trim().len(), 2 * SECRET_BYTES);
        assert_ne!(before, read("zotlo-token"));
        assert!(read("events-signing").starts_with("whsec_"));
        assert_eq!(make_missing(&folder.0).unwrap(), Vec::<&str>::new());
        assert_eq!(read("vkyc-secret"), before);
    }

    #[test]
    fn base64_agrees_with_rfc_4648() {
        for (bytes, expected) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(bytes.as_bytes()), expected);
        }
        assert_eq!(base64(&[0xfb, 0xff]), "+/8=");
    }
}
