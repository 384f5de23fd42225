//! HTTP/2: what a connection may cost, and how long it may cost anything.
//!
//! A request of it passes everything that one of HTTP/1.1 does: the bounds of what is in flight, the
//! strict layer, the deadlines of its body and its route. What is peculiar to HTTP/2 is here: many
//! requests share a connection, and most frames are none. So a connection has an [`account`].

mod account;
mod frames;

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use http::request::Parts;
use http::{HeaderValue, header};
use hyper::Request;
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use tokio::time::{interval, timeout};

use self::account::{Account, Begun, Metered, Useful};
use super::answer::HttpAnswer;
use super::client::Neighbour;
use super::ends::{DISPLACED, Ends, last_call, report};
use super::{Shared, handler};

/// Requests of one connection at once: what RFC 9113 section 6.5.2 recommends as the least, and what
/// clients take for granted until they have read our settings.
const STREAMS_MAX: u32 = 100;

/// What a peer may send of one body, and of all of them, before it is read. Together with what waits
/// to be sent, all that a connection holds for its peer.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 256 * 1024;
const SEND_BYTES_MAX: usize = 64 * 1024;

/// Largest head, decoded: as in HTTP/1.1.
const HEAD_BYTES_MAX: u32 = 32 * 1024;

/// Streams that a peer reset before anybody looked at them. A sender of webhooks has no reason for one.
const RESETS_MAX: usize = 8;

/// Streams that are reset for a peer's mistakes, in the life of a connection. One that does not know our
/// settings yet may begin more requests than it may have.
const MISTAKES_MAX: usize = 32;

/// How often a peer is asked whether it is still there, and how soon it has to answer.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_DEADLINE: Duration = Duration::from_secs(10);

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
    ends: Ends,
) -> &'static str
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Ends { deadlines, stopping, occupant } = ends;
    let account = Arc::new(Account::new());
    occupant.stands(Arc::clone(&account) as _);
    let answer_deadline = deadlines.answer;
    let streams = Streams { tasks: Arc::default(), shared: Arc::clone(shared), answer_deadline };
    let io = TokioIo::new(Metered::new(stream, Arc::clone(&account)));
    let service = service_fn(|request| {
        let (shared, account) = (Arc::clone(shared), Arc::clone(&account));
        answer(shared, peer, account, request)
    });
    let mut connection = pin!(protocol(streams.clone()).serve_connection(io, service));
    let mut last_call = pin!(last_call(&stopping));
    let mut displaced = pin!(occupant.displaced());
    let mut looks = interval(LOOK.min(deadlines.head).min(deadlines.idle));
    let mut told = None;
    let reason = loop {
        tokio::select! {
            biased;
            ended = connection.as_mut() => break reason(&ended),
            () = last_call.as_mut(), if told.is_none() => {
                told = Some("closed");
                // However long it has been idle: a request may be on its way.
                account.restart_silence();
                connection.as_mut().graceful_shutdown();
            }
            () = displaced.as_mut(), if told.is_none() => {
                connection.as_mut().graceful_shutdown();
                if account.silence().is_some() {
                    // It is told in one breath, and nobody waits for what it makes of that.
                    poll_fn(|cx| Poll::Ready(connection.as_mut().poll(cx).is_ready())).await;
                    break DISPLACED;
                }
                told = Some(DISPLACED);
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
    if account.has_refused() { "wasteful" } else { told.unwrap_or(reason) }
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
        .max_local_error_reset_streams(MISTAKES_MAX)
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
    let begun = Begun::new(&account);
    let (mut parts, body) = request.into_parts();
    name_host(&mut parts);
    let mut body = Useful::new(body, &account);
    let mut answer = handler::answer(&shared, peer, parts, &mut body).await;
    // It is the stream that ends.
    answer.headers_mut().remove(header::CONNECTION);
    begun.end();
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
            report(ended);
        }
        // What is dropped late resets its stream.
        tasks.spawn(async move { timeout(lifetime, stream).await.unwrap_or_default() });
    }
}
