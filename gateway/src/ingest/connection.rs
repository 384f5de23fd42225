//! One connection, from accept to close.

use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;

use hyper::Request;
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::answer::HttpAnswer;
use super::client::{Neighbour, PROXY_DEADLINE, read_proxy_header};
use super::ends::{DISPLACED, Ends, last_call};
use super::occupants::Standing as _;
use super::phase::{Deadlines, Doing, Phase};
use super::socket::{Peer, Socket};
use super::wire::Wire;
use super::{Shared, handler, http2};
use crate::config::ListenerConfig;
use crate::telemetry::Happening as _;
use crate::telemetry::ingest::{ConnectionEnded, Gauged, ProxyHeaderRefused};

/// Largest head, in bytes: answered 431 beyond. hyper's own bound of 100 headers stands as well;
/// setting it would move its table from the stack to the heap.
const HEAD_BYTES_MAX: usize = 32 * 1024;

/// Largest read buffer of a connection, in bytes; also the most that is read of a body beyond its
/// bound before that is seen.
const BUFFER_BYTES_MAX: usize = 64 * 1024;

/// How hyper is to speak.
pub(super) fn protocol() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .max_header_size(HEAD_BYTES_MAX)
        .max_buf_size(BUFFER_BYTES_MAX)
        // The phases of a connection have their own deadlines, see `Phase`.
        .header_read_timeout(None)
        // A sender may close its side once it has sent its request. It also keeps a request that
        // is being committed from being dropped with its connection.
        .half_close(true);
    builder
}

/// A connection that was accepted, and of which nothing was read.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) socket: Socket,
    pub(super) peer: Peer,
    /// That it came in by.
    pub(super) listener: Arc<ListenerConfig>,
}

/// A connection on which requests are spoken from the next byte on.
struct Opened {
    stream: Stream,
    peer: Neighbour,
    listener: Arc<ListenerConfig>,
}

enum Stream {
    Plain(Socket),
    Tls(Box<TlsStream<Socket>>),
}

/// Serves a connection until the peer closes it, a deadline passes, or it is to stop or to make room
/// and the request at hand is answered. Where the peer owes a PROXY header, nothing is served without
/// one.
pub(super) async fn serve(arrival: Arrival, shared: Arc<Shared>, ends: Ends) {
    let _gauged = Gauged::new(&shared.gauges.connections);
    // Whatever comes before the first request has the time of a head.
    let opening = timeout(ends.deadlines.head, open(arrival, &shared, &ends));
    let opened = tokio::select! {
        biased;
        opened = opening => opened.unwrap_or(Err("opening")),
        () = ends.occupant.displaced() => Err(DISPLACED),
    };
    let reason = match opened {
        Ok(opened) => speak(opened, &shared, ends).await,
        Err(reason) => reason,
    };
    ConnectionEnded { reason }.emit();
}

/// Serves in the version of HTTP that is agreed on, and says why it ended.
async fn speak(
    Opened { stream, peer, listener }: Opened,
    shared: &Arc<Shared>,
    ends: Ends,
) -> &'static str {
    match stream {
        Stream::Tls(stream) if stream.get_ref().1.alpn_protocol() == Some(b"h2") => {
            http2::serve(stream, peer, shared, ends).await
        }
        Stream::Tls(stream) => serve_http1(stream, peer, shared, ends).await,
        Stream::Plain(stream) if !listener.http2 => serve_http1(stream, peer, shared, ends).await,
        Stream::Plain(mut stream) => {
            let begins = tokio::select! {
                biased;
                begins = timeout(ends.deadlines.head, preface(&mut stream)) => begins,
                () = ends.occupant.displaced() => return DISPLACED,
            };
            let Ok(begins) = begins else { return "head" };
            let is_http2 = begins == http2::PREFACE;
            let (read, write) = tokio::io::split(stream);
            let stream = tokio::io::join(io::Cursor::new(begins).chain(read), write);
            if is_http2 {
                http2::serve(stream, peer, shared, ends).await
            } else {
                serve_http1(stream, peer, shared, ends).await
            }
        }
    }
}

/// What a connection begins with: the preface of HTTP/2, or as much of something else as shows that it
/// is none.
async fn preface(stream: &mut Socket) -> Vec<u8> {
    let mut begins = Vec::with_capacity(http2::PREFACE.len());
    while http2::PREFACE.starts_with(&begins) && begins.len() < http2::PREFACE.len() {
        let room = (http2::PREFACE.len() - begins.len()) as u64;
        match stream.take(room).read_buf(&mut begins).await {
            Ok(1..) => {}
            // Whoever serves it finds the same end.
            Ok(0) | Err(_) => break,
        }
    }
    begins
}

/// What precedes the first request of a connection.
///
/// # Errors
///
/// Why the connection ends instead.
async fn open(arrival: Arrival, shared: &Shared, ends: &Ends) -> Result<Opened, &'static str> {
    let Ends { deadlines, stopping, .. } = ends;
    let Arrival { mut socket, peer, listener } = arrival;
    let mut peer = Neighbour::new(peer.ip());
    if peer.owes_proxy_header(&shared.source.load().config.ingest) {
        peer = peer.telling(introduced(&mut socket, shared, *deadlines, stopping).await?);
    }
    let stream = match &listener.tls {
        None => Stream::Plain(socket),
        Some(tls) => {
            let accepted = TlsAcceptor::from(tls.server()).accept(socket).await;
            Stream::Tls(Box::new(accepted.map_err(|_| "handshake")?))
        }
    };
    Ok(Opened { stream, peer, listener })
}

/// Reads the PROXY header that a connection begins with.
///
/// # Errors
///
/// Why the connection ends instead: nobody is answered of whom it is not known who they are.
async fn introduced<S>(
    stream: &mut S,
    shared: &Shared,
    deadlines: Deadlines,
    stopping: &CancellationToken,
) -> Result<Option<IpAddr>, &'static str>
where
    S: AsyncRead + Unpin,
{
    let deadline = PROXY_DEADLINE.min(deadlines.head);
    let read = tokio::select! {
        biased;
        read = timeout(deadline, read_proxy_header(stream)) => read,
        () = last_call(stopping) => return Err("closed"),
    };
    let detail = match read {
        Ok(Ok(told)) => return Ok(told),
        Ok(Err(error)) if error.kind() == io::ErrorKind::InvalidData => "none, or a malformed one",
        // A proxy that looks whether anybody listens here says nothing and goes.
        Ok(Err(_)) => return Err("closed"),
        Err(_late) => "not whole in time",
    };
    let told = shared.log_budget.take(shared.clock.now());
    ProxyHeaderRefused { detail, told }.emit();
    Err("proxy_header")
}

/// HTTP, to the end of the connection. Returns why it ended.
async fn serve_http1<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    peer: Neighbour,
    shared: &Shared,
    ends: Ends,
) -> &'static str {
    let Ends { deadlines, stopping, occupant } = ends;
    let phase = Arc::new(Phase::new());
    occupant.stands(Arc::clone(&phase) as _);
    let io = TokioIo::new(Wire::new(stream, Arc::clone(&phase)));
    let service = service_fn(|request| answer(shared, peer, Arc::clone(&phase), request));
    let mut connection = pin!(shared.protocol.serve_connection(io, service));
    let mut last_call = pin!(last_call(&stopping));
    let mut displaced = pin!(occupant.displaced());
    let mut watchdog = pin!(sleep_until(phase.next_check(&deadlines, Instant::now())));
    let mut told = false;
    loop {
        tokio::select! {
            // The connection comes first: what has arrived is read before it is told to stop.
            biased;
            ended = connection.as_mut() => break reason(&ended),
            () = last_call.as_mut(), if !told => {
                told = true;
                connection.as_mut().graceful_shutdown();
            }
            () = displaced.as_mut(), if !told => {
                if phase.silent_since().is_some() {
                    break DISPLACED;
                }
                // It was asked something in that moment.
                told = true;
                connection.as_mut().graceful_shutdown();
            }
            () = watchdog.as_mut() => {
                let now = Instant::now();
                if let Some(doing) = phase.overdue(&deadlines, now) {
                    break doing.as_str();
                }
                watchdog.as_mut().reset(phase.next_check(&deadlines, now));
            }
        }
    }
}

async fn answer(
    shared: &Shared,
    peer: Neighbour,
    phase: Arc<Phase>,
    request: Request<Incoming>,
) -> Result<HttpAnswer, Infallible> {
    phase.enter(Doing::Serving);
    let (parts, mut body) = request.into_parts();
    let answer = handler::answer(shared, peer, parts, &mut body).await;
    if !body.is_end_stream() {
        phase.note_unread();
    }
    phase.enter(Doing::Answering);
    Ok(answer)
}

fn reason(ended: &hyper::Result<()>) -> &'static str {
    match ended {
        Ok(()) => "closed",
        Err(error) if error.is_parse() => "malformed",
        Err(_) => "broken",
    }
}
