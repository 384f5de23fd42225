//! HTTP/2, frame by frame: whatever a peer may send, however wrong.

use std::time::Duration;

use anyhow::Context as _;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// What a connection begins with, and settings that change nothing.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

/// One frame as it is sent.
#[must_use]
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
    let mut frame = length.into_iter().skip(1).collect::<Vec<u8>>();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A head, in HPACK without compression (RFC 7541 section 6.2.2).
#[must_use]
pub fn head(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut head = Vec::new();
    for (name, value) in fields {
        head.push(0);
        text(&mut head, name);
        text(&mut head, value);
    }
    head
}

/// The same field, to be remembered by the peer (section 6.2.1).
#[must_use]
pub fn remembered(name: &str, value: &str) -> Vec<u8> {
    let mut field = vec![0x40];
    text(&mut field, name);
    text(&mut field, value);
    field
}

fn text(to: &mut Vec<u8>, text: &str) {
    // Section 5.1: an integer of seven bits, or 127 and the rest in groups of seven.
    let mut length = text.len();
    if length < 127 {
        to.push(u8::try_from(length).unwrap_or_default());
    } else {
        to.push(127);
        length -= 127;
        while length >= 128 {
            to.push(u8::try_from(length % 128).unwrap_or_default() | 128);
            length /= 128;
        }
        to.push(u8::try_from(length).unwrap_or_default());
    }
    to.extend(text.as_bytes());
}

/// A frame that was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Got {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

/// A connection on which frames are sent and received.
#[derive(Debug)]
pub struct Peer<S>(pub S);

impl<S: AsyncRead + AsyncWrite + Unpin> Peer<S> {
    /// Sends bytes.
    ///
    /// # Errors
    ///
    /// Where the other side has closed.
    pub async fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.0.write_all(bytes).await
    }

    /// The next frame; none at the end, or where none comes for so long.
    pub async fn receive(&mut self, at_most: Duration) -> Option<Got> {
        timeout(at_most, receive(&mut self.0)).await.ok()?
    }

    /// The next frame that ends this stream or the connection, or answers.
    ///
    /// # Errors
    ///
    /// Where none comes in time.
    pub async fn fate(&mut self, stream: u32) -> anyhow::Result<Fate> {
        loop {
            let Some(got) = self.receive(Duration::from_secs(20)).await else {
                return Ok(Fate::Closed);
            };
            let word = got.payload.first_chunk().map(|word| u32::from_be_bytes(*word));
            match got.kind {
                HEADERS if got.stream == stream => {
                    let status = got.payload.first().context("an empty head")?;
                    return Ok(Fate::Answered(*status));
                }
                RST_STREAM if got.stream == stream => return Ok(Fate::Reset(word.unwrap_or(0))),
                GOAWAY => return Ok(Fate::Closed),
                _ => {}
            }
        }
    }
}

async fn receive<R: AsyncRead + Unpin>(from: &mut R) -> Option<Got> {
    let mut head = [0; 9];
    from.read_exact(&mut head).await.ok()?;
    let [a, b, c, kind, flags, stream @ ..] = head;
    let mut payload = vec![0; usize::try_from(u32::from_be_bytes([0, a, b, c])).ok()?];
    from.read_exact(&mut payload).await.ok()?;
    Some(Got { kind, flags, stream: u32::from_be_bytes(stream), payload })
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// With a head that begins with this byte; of the statuses that have one of their own, 200 has
    /// 0x88, 400 0x8c and 404 0x8d.
    Answered(u8),
    /// With this code.
    Reset(u32),
    Closed,
}

/// After so many bytes an attacker looks for so long whether it is all over.
const LOOK_EVERY: usize = 32 * 1024;
const LOOK: Duration = Duration::from_millis(30);

/// What became of an attack.
#[derive(Clone, Copy, Debug)]
pub struct Attacked {
    /// Bytes that were sent before the other side was seen to end the connection.
    pub sent: usize,
    pub ended: bool,
}

/// Sends `parts` one after the other until the other side ends the connection, or `bytes_max` were
/// sent. Reads whatever it says meanwhile.
pub async fn attack<S>(
    stream: S,
    bytes_max: usize,
    parts: impl IntoIterator<Item = Vec<u8>>,
) -> Attacked
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut read, mut write) = tokio::io::split(stream);
    let mut reading = JoinSet::new();
    // Until the end, or until it is told to go.
    reading.spawn(async move {
        while let Some(got) = receive(&mut read).await {
            if got.kind == GOAWAY {
                break;
            }
        }
    });
    let (mut sent, mut looked) = (0, 0);
    let mut ended = write.write_all(PREFACE).await.is_err();
    for part in parts {
        if ended || sent >= bytes_max {
            break;
        }
        ended = match timeout(Duration::from_secs(20), write.write_all(&part)).await {
            Ok(written) => written.is_err(),
            // Nobody reads any more, and nobody says so: that is no end.
            Err(_) => break,
        };
        sent += part.len();
        // The system would take megabytes at once that the other side has not seen.
        if sent >= looked + LOOK_EVERY && !ended {
            looked = sent;
            ended = matches!(timeout(LOOK, reading.join_next()).await, Ok(Some(_)));
        }
    }
    // The last of it may be on its way.
    ended =
        ended || matches!(timeout(Duration::from_secs(5), reading.join_next()).await, Ok(Some(_)));
    Attacked { sent, ended }
}
