//! HTTP/2: what a connection may cost, and how long it may cost anything.
//!
//! A request of it passes everything that one of HTTP/1.1 does: the bounds of what is in flight, the
//! strict layer, the deadlines of its body and its route. What is peculiar to HTTP/2 is here: many
//! requests share a connection, and most frames are none. So a connection has an account: what is
//! read of it beyond what was of use is bounded, and so is how many of its requests come to nothing.

use std::convert::Infallible;
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, header};
use hyper::Request;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::answer::HttpAnswer;
use super::client::Neighbour;
use super::connection::last_call;
use super::listener;
use super::phase::Deadlines;
use super::{Shared, handler};
use crate::faults::Fault;

/// Requests of one connection at once: a provider's burst, and a small part of what all may have in
/// flight.
const STREAMS_MAX: u32 = 64;

/// What a peer may send of one body, and of all of them, before it is read. Together with what waits
/// to be sent, all that a connection holds for its peer.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 256 * 1024;
const SEND_BYTES_MAX: usize = 64 * 1024;

/// Largest head, decoded: as in HTTP/1.1.
const HEAD_BYTES_MAX: u32 = 32 * 1024;

/// Streams that were reset before anybody looked at them, by the peer or for its mistakes. A sender
/// of webhooks has no reason for one.
const RESETS_MAX: usize = 8;

/// How often a peer is asked whether it is still there, and how soon it has to answer.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_DEADLINE: Duration = Duration::from_secs(10);

/// Bytes that a connection may send beyond what is of use. Heads, window updates and pings of a
/// sender are a few hundred for each request.
const WASTE_BYTES_MAX: u64 = 512 * 1024;

/// What an answered request is worth: its head, and what was on its way of a body that nobody read.
const REQUEST_WORTH: u64 = STREAM_WINDOW as u64;

/// Requests that may come to nothing, beyond as many as were answered. A sender gives up on some.
const ABANDONED_MAX: u64 = 32;

/// How often a connection is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// How long a peer may take to notice that it is to go.
const CLOSING_DEADLINE: Duration = Duration::from_secs(2);

/// The bytes that a connection of HTTP/2 begins with (RFC 9113 section 3.4).
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Serves a connection to its end, and says why it ended.
pub(super) async fn serve<S>(
    stream: S,
    peer: Neighbour,
    shared: &Arc<Shared>,
    deadlines: Deadlines,
    stopping: CancellationToken,
) -> &'static str
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let account = Arc::new(Account::new());
    let answer_deadline = deadlines.answer;
    let streams = Streams { tasks: Arc::default(), shared: Arc::clone(shared), answer_deadline };
    let io = TokioIo::new(Metered { stream, account: Arc::clone(&account) });
    let service = service_fn(|request| {
        let (shared, account) = (Arc::clone(shared), Arc::clone(&account));
        answer(shared, peer, account, request)
    });
    let mut connection = pin!(protocol(streams.clone()).serve_connection(io, service));
    let mut last_call = pin!(last_call(&stopping));
    let mut looks = interval(LOOK.min(deadlines.head).min(deadlines.idle));
    let mut told = None;
    let reason = loop {
        tokio::select! {
            biased;
            ended = connection.as_mut() => break reason(&ended),
            () = last_call.as_mut(), if told.is_none() => {
                told = Some("closed");
                connection.as_mut().graceful_shutdown();
            }
            _ = looks.tick() => {
                let Some((silent, served)) = account.silence() else { continue };
                let (allowed, reason) =
                    if served { (deadlines.idle, "idle") } else { (deadlines.head, "head") };
                match told {
                    Some(reason) if silent >= CLOSING_DEADLINE => break reason,
                    None if silent >= allowed => {
                        told = Some(reason);
                        account.restart_silence();
                        connection.as_mut().graceful_shutdown();
                    }
                    Some(_) | None => {}
                }
            }
        }
    };
    streams.end().await;
    if account.is_overdrawn() { "wasteful" } else { told.unwrap_or(reason) }
}

fn protocol(streams: Streams) -> http2::Builder<Streams> {
    let mut builder = http2::Builder::new(streams);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BYTES_MAX)
        .max_header_list_size(HEAD_BYTES_MAX)
        .max_pending_accept_reset_streams(RESETS_MAX)
        .max_local_error_reset_streams(RESETS_MAX)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_DEADLINE);
    builder
}

async fn answer(
    shared: Arc<Shared>,
    peer: Neighbour,
    account: Arc<Account>,
    request: Request<Incoming>,
) -> Result<HttpAnswer, Infallible> {
    let mut begun = Begun::new(&account);
    let (mut parts, body) = request.into_parts();
    name_host(&mut parts);
    let mut body = Useful { body, account: &account };
    let mut answer = handler::answer(&shared, peer, parts, &mut body).await;
    // It is the stream that ends.
    answer.headers_mut().remove(header::CONNECTION);
    begun.answered = true;
    Ok(answer)
}

/// What HTTP/1.1 says in `Host`, HTTP/2 says beside the headers; adapters and the strict layer find it
/// in the one place.
fn name_host(parts: &mut Parts) {
    let authority =
        parts.uri.authority().and_then(|text| HeaderValue::from_str(text.as_str()).ok());
    if let Some(authority) = authority
        && !parts.headers.contains_key(header::HOST)
    {
        parts.headers.insert(header::HOST, authority);
    }
}

fn reason(ended: &hyper::Result<()>) -> &'static str {
    match ended {
        Ok(()) => "closed",
        Err(error) if error.is_timeout() => "silent",
        Err(_) => "broken",
    }
}

/// The requests of one connection, each a task that ends with it.
#[derive(Clone)]
struct Streams {
    tasks: Arc<Mutex<JoinSet<()>>>,
    shared: Arc<Shared>,
    answer_deadline: Duration,
}

impl Streams {
    /// From its head until its answer was taken: a peer that does not read cannot hold it longer.
    fn lifetime(&self) -> Duration {
        let snapshot = self.shared.source.load();
        let longest = snapshot.routes.values().map(|route| route.config.deadline).max();
        longest.unwrap_or_default().max(snapshot.config.ingest.body_deadline) + self.answer_deadline
    }

    async fn end(self) {
        let mut tasks = std::mem::take(&mut *self.lock());
        tasks.shutdown().await;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, JoinSet<()>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<F> Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let lifetime = self.lifetime();
        let mut tasks = self.lock();
        while let Some(ended) = tasks.try_join_next() {
            listener::report(ended);
        }
        // What is dropped late resets its stream.
        tasks.spawn(async move { timeout(lifetime, stream).await.unwrap_or_default() });
    }
}

/// What a connection has sent, and what of it was of use.
struct Account {
    born: Instant,
    read: AtomicU64,
    earned: AtomicU64,
    open: AtomicUsize,
    answered: AtomicU64,
    abandoned: AtomicU64,
    /// Milliseconds from `born` to when the last request ended.
    silent_since: AtomicU64,
}

impl Account {
    fn new() -> Self {
        Self {
            born: Instant::now(),
            read: AtomicU64::new(0),
            earned: AtomicU64::new(0),
            open: AtomicUsize::new(0),
            answered: AtomicU64::new(0),
            abandoned: AtomicU64::new(0),
            silent_since: AtomicU64::new(0),
        }
    }

    fn earn(&self, bytes: u64) {
        self.earned.fetch_add(bytes, Ordering::Relaxed);
    }

    fn is_overdrawn(&self) -> bool {
        if Fault::KeepNoAccount.is_on() {
            return false;
        }
        let get = |number: &AtomicU64| number.load(Ordering::Relaxed);
        get(&self.read) > get(&self.earned) + WASTE_BYTES_MAX
            || get(&self.abandoned) > get(&self.answered) + ABANDONED_MAX
    }

    /// How long no request has been open, and whether one ever was; none while one is.
    fn silence(&self) -> Option<(Duration, bool)> {
        if self.open.load(Ordering::Relaxed) > 0 {
            return None;
        }
        let since = self.born + Duration::from_millis(self.silent_since.load(Ordering::Relaxed));
        let served = self.answered.load(Ordering::Relaxed) + self.abandoned.load(Ordering::Relaxed);
        Some((since.elapsed(), served > 0))
    }

    fn restart_silence(&self) {
        let millis = u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.silent_since.store(millis, Ordering::Relaxed);
    }
}

/// A request that is being served.
struct Begun<'a> {
    account: &'a Account,
    answered: bool,
}

impl<'a> Begun<'a> {
    fn new(account: &'a Account) -> Self {
        account.open.fetch_add(1, Ordering::Relaxed);
        Self { account, answered: false }
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        let Self { account, answered } = self;
        if *answered {
            account.earn(REQUEST_WORTH);
            account.answered.fetch_add(1, Ordering::Relaxed);
        } else {
            account.abandoned.fetch_add(1, Ordering::Relaxed);
        }
        account.restart_silence();
        account.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A body that earns what is read of it, twice: its frames have heads.
struct Useful<'a> {
    body: Incoming,
    account: &'a Account,
}

impl Body for Useful<'_> {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            self.account.earn(2 * data.len() as u64);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A stream that is read for as long as its account allows it.
struct Metered<S> {
    stream: S,
    account: Arc<Account>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.account.is_overdrawn() {
            return Poll::Ready(Err(io::Error::other("more was sent than is of use")));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        let read = (buffer.filled().len() - before) as u64;
        self.account.read.fetch_add(read, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_may_waste_so_much_and_what_is_of_use_is_no_waste() {
        let account = Account::new();
        account.read.store(WASTE_BYTES_MAX, Ordering::Relaxed);
        assert!(!account.is_overdrawn());
        account.read.fetch_add(1, Ordering::Relaxed);
        assert!(account.is_overdrawn());
        account.earn(1);
        assert!(!account.is_overdrawn());
        let mut begun = Begun::new(&account);
        begun.answered = true;
        drop(begun);
        account.read.fetch_add(REQUEST_WORTH, Ordering::Relaxed);
        assert!(!account.is_overdrawn());
    }

    #[test]
    fn a_sender_may_give_up_on_some_of_its_requests_and_not_on_most() {
        let account = Account::new();
        for _ in 0..ABANDONED_MAX {
            drop(Begun::new(&account));
        }
        assert!(!account.is_overdrawn());
        drop(Begun::new(&account));
        assert!(account.is_overdrawn());
        account.answered.fetch_add(1, Ordering::Relaxed);
        assert!(!account.is_overdrawn());
    }
}
