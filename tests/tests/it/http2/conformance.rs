//! RFC 9113 by its sections: what each frame that is wrong, or only unusual, brings about.
//!
//! A server may treat a mistake on a stream as one of the whole connection, and may close without a
//! word where it could say one; it may not go on as if nothing had been.

use std::time::Duration;

use sluice_tests::Gateway;
use sluice_tests::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PREFACE, PRIORITY, Peer,
    RST_STREAM, SETTINGS, WINDOW_UPDATE, frame, head,
};

use super::attacks::begun;
use super::{request, start, tcp, webhook};

const PROTOCOL_ERROR: u32 = 1;
const FLOW_CONTROL_ERROR: u32 = 3;
const STREAM_CLOSED: u32 = 5;
const FRAME_SIZE_ERROR: u32 = 6;
const COMPRESSION_ERROR: u32 = 9;

const PADDED: u8 = 8;
const PRIORITISED: u8 = 0x20;
const PUSH_PROMISE: u8 = 5;

/// What the RFC has happen.
#[derive(Clone, Copy, Debug)]
enum Due {
    /// The connection ends, with one of these codes where it says one.
    Connection(&'static [u32]),
    /// The stream is reset with one of these codes, or the connection ends with one.
    Stream(&'static [u32]),
    /// It goes on.
    Nothing,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Happened {
    GoAway(u32),
    Reset(u32),
    Closed,
    Nothing,
}

impl Due {
    fn allows(self, happened: Happened) -> bool {
        match (self, happened) {
            (Self::Connection(_), Happened::Closed) | (Self::Nothing, Happened::Nothing) => true,
            (Self::Connection(codes) | Self::Stream(codes), Happened::GoAway(code))
            | (Self::Stream(codes), Happened::Reset(code)) => {
                // h2 says of most mistakes only that they are mistakes.
                code == PROTOCOL_ERROR || codes.contains(&code)
            }
            _ => false,
        }
    }
}

/// Twice a ping is answered after what was sent: whatever it brought about was told before the second
/// answer.
async fn happens(gateway: &Gateway, sent: &[u8]) -> Happened {
    let mut peer = Peer(tcp(gateway).await);
    // It may be gone before all of it is sent.
    drop(peer.send(sent).await);
    for mark in [*b"the 1st.", *b"the 2nd."] {
        drop(peer.send(&frame(PING, 0, 0, &mark)).await);
        loop {
            let Some(got) = peer.receive(Duration::from_secs(20)).await else {
                return Happened::Closed;
            };
            let word = |at: usize| u32::from_be_bytes(got.payload[at..at + 4].try_into().unwrap());
            match got.kind {
                GOAWAY => return Happened::GoAway(word(4)),
                RST_STREAM => return Happened::Reset(word(0)),
                PING if got.flags == 1 && got.payload == mark => break,
                _ => {}
            }
        }
    }
    Happened::Nothing
}

fn after(first: &[u8], then: &[u8]) -> Vec<u8> {
    [first, then].concat()
}

/// A frame whose head tells another length than it has.
fn told(mut frame: Vec<u8>, length: u8) -> Vec<u8> {
    frame[2] = length;
    frame
}

type Row = (&'static str, Vec<u8>, Due);

/// Frames as such.
fn framing() -> Vec<Row> {
    use Due::{Connection, Nothing, Stream};
    let open = begun(1);
    let block = head(&webhook(&[]));
    vec![
        ("4.1 a kind that nobody knows", frame(0xee, 0xff, 0, b"what"), Nothing),
        ("4.1 flags that nobody knows", frame(PING, 0xfe, 0, &[0; 8]), Nothing),
        ("4.1 the reserved bit", frame(PING, 0, 1 << 31, &[0; 8]), Nothing),
        (
            "4.2 DATA too large",
            after(&open, &frame(DATA, 0, 1, &[0; 16_385])),
            Stream(&[FRAME_SIZE_ERROR]),
        ),
        (
            "4.2 HEADERS too large",
            frame(HEADERS, END_HEADERS, 1, &[0; 16_385]),
            Connection(&[FRAME_SIZE_ERROR]),
        ),
        (
            "4.3 a block that is none",
            frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0xff; 20]),
            Connection(&[COMPRESSION_ERROR]),
        ),
        (
            "4.3 another frame within a block",
            after(&frame(HEADERS, 0, 1, &block), &frame(PING, 0, 0, &[0; 8])),
            Connection(&[PROTOCOL_ERROR]),
        ),
        (
            "4.3 another stream within a block",
            after(&frame(HEADERS, 0, 1, &block), &begun(3)),
            Connection(&[PROTOCOL_ERROR]),
        ),
    ]
}

/// Streams in the wrong state.
fn streams() -> Vec<Row> {
    use Due::{Connection, Nothing, Stream};
    let open = begun(1);
    let whole = request(1, &webhook(&[]), b"{}");
    let block = head(&webhook(&[]));
    vec![
        (
            "5.1 DATA where no stream is",
            frame(DATA, END_STREAM, 1, b"x"),
            Connection(&[PROTOCOL_ERROR]),
        ),
        (
            "5.1 RST_STREAM where no stream is",
            frame(RST_STREAM, 0, 1, &[0; 4]),
            Connection(&[PROTOCOL_ERROR]),
        ),
        (
            "5.1 WINDOW_UPDATE where no stream is",
            frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]),
            Connection(&[PROTOCOL_ERROR]),
        ),
        (
            "5.1 CONTINUATION where no stream is",
            frame(CONTINUATION, END_HEADERS, 1, &block),
            Connection(&[PROTOCOL_ERROR]),
        ),
        ("5.1 PRIORITY where no stream is", frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 9]), Nothing),
        (
            "5.1 DATA after the end",
            after(&whole, &frame(DATA, 0, 1, b"x")),
            Stream(&[STREAM_CLOSED]),
        ),
        (
            "5.1 HEADERS after the end",
            after(&whole, &begun(1)),
            Stream(&[STREAM_CLOSED, PROTOCOL_ERROR]),
        ),
        ("5.1 a second head that does not end", after(&open, &begun(1)), Stream(&[PROTOCOL_ERROR])),
        ("5.1.1 an even stream", begun(2), Connection(&[PROTOCOL_ERROR])),
        (
            "5.1.1 a stream before the last",
            after(&begun(5), &begun(3)),
            Connection(&[PROTOCOL_ERROR, STREAM_CLOSED]),
        ),
    ]
}

/// Kinds that belong to a request.
fn of_requests() -> Vec<Row> {
    use Due::{Connection, Nothing, Stream};
    let open = begun(1);
    let block = head(&webhook(&[]));
    let padded = [&[200][..], &block[..100]].concat();
    let upon_itself = [&[0, 0, 0, 1, 9][..], &block].concat();
    vec![
        ("6.1 DATA on no stream", frame(DATA, 0, 0, b"x"), Connection(&[PROTOCOL_ERROR])),
        (
            "6.1 more padding than there is",
            after(&open, &frame(DATA, PADDED, 1, &[9, 0])),
            Connection(&[PROTOCOL_ERROR]),
        ),
        (
            "6.2 HEADERS on no stream",
            frame(HEADERS, END_HEADERS, 0, &block),
            Connection(&[PROTOCOL_ERROR]),
        ),
        (
            "6.2 more padding than there is",
            frame(HEADERS, END_HEADERS | PADDED, 1, &padded),
            Connection(&[PROTOCOL_ERROR]),
        ),
        (
            "6.2 a request upon itself",
            frame(HEADERS, END_HEADERS | PRIORITISED, 1, &upon_itself),
            Stream(&[PROTOCOL_ERROR]),
        ),
        (
            "6.3 PRIORITY on no stream",
            frame(PRIORITY, 0, 0, &[0, 0, 0, 3, 9]),
            Connection(&[PROTOCOL_ERROR]),
        ),
        (
            "6.3 PRIORITY of another length",
            after(&open, &frame(PRIORITY, 0, 1, &[0; 4])),
            Stream(&[FRAME_SIZE_ERROR]),
        ),
        (
            "6.4 RST_STREAM on no stream",
            frame(RST_STREAM, 0, 0, &[0; 4]),
            Connection(&[PROTOCOL_ERROR]),
        ),
        (
            "6.4 RST_STREAM of another length",
            after(&open, &frame(RST_STREAM, 0, 1, &[0; 3])),
            Connection(&[FRAME_SIZE_ERROR]),
        ),
        (
            "8.1 trailers that do not end the request",
            after(&open, &frame(HEADERS, END_HEADERS, 1, &head(&[("x", "y")]))),
            Stream(&[PROTOCOL_ERROR]),
        ),
        (
            // h2 drops what is wrong with them, and the gateway all of them.
            "8.1 trailers with a pseudo-header",
            after(&open, &frame(HEADERS, END_HEADERS | END_STREAM, 1, &head(&[(":path", "/")]))),
            Nothing,
        ),
    ]
}

/// Settings, and what a client may not send.
fn settings() -> Vec<Row> {
    use Due::{Connection, Nothing};
    let open = begun(1);
    let settings =
        |id: u8, value: u32| frame(SETTINGS, 0, 0, &[&[0, id][..], &value.to_be_bytes()].concat());
    vec![
        (
            "6.5 SETTINGS that answer and tell",
            frame(SETTINGS, 1, 0, &[0; 6]),
            Connection(&[FRAME_SIZE_ERROR]),
        ),
        ("6.5 SETTINGS on a stream", frame(SETTINGS, 0, 1, &[]), Connection(&[PROTOCOL_ERROR])),
        (
            "6.5 SETTINGS of another length",
            frame(SETTINGS, 0, 0, &[0; 3]),
            Connection(&[FRAME_SIZE_ERROR]),
        ),
        ("6.5.2 a push that is neither on nor off", settings(2, 2), Connection(&[PROTOCOL_ERROR])),
        ("6.5.2 a window too large", settings(4, 1 << 31), Connection(&[FLOW_CONTROL_ERROR])),
        ("6.5.2 frames too small", settings(5, 16_383), Connection(&[PROTOCOL_ERROR])),
        ("6.5.2 frames too large", settings(5, 1 << 24), Connection(&[PROTOCOL_ERROR])),
        ("6.5.2 a setting that nobody knows", settings(0xee, 7), Nothing),
        (
            "6.6 PUSH_PROMISE from a client",
            after(&open, &frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2])),
            Connection(&[PROTOCOL_ERROR]),
        ),
    ]
}

/// Pings, windows and the rest.
fn of_connections() -> Vec<Row> {
    use Due::{Connection, Nothing, Stream};
    let open = begun(1);
    let block = head(&webhook(&[]));
    vec![
        ("6.7 an answer to no ping", frame(PING, 1, 0, &[7; 8]), Nothing),
        ("6.7 PING on a stream", frame(PING, 0, 1, &[0; 8]), Connection(&[PROTOCOL_ERROR])),
        ("6.7 PING of another length", frame(PING, 0, 0, &[0; 6]), Connection(&[FRAME_SIZE_ERROR])),
        ("6.8 GOAWAY on a stream", frame(GOAWAY, 0, 1, &[0; 8]), Connection(&[PROTOCOL_ERROR])),
        (
            "6.9 WINDOW_UPDATE by nothing",
            frame(WINDOW_UPDATE, 0, 0, &[0; 4]),
            Connection(&[PROTOCOL_ERROR]),
        ),
        (
            "6.9 the same of a stream",
            after(&open, &frame(WINDOW_UPDATE, 0, 1, &[0; 4])),
            Stream(&[PROTOCOL_ERROR]),
        ),
        (
            "6.9 WINDOW_UPDATE of another length",
            frame(WINDOW_UPDATE, 0, 0, &[0; 3]),
            Connection(&[FRAME_SIZE_ERROR]),
        ),
        (
            "6.9.1 a window beyond its most",
            frame(WINDOW_UPDATE, 0, 0, &[0x7f, 255, 255, 255]),
            Connection(&[FLOW_CONTROL_ERROR]),
        ),
        (
            "6.9.1 the same of a stream",
            after(&open, &frame(WINDOW_UPDATE, 0, 1, &[0x7f, 255, 255, 255])),
            Stream(&[FLOW_CONTROL_ERROR]),
        ),
        (
            "6.10 CONTINUATION after the end of a block",
            after(&open, &frame(CONTINUATION, END_HEADERS, 1, &block)),
            Connection(&[PROTOCOL_ERROR]),
        ),
        (
            "6.10 CONTINUATION on no stream",
            after(&frame(HEADERS, 0, 1, &block), &frame(CONTINUATION, END_HEADERS, 0, &[])),
            Connection(&[PROTOCOL_ERROR]),
        ),
        (
            "6.10 a frame that is shorter than it says",
            told(frame(PING, 0, 0, &[0; 8]), 6),
            Connection(&[FRAME_SIZE_ERROR]),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_by_rfc_9113_brings_about_what_it_says() {
    let (home, gateway) = start("http2 = true").await;
    let mut wrong = Vec::new();
    let rows = [framing(), streams(), of_requests(), settings(), of_connections()].concat();
    let count = rows.len();
    for (name, bytes, due) in rows {
        let happened = happens(&gateway, &after(PREFACE, &bytes)).await;
        if !due.allows(happened) {
            wrong.push(format!("{name}: {due:?}, {happened:?}"));
        }
    }
    // 3.4: what begins otherwise is no HTTP/2, and none of HTTP/1.1 either.
    let another = b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    assert_eq!(happens(&gateway, another).await, Happened::Closed);
    // h2 does not insist that settings come first; who has none loses nothing by it.
    let none = after(&PREFACE[..24], &frame(PING, 0, 0, &[0; 8]));
    assert_eq!(happens(&gateway, &none).await, Happened::Nothing);
    println!("HTTP/2, {count} cases of RFC 9113, {} of them otherwise", wrong.len());
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(gateway.terminate().await.unwrap().status.success());
    assert!(sluice_tests::store::requests(&home).await.unwrap().is_empty(), "something was stored");
}
