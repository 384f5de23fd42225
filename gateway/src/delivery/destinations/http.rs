//! `CloudEvents` over HTTP, signed per Standard Webhooks.

use std::sync::{Arc, Once};
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, InvalidHeaderName, InvalidHeaderValue,
    RETRY_AFTER,
};
use reqwest::{Client, Response, redirect, retry};
use tokio::time::{Instant, timeout_at};
use url::Url;

use super::{Carried, Carry, Carrying};
use crate::config::{DestinationConfig, DestinationKind, HttpFormat};
use crate::delivery::address::AddressPolicy;
use crate::delivery::attempt::AttemptError;
use crate::delivery::cloudevent;
use crate::delivery::lookups::Lookups;
use crate::delivery::resolver::{AddressDenied, VettingResolver};
use crate::delivery::retry::parse_retry_after;
use crate::delivery::signature::{self, InvalidKey, SigningKeys};
use crate::model::{Clock, Event, LeasedDelivery, UnixMillis};

/// Largest answer body that is read, in bytes: reading to its end lets the connection be used
/// again, and an error page fits. Beyond, the connection is closed instead.
const ANSWER_BYTES_MAX: usize = 16 * 1024;

/// Longest time spent on an answer's body, within the attempt's. The status has already said all that
/// counts.
const ANSWER_BODY_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a kept connection may be unused: below the 60 s after which common servers close, so
/// that a request seldom meets a closing one.
const IDLE_CONNECTION_TIMEOUT: Duration = Duration::from_secs(30);

/// Why a destination cannot be used as it is configured.
#[derive(Debug, thiserror::Error)]
pub enum InvalidDestination {
    #[error("the signing secret is unusable")]
    SigningSecret(#[source] InvalidKey),
    #[error("`{name}` is not the name of a header")]
    HeaderName {
        name: String,
        #[source]
        source: InvalidHeaderName,
    },
    /// The value may be a secret and is not told.
    #[error("the value of header `{name}` holds bytes that no header may")]
    HeaderValue {
        name: String,
        #[source]
        source: InvalidHeaderValue,
    },
    #[error("no HTTP client could be made")]
    Client(#[source] reqwest::Error),
    #[error("it is not an HTTP destination")]
    OtherKind,
}

/// One `type = "http"` destination with its own connections.
#[derive(Debug)]
pub struct HttpDestination {
    client: Client,
    clock: Arc<dyn Clock>,
    url: Url,
    format: HttpFormat,
    headers: HeaderMap,
    keys: Option<SigningKeys>,
    timeout: Duration,
}

impl HttpDestination {
    /// Prepares a destination; connects to nothing.
    ///
    /// # Errors
    ///
    /// Where its secret or headers are unusable, or the system has no certificate authorities.
    pub fn new(
        config: &DestinationConfig,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, InvalidDestination> {
        Self::sharing(config, clock, Arc::default())
    }

    /// As [`Self::new`], with the look-ups of other destinations.
    pub(in crate::delivery) fn sharing(
        config: &DestinationConfig,
        clock: Arc<dyn Clock>,
        lookups: Arc<Lookups>,
    ) -> Result<Self, InvalidDestination> {
        let DestinationKind::Http { url, format, signing_secret, headers, allow_private } =
            &config.kind
        else {
            return Err(InvalidDestination::OtherKind);
        };
        let mut fixed = HeaderMap::with_capacity(headers.len());
        for (name, value) in headers {
            let header = HeaderName::try_from(name.as_str())
                .map_err(|source| InvalidDestination::HeaderName { name: name.clone(), source })?;
            let mut value = HeaderValue::from_bytes(value.expose())
                .map_err(|source| InvalidDestination::HeaderValue { name: name.clone(), source })?;
            value.set_sensitive(true);
            fixed.append(header, value);
        }
        let keys = signing_secret.as_ref().map(SigningKeys::new).transpose();
        let policy = AddressPolicy::of(url, *allow_private);
        let resolver = VettingResolver { policy, lookups };
        Ok(Self {
            client: client(url, resolver, config).map_err(InvalidDestination::Client)?,
            clock,
            url: url.clone(),
            format: *format,
            headers: fixed,
            keys: keys.map_err(InvalidDestination::SigningSecret)?,
            timeout: config.timeout,
        })
    }

    /// Makes one attempt: within the destination's timeout, signed anew.
    ///
    /// # Errors
    ///
    /// Why it failed, and thereby whether another attempt could succeed.
    pub async fn attempt(&self, event: &Event) -> Result<(), AttemptError> {
        let (headers, body) = self.render(event, self.clock.now())?;
        let deadline = Instant::now() + self.timeout;
        let request = self.client.post(self.url.clone()).headers(headers).body(body);
        let answer = timeout_at(deadline, request.send())
            .await
            .map_err(|_| AttemptError::TimedOut { timeout: self.timeout })?
            .map_err(|error| self.classify(error))?;
        let status = answer.status();
        let retry_after = answer
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| parse_retry_after(value, self.clock.now()));
        discard_body(answer, deadline.min(Instant::now() + ANSWER_BODY_TIMEOUT)).await;
        AttemptError::from_status(status, retry_after)
    }

    /// Head and body of a request made at `at`.
    fn render(&self, event: &Event, at: UnixMillis) -> Result<(HeaderMap, Bytes), AttemptError> {
        let (event_headers, body) = match self.format {
            HttpFormat::Structured => {
                let mut headers = HeaderMap::with_capacity(1);
                headers.insert(CONTENT_TYPE, cloudevent::STRUCTURED_CONTENT_TYPE);
                (headers, Bytes::from(cloudevent::structured(event)))
            }
            HttpFormat::Binary => {
                (cloudevent::binary(event), Bytes::copy_from_slice(event.data.as_bytes()))
            }
        };
        // What the envelope says stands above what is configured.
        let mut headers = self.headers.clone();
        headers.extend(event_headers);
        if let Some(keys) = &self.keys {
            let id = event.id.to_string();
            let signature = keys.sign(&id, at, &body).ok_or(AttemptError::Unsigned)?;
            for (name, value) in [
                ("webhook-id", id),
                ("webhook-timestamp", signature::timestamp(at)),
                ("webhook-signature", signature),
            ] {
                let value =
                    HeaderValue::try_from(value).expect("ids, numbers and base64 are header text");
                headers.insert(HeaderName::from_static(name), value);
            }
        }
        Ok((headers, body))
    }

    fn classify(&self, error: reqwest::Error) -> AttemptError {
        // A URL may carry a credential, and errors are stored and logged.
        let error = error.without_url();
        if is_caused_by::<AddressDenied>(&error) {
            AttemptError::AddressDenied
        } else if error.is_timeout() {
            AttemptError::TimedOut { timeout: self.timeout }
        } else if error.is_connect() {
            AttemptError::Unreachable(error)
        } else {
            AttemptError::BrokenOff(error)
        }
    }
}

impl Carry for HttpDestination {
    fn carry<'a>(&'a self, leased: &'a LeasedDelivery) -> Carrying<'a> {
        Box::pin(async { self.attempt(&leased.event).await.map(|()| Carried::Taken) })
    }
}

fn client(
    url: &Url,
    resolver: VettingResolver,
    config: &DestinationConfig,
) -> Result<Client, reqwest::Error> {
    install_crypto_provider();
    let builder = Client::builder()
        .user_agent(concat!("sluice/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
        // Retries are the schedule's, and counted.
        .retry(retry::never())
        // Neither HTTP_PROXY and its kin, which would choose the address in our place.
        .no_proxy()
        .dns_resolver(resolver)
        .connect_timeout(config.timeout)
        .pool_idle_timeout(IDLE_CONNECTION_TIMEOUT)
        .pool_max_idle_per_host(config.concurrency)
        .tcp_nodelay(true)
        .http1_only();
    if url.scheme() == "http" {
        // Spares the loading of certificate authorities, and works where there are none.
        builder.tls_certs_only([]).build()
    } else {
        builder.https_only(true).build()
    }
}

/// Makes ring the process's provider of TLS cryptography, unless it has one already.
fn install_crypto_provider() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        // An error says that there is one already, which serves as well.
        drop(rustls::crypto::ring::default_provider().install_default());
    });
}

/// Reads the rest of an answer as far as it is short, for the sake of the connection.
async fn discard_body(mut answer: Response, deadline: Instant) {
    let reading = async {
        let mut read = 0_usize;
        while let Ok(Some(chunk)) = answer.chunk().await {
            read = read.saturating_add(chunk.len());
            if read > ANSWER_BYTES_MAX {
                break;
            }
        }
    };
    // Late or broken, the outcome is the same: the status stands.
    drop(timeout_at(deadline, reading).await);
}

fn is_caused_by<E: std::error::Error + 'static>(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.is::<E>() {
            return true;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests;
