//! The table of what a sender gets for which bytes.

use std::time::Duration;

use super::client::Client;
use super::gateway::{Gateway, Plan};

const TABLE: &str = include_str!("../data/http1.tsv");

/// One row of the table.
struct Case<'t> {
    statuses: Vec<u16>,
    closed: bool,
    bytes: Vec<u8>,
    about: &'t str,
}

fn cases() -> Vec<Case<'static>> {
    let rows = TABLE.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    rows.map(|row| {
        let [expected, bytes, about] = row.split('\t').collect::<Vec<_>>()[..] else {
            panic!("not three columns: {row}")
        };
        let expected = String::from_utf8(unescape(expected)).unwrap();
        let closed = expected.ends_with("closed");
        let statuses = expected.trim_end_matches("closed").split_whitespace();
        let statuses = statuses.map(|status| status.parse().unwrap()).collect();
        Case { statuses, closed, bytes: unescape(bytes), about }
    })
    .collect()
}

/// Repetitions first, then escapes.
fn unescape(text: &str) -> Vec<u8> {
    let mut flat = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("<<") {
        let (inner, after) = after.split_once(">>").unwrap();
        let (count, repeated) = inner.split_once('|').unwrap();
        flat.push_str(before);
        flat.push_str(&repeated.repeat(count.parse().unwrap()));
        rest = after;
    }
    flat.push_str(rest);
    let mut bytes = Vec::with_capacity(flat.len());
    let mut chars = flat.bytes();
    while let Some(byte) = chars.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        bytes.push(match chars.next().unwrap() {
            b'r' => b'\r',
            b'n' => b'\n',
            b't' => b'\t',
            b'\\' => b'\\',
            b'x' => {
                let digits = [chars.next().unwrap(), chars.next().unwrap()];
                u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
            }
            other => panic!("unknown escape {other}"),
        });
    }
    bytes
}

/// Sends the bytes and says what is wrong with what comes back.
async fn judge(gateway: &Gateway, case: &Case<'_>) -> Result<(), String> {
    let calls_before = gateway.adapter.calls().len();
    let mut client = Client::connect(gateway.addr).await;
    client.bodiless = case.bytes.starts_with(b"HEAD");
    // The gateway may hang up before it has taken everything.
    client.try_send(&case.bytes).await;
    let mut got = Vec::new();
    while got.len() < case.statuses.len() {
        let Some(answer) = client.answer().await else { break };
        let unfit = answer.header("server").is_some()
            || answer.status >= 400 && !answer.body.is_empty()
            || answer.status != 100 && answer.header("date").is_none();
        if unfit {
            return Err(format!("unfit answer {answer:?}"));
        }
        got.push(answer.status);
    }
    if !case.closed {
        client.finish().await;
    }
    while let Some(more) = client.answer().await {
        got.push(more.status);
    }
    if got != case.statuses {
        return Err(format!("got {got:?}"));
    }
    let executed = gateway.adapter.calls().len() - calls_before;
    let answered = got.iter().filter(|status| **status == 200).count();
    if executed == answered { Ok(()) } else { Err(format!("{executed} requests were executed")) }
}

#[tokio::test]
async fn every_row_of_the_table_holds() {
    let mut plan = Plan::default();
    plan.ingest.head_deadline = Duration::from_millis(500);
    plan.ingest.body_deadline = Duration::from_millis(500);
    let gateway = Gateway::start(&plan);
    let cases = cases();
    assert!(cases.len() >= 72, "{} cases", cases.len());
    let mut wrong = Vec::new();
    for case in &cases {
        if let Err(what) = judge(&gateway, case).await {
            wrong.push(format!("{}: expected {:?}, {what}", case.about, case.statuses));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    assert_eq!(gateway.storage.commits().len(), gateway.adapter.calls().len());
}

#[tokio::test]
async fn a_sender_that_closes_its_side_is_answered() {
    let gateway = Gateway::start(&Plan::default());
    gateway.storage.hold();
    let mut client = gateway.client().await;
    client.send(super::client::post("/hook", "ok")).await;
    client.finish().await;
    // The end of the sender's side is there well before the answer.
    gateway.storage.begun(1).await;
    gateway.storage.release();
    client.expect(200).await;
    client.expect_end().await;
}

#[tokio::test]
async fn nothing_is_asked_for_before_path_and_size_are_good() {
    let gateway = Gateway::start(&Plan::default());
    let mut client = gateway.client().await;
    let head =
        "POST /hook HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n";
    client.send(head).await;
    client.expect(100).await;
    assert!(gateway.adapter.calls().is_empty());
    client.send("ok").await;
    client.expect(200).await;
    // The connection lives on.
    client.send(super::client::post("/hook", "ok")).await;
    client.expect(200).await;
}
