//! A proxy, started with the file that we ship: what differs is where things lie.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

use sluice_tests::http::Connection;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{Group, client, free_port, listening, own_address};

/// Which proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Nginx,
    HaProxy,
    Caddy,
}

impl Kind {
    pub(super) const ALL: [Self; 3] = [Self::Nginx, Self::HaProxy, Self::Caddy];

    const fn file(self) -> &'static str {
        match self {
            Self::Nginx => "nginx.conf",
            Self::HaProxy => "haproxy.cfg",
            Self::Caddy => "Caddyfile",
        }
    }
}

/// How to reach a proxy.
#[derive(Clone)]
pub(super) struct Way {
    tls: TlsConnector,
    address: SocketAddr,
}

impl Way {
    /// A connection over TLS from this address, to send bytes as they are.
    pub(super) async fn open(&self, from: Ipv4Addr) -> anyhow::Result<TlsStream<TcpStream>> {
        client::open_tls(&self.tls, from, self.address).await
    }

    /// A connection over TLS from this address.
    pub(super) async fn connect(&self, from: Ipv4Addr) -> anyhow::Result<Connection> {
        client::connect_tls(&self.tls, from, self.address).await
    }
}

/// A running proxy in front of a gateway.
pub(super) struct Front {
    pub(super) kind: Kind,
    pub(super) address: SocketAddr,
    folder: TempDir,
    way: Way,
    process: Option<Group>,
    /// Where Caddy is told to reload.
    own_admin: SocketAddr,
}

/// Replaces what has to be there, once.
pub(super) fn edit(text: &str, from: &str, to: &str) -> String {
    assert_eq!(text.matches(from).count(), 1, "{from:?} in\n{text}");
    text.replace(from, to)
}

impl Front {
    pub(super) async fn start(kind: Kind, ingest: SocketAddr, admin: SocketAddr) -> Self {
        Self::start_with(kind, ingest, admin, |text| text).await
    }

    /// Starts it with changes that an operator would make as well.
    pub(super) async fn start_with(
        kind: Kind,
        ingest: SocketAddr,
        admin: SocketAddr,
        change: impl FnOnce(String) -> String,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        client::make_certificates(folder.path());
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config").join(kind.file());
        let text = change(std::fs::read_to_string(shipped).unwrap());
        let own = own_address();
        let [address, own_admin] = [(); 2].map(|()| SocketAddr::from((own, free_port(own))));
        let text = placed(kind, &text, folder.path(), [address, own_admin], (ingest, admin));
        std::fs::write(folder.path().join(kind.file()), text).unwrap();
        let tls = client::tls(folder.path());
        let way = Way { tls, address };
        let mut front = Self { kind, address, folder, way, process: None, own_admin };
        front.run().await;
        front
    }

    /// Starts the process, at first or after [`Self::kill`].
    pub(super) async fn run(&mut self) {
        let log = self.folder.path().join("output.log");
        let config = self.config();
        let mut command = match self.kind {
            Kind::Nginx => {
                let pid = self.folder.path().join("nginx.pid");
                let mut command = Command::new("nginx");
                command.arg("-c").arg(config).arg("-g");
                command.arg(format!("daemon off; pid {};", pid.display()));
                command
            }
            Kind::HaProxy => {
                let mut command = Command::new("haproxy");
                command.arg("-W").arg("-f").arg(config);
                command
            }
            Kind::Caddy => {
                let mut command = Command::new("caddy");
                command.args(["run", "--adapter", "caddyfile", "--config"]).arg(config);
                command.env("HOME", self.folder.path());
                command
            }
        };
        self.process = Some(Group::start(&mut command, &log));
        listening(self.address, &log).await;
    }

    /// Kills it with all its workers, as a crash would.
    pub(super) fn kill(&mut self) {
        self.process = None;
    }

    /// Reloads its configuration as its operator does.
    pub(super) async fn reload(&self) {
        let process = self.process.as_ref().unwrap();
        match self.kind {
            Kind::Nginx => process.reload("HUP").await,
            Kind::HaProxy => process.reload("USR2").await,
            Kind::Caddy => {
                let address = self.own_admin.to_string();
                let reloaded = tokio::process::Command::new("caddy")
                    .args(["reload", "--force", "--adapter", "caddyfile"])
                    .args(["--address", &address, "--config"])
                    .arg(self.config())
                    .env("HOME", self.folder.path())
                    .output()
                    .await
                    .unwrap();
                assert!(reloaded.status.success(), "{reloaded:?}");
            }
        }
    }

    /// A connection over TLS from this address.
    pub(super) async fn connect(&self, from: Ipv4Addr) -> anyhow::Result<Connection> {
        self.way.connect(from).await
    }

    pub(super) fn way(&self) -> Way {
        self.way.clone()
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join(self.kind.file())
    }
}

/// The shipped file with the places of one test: ports, certificates, logs.
fn placed(
    kind: Kind,
    text: &str,
    folder: &Path,
    [address, own_admin]: [SocketAddr; 2],
    (ingest, admin): (SocketAddr, SocketAddr),
) -> String {
    let (folder, port) = (folder.to_str().unwrap(), address.port());
    match kind {
        Kind::Nginx => {
            let text = edit(text, "server 127.0.0.1:8080;", &format!("server {ingest};"));
            let text = edit(&text, "listen 443 ", &format!("listen {address} "));
            text.replace("/etc/sluice/tls", folder).replace("/var/log/nginx", folder)
        }
        Kind::HaProxy => {
            let checked = format!("check addr 127.0.0.1 port {} ", admin.port());
            let text = text.replace("127.0.0.1:8080", &ingest.to_string());
            let text = text.replace("check addr 127.0.0.1 port 9090 ", &checked);
            let text = edit(&text, "bind :443 ", &format!("bind {address} "));
            text.replace("/etc/sluice/tls", folder)
        }
        Kind::Caddy => {
            let own = format!(
                "https://localhost:{port} {{\n\tbind {}\n\ttls {folder}/fullchain.pem \
                 {folder}/privkey.pem\n",
                address.ip()
            );
            let text = edit(text, "hooks.example.com {\n", &own);
            let text = edit(&text, "127.0.0.1:8080 {", &format!("{ingest} {{"));
            let options = format!("admin {own_admin}\n\tservers {{");
            edit(&text, "servers {", &options)
        }
    }
}
