//! What goes back to the sender: the one place where an ending becomes a status.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::Full;

use crate::model::{Answer, Diagnosis};
use crate::storage::StorageError;

pub(super) type HttpAnswer = Response<Full<Bytes>>;

/// Seconds after which an overloaded gateway is worth another try.
const RETRY_OVERLOADED: u32 = 1;

/// After a trap or a deadline of an adapter: time for an operator, or a burst, to pass.
pub(super) const RETRY_ADAPTER: u32 = 30;

/// After a failure of storage: a full disk is not emptied in a moment, and a restart takes some.
const RETRY_STORAGE: u32 = 10;

/// Headers that belong to the connection or to the gateway, whatever an adapter says.
const OWN_HEADERS: [&str; 11] = [
    "connection",
    "content-length",
    "date",
    "keep-alive",
    "proxy-authenticate",
    "proxy-connection",
    "server",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// A refusal: what the sender is told, and what only the operator is.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) retry_after: Option<u32>,
    /// Of a 405.
    pub(super) allow: Option<HeaderValue>,
    /// Whether the connection ends with it: what follows on it cannot be trusted or was not read.
    pub(super) close: bool,
    pub(super) diagnosis: Diagnosis,
    pub(super) detail: Cow<'static, str>,
}

impl Refusal {
    pub(super) fn new(
        status: StatusCode,
        diagnosis: Diagnosis,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        let detail = detail.into();
        Self { status, retry_after: None, allow: None, close: false, diagnosis, detail }
    }

    /// Our fault, and worth sending again.
    fn unavailable(
        seconds: u32,
        diagnosis: Diagnosis,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        let refusal = Self::new(StatusCode::SERVICE_UNAVAILABLE, diagnosis, detail);
        Self { retry_after: Some(seconds), ..refusal }
    }

    pub(super) fn closing(self) -> Self {
        Self { close: true, ..self }
    }

    pub(super) fn overloaded(detail: &'static str) -> Self {
        Self::unavailable(RETRY_OVERLOADED, Diagnosis::OVERLOADED, detail)
    }

    /// The adapter trapped or ran out of time.
    pub(super) fn adapter(diagnosis: Diagnosis, detail: String) -> Self {
        Self::unavailable(RETRY_ADAPTER, diagnosis, detail)
    }

    /// Whatever storage could not do, the sender is to come again.
    pub(super) fn storage(error: &StorageError) -> Self {
        let seconds = match error {
            StorageError::Busy => RETRY_OVERLOADED,
            StorageError::Full
            | StorageError::Fatal { .. }
            | StorageError::Closed
            | StorageError::Failed { .. } => RETRY_STORAGE,
        };
        Self::unavailable(seconds, Diagnosis::STORAGE_UNAVAILABLE, error.to_string())
    }

    /// A commit of which nobody knows yet what became of it. Sent again, the request is a
    /// duplicate or is stored then.
    pub(super) fn unconfirmed() -> Self {
        let detail = "the commit was not confirmed before the route's deadline";
        Self::unavailable(RETRY_STORAGE, Diagnosis::STORAGE_UNAVAILABLE, detail)
    }

    /// What the sender sees of it: a status without a body.
    pub(super) fn to_http(&self) -> HttpAnswer {
        let mut response = empty(self.status);
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(allow) = &self.allow {
            headers.insert(header::ALLOW, allow.clone());
        }
        if self.close {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// An unknown path and a wrong path token: the same bytes.
pub(super) fn not_found() -> HttpAnswer {
    empty(StatusCode::NOT_FOUND)
}

fn empty(status: StatusCode) -> HttpAnswer {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

/// An answer of an adapter. hyper adds `date` and `content-length`.
pub(super) fn from_adapter(answer: Answer) -> HttpAnswer {
    let mut response = Response::new(Full::new(answer.body));
    // Answers were checked when they were made; one that slipped through must not become a 2xx.
    *response.status_mut() =
        StatusCode::from_u16(answer.status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    for (name, value) in answer.headers {
        let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(&value))
        else {
            continue;
        };
        if !OWN_HEADERS.contains(&name.as_str()) {
            response.headers_mut().append(name, value);
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_the_connection_are_not_an_adapters_to_set() {
        let headers = [
            ("x-a", "1"),
            ("x-a", "2"),
            ("content-length", "9"),
            ("Connection", "upgrade"),
            ("server", "x"),
            ("bad name", "x"),
            ("x-b", "line\r\nbreak"),
        ];
        let headers = headers.map(|(name, value)| (name.into(), value.into())).to_vec();
        let response = from_adapter(Answer { status: 201, headers, body: Bytes::new() });
        assert_eq!(response.status(), 201);
        assert_eq!(response.headers().len(), 2);
        assert_eq!(response.headers().get_all("x-a").iter().count(), 2);
    }

    #[test]
    fn whatever_storage_fails_at_is_worth_sending_again() {
        let detail = || "x".to_owned();
        for error in [
            StorageError::Full,
            StorageError::Busy,
            StorageError::Fatal { detail: detail() },
            StorageError::Closed,
            StorageError::Failed { detail: detail() },
        ] {
            let response = Refusal::storage(&error).to_http();
            assert_eq!(response.status(), 503);
            assert!(response.headers().contains_key("retry-after"), "{error}");
        }
    }
}
