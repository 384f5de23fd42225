//! A copy of the store, as bytes: no path of the gateway's machine is taken from the network.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{self, HeaderValue};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::fs::File;
use tokio::io::{AsyncRead as _, ReadBuf};

use super::Shared;
use super::long_answer::{LongAnswer, UnderWay};
use super::problem::Problem;
use crate::storage::StorageError;

/// Bytes read and sent at once.
const PART: usize = 64 << 10;

/// Makes a copy and sends it. Its length is told, so that one that was cut off is known.
pub(super) async fn make(
    State(admin): State<Shared>,
    Extension(long): Extension<LongAnswer>,
) -> Result<Response, Problem> {
    let under_way = long.begin();
    let file = File::from_std(admin.state.storage.backup().await?);
    let failed = |error: std::io::Error| StorageError::Failed { detail: error.to_string() };
    let left = file.metadata().await.map_err(failed)?.len();
    tracing::info!(bytes = left, "A backup was made, and is sent.");
    let kind = HeaderValue::from_static("application/vnd.sqlite3");
    let body = Body::new(Copy { file, left, _under_way: under_way });
    Ok(([(header::CONTENT_TYPE, kind)], body).into_response())
}

/// What is left to send of a copy.
struct Copy {
    file: File,
    left: u64,
    _under_way: UnderWay,
}

impl hyper::body::Body for Copy {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<std::io::Result<Frame<Bytes>>>> {
        let mut part = vec![0; PART];
        let mut buffer = ReadBuf::new(&mut part);
        if let Err(error) = ready!(Pin::new(&mut self.file).poll_read(context, &mut buffer)) {
            return Poll::Ready(Some(Err(error)));
        }
        let read = buffer.filled().len();
        if read == 0 {
            return Poll::Ready(None);
        }
        self.left = self.left.saturating_sub(u64::try_from(read).unwrap_or_default());
        part.truncate(read);
        Poll::Ready(Some(Ok(Frame::data(part.into()))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
