//! Certificates for tests, and a client that trusts them.

use std::sync::Arc;

use anyhow::Context as _;
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// The name that the certificates here are for.
pub const NAME: &str = "gateway.example";

/// A certificate that signs itself, and its key, in PEM.
#[derive(Clone, Debug)]
pub struct Pair {
    pub certificate: String,
    pub key: String,
    der: CertificateDer<'static>,
}

impl Pair {
    /// A new one, valid until the first day of `until`.
    ///
    /// # Errors
    ///
    /// Where it cannot be made.
    pub fn until(until: i32) -> anyhow::Result<Self> {
        let mut parameters = CertificateParams::new([NAME.to_owned()]).context("a certificate")?;
        parameters.not_before = date_time_ymd(2000, 1, 1);
        parameters.not_after = date_time_ymd(until, 1, 1);
        let key = KeyPair::generate().context("a key")?;
        let made = parameters.self_signed(&key).context("signing a certificate")?;
        Ok(Self { certificate: made.pem(), key: key.serialize_pem(), der: made.der().clone() })
    }

    /// One that is valid in any test.
    ///
    /// # Errors
    ///
    /// As [`Self::until`].
    pub fn new() -> anyhow::Result<Self> {
        Self::until(2200)
    }
}

/// A client that trusts these pairs, and offers these protocols. `newest`: TLS 1.3 or else 1.2.
///
/// # Errors
///
/// Where it cannot be made.
pub fn connector(pairs: &[Pair], alpn: &[&str], newest: bool) -> anyhow::Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    for pair in pairs {
        roots.add(pair.der.clone()).context("trusting a certificate")?;
    }
    let version = if newest { &TLS13 } else { &TLS12 };
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[version])
        .context("a client")?;
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Connects and shakes hands.
///
/// # Errors
///
/// Where nobody listens there, or what it shows is not trusted.
pub async fn connect(
    connector: &TlsConnector,
    address: &str,
) -> anyhow::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await.context("connecting")?;
    stream.set_nodelay(true).context("setting TCP_NODELAY")?;
    let name = ServerName::try_from(NAME).context("a name")?;
    connector.connect(name, stream).await.context("shaking hands")
}

/// The certificate that the other side showed.
#[must_use]
pub fn shown(stream: &TlsStream<TcpStream>) -> Option<CertificateDer<'static>> {
    let (_, session) = stream.get_ref();
    session.peer_certificates()?.first().map(|shown| shown.clone().into_owned())
}

impl PartialEq<CertificateDer<'static>> for Pair {
    fn eq(&self, other: &CertificateDer<'static>) -> bool {
        self.der == *other
    }
}
