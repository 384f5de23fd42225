//! The ready file: how a supervisor or a test learns the addresses of a gateway that bound port 0.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::Context as _;

/// Writes `{"ingest":…,"admin":…,"pid":…}` to a file beside `path` and renames it there, so that
/// who sees the file sees all of it.
pub(super) fn write(path: &Path, ingest: SocketAddr, admin: SocketAddr) -> anyhow::Result<()> {
    let text = serde_json::json!({
        "ingest": ingest.to_string(),
        "admin": admin.to_string(),
        "pid": std::process::id(),
    })
    .to_string();
    let beside = path.with_extension("partial");
    let written =
        std::fs::File::create(&beside).and_then(|mut file| file.write_all(text.as_bytes()));
    written
        .and_then(|()| std::fs::rename(&beside, path))
        .with_context(|| format!("writing the ready file {}", path.display()))
}
