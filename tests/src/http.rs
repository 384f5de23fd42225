//! HTTP/1.1 as plainly as possible: one request and its answer, or bytes as they are.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// A gateway that answers later than this hangs.
pub const ANSWER_MAX: Duration = Duration::from_secs(30);

/// Largest body kept of a request or an answer: far above any in a test, far below memory.
pub(crate) const BODY_BYTES_MAX: usize = 64 << 20;

/// A request to be sent.
#[derive(Clone, Debug)]
pub struct Request {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Bytes,
}

/// What was answered.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    /// In order of arrival, names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
}

impl Request {
    #[must_use]
    pub fn new(method: &str, path: &str) -> Self {
        Self {
            method: method.to_owned(),
            path: path.to_owned(),
            headers: Vec::new(),
            body: Bytes::new(),
        }
    }

    #[must_use]
    pub fn get(path: &str) -> Self {
        Self::new("GET", path)
    }

    /// With `content-type: application/json`.
    #[must_use]
    pub fn post_json(path: &str, body: impl Into<Bytes>) -> Self {
        Self::new("POST", path).header("content-type", "application/json").body(body)
    }

    /// Adds a header; the same name may be added again.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    fn build(self, host: &str) -> anyhow::Result<hyper::Request<Full<Bytes>>> {
        let mut request = hyper::Request::builder()
            .method(self.method.as_str())
            .uri(self.path)
            .header("host", host);
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        request.body(Full::new(self.body)).context("making a request")
    }
}

impl Answer {
    /// The first header of that name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    /// The body as text; bytes outside UTF-8 replaced.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Errors
    ///
    /// Where it is none; with the status and the text.
    pub fn json(&self) -> anyhow::Result<serde_json::Value> {
        serde_json::from_slice(&self.body)
            .with_context(|| format!("answer {} is no JSON: {}", self.status, self.text()))
    }
}

/// A kept-alive connection. Dropping it closes it.
#[derive(Debug)]
pub struct Connection {
    host: String,
    sender: SendRequest<Full<Bytes>>,
    /// Moves the bytes; ended on drop.
    _driver: JoinSet<()>,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    ///
    /// Where nobody listens there.
    pub async fn open(server: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(server).await.context("connecting")?;
        stream.set_nodelay(true).context("setting TCP_NODELAY")?;
        Self::over(stream, &server.to_string()).await
    }

    /// Speaks HTTP over a stream of any kind.
    ///
    /// # Errors
    ///
    /// Where it breaks at once.
    pub async fn over<S>(stream: S, host: &str) -> anyhow::Result<Self>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) = handshake(TokioIo::new(stream)).await.context("connecting")?;
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            // What goes wrong on the connection is told to the request that it fails.
            drop(connection.await);
        });
        Ok(Self { host: host.to_owned(), sender, _driver: driver })
    }

    /// Sends a request and reads its whole answer.
    ///
    /// # Errors
    ///
    /// Where the connection breaks, or the answer is not whole within [`ANSWER_MAX`]. Whether the
    /// request was taken is then unknown.
    pub async fn send(&mut self, request: Request) -> anyhow::Result<Answer> {
        self.send_within(request, ANSWER_MAX).await
    }

    /// As [`Self::send`], for what may take another time.
    ///
    /// # Errors
    ///
    /// As [`Self::send`].
    pub async fn send_within(
        &mut self,
        request: Request,
        at_most: Duration,
    ) -> anyhow::Result<Answer> {
        let request = request.build(&self.host)?;
        timeout(at_most, exchange(&mut self.sender, request)).await.context("no answer")?
    }
}

async fn exchange(
    sender: &mut SendRequest<Full<Bytes>>,
    request: hyper::Request<Full<Bytes>>,
) -> anyhow::Result<Answer> {
    sender.ready().await.context("the connection is closed")?;
    let answer = sender.send_request(request).await.context("reading an answer")?;
    let (head, body) = answer.into_parts();
    Ok(Answer {
        status: head.status.as_u16(),
        headers: owned_headers(&head.headers),
        body: whole(body).await?,
    })
}

/// Sends one request over a connection of its own.
///
/// # Errors
///
/// As [`Connection::open`] and [`Connection::send`].
pub async fn send(server: SocketAddr, request: Request) -> anyhow::Result<Answer> {
    Connection::open(server).await?.send(request).await
}

/// Sends bytes as they are and reads until the server closes the connection, or, where it keeps
/// it open, until it has been silent for `silence`.
///
/// # Errors
///
/// Where nobody listens there. A reset is no error: what was read before it is returned.
pub async fn raw(server: SocketAddr, bytes: &[u8], silence: Duration) -> anyhow::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await.context("connecting")?;
    let mut read = Vec::new();
    // A server may refuse what it read so far and close while we are still writing.
    if stream.write_all(bytes).await.is_err() {
        drop(stream.read_to_end(&mut read).await);
        return Ok(read);
    }
    let mut chunk = [0; 4096];
    while let Ok(Ok(length @ 1..)) = timeout(silence, stream.read(&mut chunk)).await {
        read.extend(chunk.iter().take(length));
    }
    Ok(read)
}

pub(crate) async fn whole<B>(body: B) -> anyhow::Result<Bytes>
where
    B: hyper::body::Body,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let whole = Limited::new(body, BODY_BYTES_MAX).collect().await;
    Ok(whole.map_err(anyhow::Error::from_boxed).context("reading a body")?.to_bytes())
}

pub(crate) fn owned_headers(headers: &hyper::HeaderMap) -> Vec<(String, String)> {
    headers
        .iter()
        .map(|(name, value)| {
            (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        })
        .collect()
}

pub(crate) fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers
        .iter()
        .find(|(found, _)| found.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.as_str())
}
