//! A destination over HTTP that records every attempt and answers as it is told.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::http::{header, owned_headers, whole};
use crate::wait::wait_until;

/// How one attempt is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// With this status and these headers.
    Answer { status: u16, headers: Vec<(String, String)> },
    /// With this status, late.
    Late { status: u16, by: Duration },
    /// The connection is closed instead.
    Disconnect,
    /// Never, until the other side gives up.
    Silence,
}

impl Reply {
    #[must_use]
    pub const fn status(status: u16) -> Self {
        Self::Answer { status, headers: Vec::new() }
    }
}

/// One attempt as it arrived.
#[derive(Clone, Debug)]
pub struct Received {
    pub method: String,
    /// Path and query.
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
    pub at: SystemTime,
}

impl Received {
    /// The first header of that name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }
}

/// A server on a thread and a runtime of its own, so that a busy test cannot slow it. Dropping it
/// closes every connection.
#[derive(Debug)]
pub struct Destination {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<Infallible>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    received: Mutex<Vec<Received>>,
    /// Answers of the next attempts, in order.
    script: Mutex<VecDeque<Reply>>,
    /// Answers all others.
    otherwise: Mutex<Reply>,
}

impl Destination {
    /// Starts one that answers 204.
    ///
    /// # Errors
    ///
    /// Where no port or thread can be had.
    pub fn start() -> anyhow::Result<Self> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").context("binding a port")?;
        listener.set_nonblocking(true).context("preparing a listener")?;
        let address = listener.local_addr().context("reading a listener's address")?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("starting a runtime")?;
        let shared = Arc::new(Shared {
            received: Mutex::default(),
            script: Mutex::default(),
            otherwise: Mutex::new(Reply::status(204)),
        });
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("destination".to_owned())
            .spawn({
                let shared = Arc::clone(&shared);
                move || runtime.block_on(serve(listener, shared, stopped))
            })
            .context("starting a thread")?;
        Ok(Self { address, shared, stop: Some(stop), thread: Some(thread) })
    }

    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its URL with this path.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Answers the next attempts so, one after another.
    pub fn script(&self, replies: impl IntoIterator<Item = Reply>) {
        lock(&self.shared.script).extend(replies);
    }

    /// Answers every attempt so that no script foresees.
    pub fn otherwise(&self, reply: Reply) {
        *lock(&self.shared.otherwise) = reply;
    }

    /// Every attempt so far, in order of arrival.
    #[must_use]
    pub fn received(&self) -> Vec<Received> {
        lock(&self.shared.received).clone()
    }

    /// Waits until at least that many attempts have arrived, and returns all.
    ///
    /// # Errors
    ///
    /// Where they do not arrive in time.
    pub async fn wait_for(
        &self,
        attempts: usize,
        at_most: Duration,
    ) -> anyhow::Result<Vec<Received>> {
        wait_until(&format!("{attempts} attempts at the destination"), at_most, || async move {
            let received = self.received();
            (received.len() >= attempts).then_some(received)
        })
        .await
    }
}

impl Drop for Destination {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
            && !std::thread::panicking()
        {
            std::panic::resume_unwind(Box::new("the destination panicked"));
        }
    }
}

/// Serves until the sender of `stopped` is dropped.
async fn serve(
    listener: std::net::TcpListener,
    shared: Arc<Shared>,
    mut stopped: oneshot::Receiver<Infallible>,
) {
    let listener = TcpListener::from_std(listener).expect("the listener is non-blocking");
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            _ = &mut stopped => return,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                let shared = Arc::clone(&shared);
                connections.spawn(async move {
                    let service = service_fn(|request| answer(request, &shared));
                    // A peer that goes away, or that is disconnected by the script, is no fault.
                    drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
                });
            }
        }
    }
}

async fn answer(
    request: hyper::Request<Incoming>,
    shared: &Shared,
) -> anyhow::Result<hyper::Response<Full<Bytes>>> {
    let (head, body) = request.into_parts();
    let received = Received {
        method: head.method.to_string(),
        target: head.uri.to_string(),
        headers: owned_headers(&head.headers),
        body: whole(body).await?,
        at: now(),
    };
    lock(&shared.received).push(received);
    let scripted = lock(&shared.script).pop_front();
    let reply = scripted.unwrap_or_else(|| lock(&shared.otherwise).clone());
    let (status, headers) = match reply {
        Reply::Answer { status, headers } => (status, headers),
        Reply::Late { status, by } => {
            tokio::time::sleep(by).await;
            (status, Vec::new())
        }
        Reply::Disconnect => anyhow::bail!("disconnected as the script says"),
        Reply::Silence => std::future::pending().await,
    };
    let mut answer = hyper::Response::builder().status(status);
    for (name, value) in headers {
        answer = answer.header(name, value);
    }
    Ok(answer.body(Full::default())?)
}

#[expect(clippy::disallowed_methods, reason = "the peers of a gateway live in real time")]
pub(crate) fn now() -> SystemTime {
    SystemTime::now()
}

/// No holder of these locks leaves half a change behind.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{Request, send};

    #[tokio::test]
    async fn it_records_every_attempt_and_answers_by_the_script() {
        let destination = Destination::start().unwrap();
        destination.script([
            Reply::Answer { status: 503, headers: vec![("retry-after".into(), "7".into())] },
            Reply::Disconnect,
            Reply::Late { status: 200, by: Duration::from_millis(1) },
        ]);
        let post = || {
            let request = Request::post_json("/in?a=1", "{}").header("webhook-id", "e1");
            send(destination.address(), request)
        };
        let busy = post().await.unwrap();
        assert_eq!((busy.status, busy.header("Retry-After")), (503, Some("7")));
        post().await.unwrap_err();
        assert_eq!(post().await.unwrap().status, 200);
        assert_eq!(post().await.unwrap().status, 204);
        let received = destination.wait_for(4, Duration::from_secs(5)).await.unwrap();
        assert_eq!(received.len(), 4);
        assert_eq!(received[0].target, "/in?a=1");
        assert_eq!(received[0].header("webhook-id"), Some("e1"));
        assert_eq!(&received[0].body[..], b"{}");
    }

    #[tokio::test]
    async fn a_silent_destination_still_stops() {
        let destination = Destination::start().unwrap();
        destination.otherwise(Reply::Silence);
        let mut waiting = JoinSet::new();
        waiting.spawn(send(destination.address(), Request::get("/")));
        destination.wait_for(1, Duration::from_secs(5)).await.unwrap();
        drop(destination);
        waiting.join_next().await.unwrap().unwrap().unwrap_err();
    }
}
