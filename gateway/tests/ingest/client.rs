//! A client that sends bytes and reads answers, and nothing cleverer.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

/// Whatever a test waits for comes long before.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// One answer as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// All of it, but for the value of `date`.
    pub(crate) raw: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(each, _)| each == name);
        let value = values.next().map(|(_, value)| value.as_str());
        assert!(values.next().is_none(), "more than one {name}");
        value
    }
}

pub(crate) struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// The answer to HEAD has a length and no body.
    pub(crate) bodiless: bool,
}

impl Client {
    pub(crate) async fn connect(to: SocketAddr) -> Self {
        let stream = TcpStream::connect(to).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, buffer: Vec::new(), bodiless: false }
    }

    /// Connects from this address of this machine.
    pub(crate) async fn connect_from(from: [u8; 4], to: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        let stream = socket.connect(to).await.unwrap();
        Self { stream, buffer: Vec::new(), bodiless: false }
    }

    /// Takes over a connection that was made without yielding.
    pub(crate) fn over(stream: std::net::TcpStream) -> Self {
        stream.set_nonblocking(true).unwrap();
        let stream = TcpStream::from_std(stream).unwrap();
        Self { stream, buffer: Vec::new(), bodiless: false }
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Sends what the other side takes; it may be hanging up.
    pub(crate) async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        timeout(PATIENCE, self.stream.write_all(bytes.as_ref())).await.unwrap().is_ok()
    }

    /// Says that nothing more will be sent.
    pub(crate) async fn finish(&mut self) {
        self.stream.shutdown().await.ok();
    }

    /// The next answer; `None`: the gateway ended the connection, having sent nothing more.
    pub(crate) async fn answer(&mut self) -> Option<Answer> {
        timeout(PATIENCE, self.next()).await.expect("an answer or the end in time")
    }

    /// The next answer, which has to come.
    pub(crate) async fn expect(&mut self, status: u16) -> Answer {
        let answer = self.answer().await.expect("an answer");
        assert_eq!(answer.status, status, "{answer:?}");
        answer
    }

    /// Waits until the gateway ends the connection, having sent nothing more.
    pub(crate) async fn expect_end(&mut self) {
        assert_eq!(self.answer().await, None);
    }

    async fn next(&mut self) -> Option<Answer> {
        let head = loop {
            let end = self.buffer.windows(4).position(|window| window == b"\r\n\r\n");
            if let Some(end) = end {
                break self.buffer.drain(..end + 4).collect::<Vec<_>>();
            }
            if !self.more().await {
                assert_eq!(self.buffer, b"", "the end within an answer");
                return None;
            }
        };
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers: Vec<_> = lines
            .map(|line| line.split_once(": ").unwrap())
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let length = headers.iter().find(|(name, _)| name == "content-length");
        let length = match length {
            Some((_, length)) if !self.bodiless => length.parse().unwrap(),
            _ => 0_usize,
        };
        while self.buffer.len() < length {
            assert!(self.more().await, "the end within a body");
        }
        let body: Vec<u8> = self.buffer.drain(..length).collect();
        let undated = head.split("\r\n").filter(|line| !line.starts_with("date: "));
        let raw = undated.collect::<Vec<_>>().join("\r\n") + &String::from_utf8_lossy(&body);
        Some(Answer { status, headers, body, raw })
    }

    /// Reads more; `false`: there is no more. A reset is an end as well.
    async fn more(&mut self) -> bool {
        matches!(self.stream.read_buf(&mut self.buffer).await, Ok(read) if read > 0)
    }
}

/// A POST to `path` with `body`.
pub(crate) fn post(path: &str, body: &str) -> String {
    let length = body.len();
    format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{body}")
}
