//! A provider that connects over TLS from an address of its choice.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use anyhow::Context as _;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use sluice_tests::http::Connection;
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Makes an authority, and a certificate of it for `localhost`, in the forms that proxies read.
pub(super) fn make_certificates(folder: &Path) {
    let script = "
        set -e
        new='-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes'
        openssl req -x509 $new -keyout ca.key -out ca.pem -days 30 -subj '/CN=Test authority'
        openssl req $new -keyout privkey.pem -out leaf.csr -subj /CN=localhost
        printf 'subjectAltName=DNS:localhost\\nbasicConstraints=CA:FALSE\\n' > leaf.ext
        openssl x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 \
            -extfile leaf.ext -out leaf.pem
        cat leaf.pem ca.pem > fullchain.pem
        cat fullchain.pem privkey.pem > hooks.pem";
    let made = Command::new("sh").args(["-c", script]).current_dir(folder).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// Trusts the authority of that folder, and nobody else.
pub(super) fn tls(folder: &Path) -> TlsConnector {
    let authority = CertificateDer::from_pem_file(folder.join("ca.pem")).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(authority).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

/// Connects from this address.
pub(super) async fn connect(from: Ipv4Addr, to: SocketAddr) -> anyhow::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((from, 0).into()).context("taking an address")?;
    let stream = socket.connect(to).await.context("connecting")?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Connects over TLS from this address, to send bytes as they are.
pub(super) async fn open_tls(
    connector: &TlsConnector,
    from: Ipv4Addr,
    to: SocketAddr,
) -> anyhow::Result<TlsStream<TcpStream>> {
    let stream = connect(from, to).await?;
    let name = ServerName::try_from("localhost")?;
    connector.connect(name, stream).await.context("TLS")
}

/// Connects over TLS from this address.
pub(super) async fn connect_tls(
    connector: &TlsConnector,
    from: Ipv4Addr,
    to: SocketAddr,
) -> anyhow::Result<Connection> {
    let stream = open_tls(connector, from, to).await?;
    Connection::over(stream, &format!("localhost:{}", to.port())).await
}
