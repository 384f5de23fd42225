//! Where the gateway listens, and the ready file: how a supervisor or a test learns the addresses of
//! a gateway that bound port 0.

use std::fmt;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::Context as _;

use crate::config::{IngestConfig, Listen};
use crate::ingest::Listener;

/// Where providers post, in the order of the configuration: as it is written there, and as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Addresses(Vec<(Listen, Listen)>);

impl Addresses {
    pub(super) fn of(listeners: &[Listener]) -> Self {
        let each = listeners.iter();
        Self(each.map(|one| (one.listen().clone(), one.address().clone())).collect())
    }

    /// Those of `config`, which listens where these do and where `added` do.
    pub(super) fn after(&self, config: &IngestConfig, added: &Self) -> Self {
        let find = |listen: &Listen| {
            // A name of the service manager may stand for several sockets.
            let of = |all: &Self| {
                all.0.iter().filter(|(written, _)| written == listen).cloned().collect()
            };
            let found: Vec<_> = of(added);
            if found.is_empty() { of(self) } else { found }
        };
        Self(config.listeners.iter().flat_map(|listener| find(&listener.listen)).collect())
    }

    /// Writes `{"ingest":…,"listeners":[…],"admin":…,"pid":…}` to a file beside `path` and renames it
    /// there, so that who sees the file sees all of it. `ingest` is the first listener's address.
    pub(super) fn write(&self, path: &Path, admin: SocketAddr) -> anyhow::Result<()> {
        let listeners: Vec<_> = self.0.iter().map(told).collect();
        let text = serde_json::json!({
            "ingest": self.0.first().map(|(_, address)| address.to_string()),
            "listeners": listeners,
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
}

fn told((written, address): &(Listen, Listen)) -> serde_json::Value {
    serde_json::json!({ "listen": written.to_string(), "address": address.to_string() })
}

impl fmt::Display for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (_, address)) in self.0.iter().enumerate() {
            write!(f, "{}{address}", if index == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}
