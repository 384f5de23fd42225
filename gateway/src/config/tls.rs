//! Certificates and their keys, made ready for handshakes.
//!
//! Invariant: no message and no `Debug` shows any part of a key.

mod validity;

use std::fmt;
use std::sync::Arc;

use ring::digest::{Context, SHA256};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{Error, InconsistentKeys, ServerConfig, version};

use crate::model::UnixMillis;

/// Most certificates of one chain: a handshake sends them all.
const CHAIN_MAX: usize = 16;

/// What a listener shows of itself in a handshake.
#[derive(Clone)]
pub struct TlsConfig {
    /// Of the chain's first certificate.
    pub expires_at: UnixMillis,
    chain_digest: [u8; 32],
    server: Arc<ServerConfig>,
}

impl fmt::Debug for TlsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsConfig").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

/// Which of the two files is wrong, and what to say of it.
pub(super) enum TlsFault {
    Certificate(String),
    Key { message: String, help: Option<String> },
}

impl TlsConfig {
    /// From a chain and its key in PEM. TLS 1.2 and 1.3; `http2`: whether ALPN offers it.
    pub(super) fn new(chain: &[u8], key: &[u8], http2: bool) -> Result<Self, TlsFault> {
        let (chain, expires_at) = read_chain(chain)?;
        let mut digest = Context::new(&SHA256);
        chain.iter().for_each(|certificate| digest.update(certificate));
        let mut chain_digest = [0; 32];
        chain_digest.iter_mut().zip(digest.finish().as_ref()).for_each(|(to, from)| *to = *from);

        let provider = Arc::new(default_provider());
        // The parser's own errors might quote what they met.
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|_| wrong_key("holds no private key in PEM", None))?;
        let signing = provider
            .key_provider
            .load_private_key(key)
            .map_err(|_| wrong_key("holds a private key of a kind that cannot be used", None))?;
        let certified = CertifiedKey::new(chain, signing);
        match certified.keys_match() {
            Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
            Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
                let help = "the two files have to be renewed together, each by rename".to_owned();
                return Err(wrong_key("is not the key of the certificate", Some(help)));
            }
            Err(error) => return Err(TlsFault::Certificate(format!("cannot be used: {error}"))),
        }
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&version::TLS13, &version::TLS12])
            .map_err(|error| TlsFault::Certificate(format!("cannot be used: {error}")))?;
        let resolver = Arc::new(SingleCertAndKey::from(certified));
        let mut server = config.with_no_client_auth().with_cert_resolver(resolver);
        server.alpn_protocols = vec![b"http/1.1".to_vec()];
        if http2 {
            server.alpn_protocols.insert(0, b"h2".to_vec());
        }
        Ok(Self { expires_at, chain_digest, server: Arc::new(server) })
    }

    /// For handshakes.
    #[must_use]
    pub fn server(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.server)
    }

    /// SHA-256 over the chain.
    pub(super) const fn chain_digest(&self) -> &[u8; 32] {
        &self.chain_digest
    }
}

fn wrong_key(message: &str, help: Option<String>) -> TlsFault {
    TlsFault::Key { message: message.to_owned(), help }
}

/// The chain, and when its first certificate expires.
fn read_chain(pem: &[u8]) -> Result<(Vec<CertificateDer<'static>>, UnixMillis), TlsFault> {
    let wrong = |message: &str| TlsFault::Certificate(message.to_owned());
    let chain: Result<Vec<_>, _> =
        CertificateDer::pem_slice_iter(pem).take(CHAIN_MAX + 1).collect();
    let chain = chain.map_err(|error| TlsFault::Certificate(format!("is no PEM: {error}")))?;
    if chain.len() > CHAIN_MAX {
        return Err(wrong("holds more than 16 certificates"));
    }
    let first = chain.first().ok_or_else(|| wrong("holds no certificate in PEM"))?;
    let expires_at = validity::expires_at(first);
    let expires_at = expires_at.ok_or_else(|| wrong("holds no X.509 certificate"))?;
    Ok((chain, expires_at))
}
