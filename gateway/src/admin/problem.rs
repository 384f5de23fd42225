use axum::http::header::{self, HeaderValue};
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::storage::StorageError;

/// An error as the API tells it: problem details of RFC 9457.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    detail: String,
    header: Option<(HeaderName, HeaderValue)>,
}

impl Problem {
    /// `detail` is for people, in the style of all messages to operators.
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), header: None }
    }

    pub(super) fn with_header(mut self, name: HeaderName, value: impl Into<HeaderValue>) -> Self {
        self.header = Some((name, value.into()));
        self
    }
}

impl From<StorageError> for Problem {
    fn from(error: StorageError) -> Self {
        let retry_after_seconds = match error {
            StorageError::Full | StorageError::Busy | StorageError::Failed { .. } => 5_u16,
            // The gateway is stopping: the next one may answer.
            StorageError::Fatal { .. } | StorageError::Closed => 30,
        };
        Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
            .with_header(header::RETRY_AFTER, retry_after_seconds)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = json!({
            // RFC 9457 section 4.2.1: the status says all there is to the type.
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or("Error"),
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        let content_type = HeaderValue::from_static("application/problem+json");
        let mut response =
            (self.status, [(header::CONTENT_TYPE, content_type)], body.to_string()).into_response();
        if let Some((name, value)) = self.header {
            response.headers_mut().insert(name, value);
        }
        response
    }
}
