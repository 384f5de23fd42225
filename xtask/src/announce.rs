//! Tells where a starting gateway serves, as soon as it answers that it is ready.
//!
//! `run` becomes the gateway by `exec`, so that every signal reaches it directly and its exit code
//! is ours. What is still to be said by then is said by this process, which `run` leaves behind.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::workspace::Workspace;

/// A first start compiles each adapter: a second or two, on a busy machine ten.
const START_MAX: Duration = Duration::from_secs(120);

/// Between two looks at the gateway.
const LOOK: Duration = Duration::from_millis(50);

/// One question to the admin listener.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// The event of a completed video call, in the form of `HyperVerge`'s document.
const VKYC_PAYLOAD: &str = r#"{"appId":"app_demo","transactionId":"txn-0001","eventDetails":{"status":"DECLINED","reason":"Face mismatch","agentId":"agent@example.com"},"eventVersion":"1.0.0","eventType":"VCIP_CALL_COMPLETED","eventTime":"2026-01-02T03:04:05.678Z","eventId":"trn:vkyc:6f1c1f0e-8d8e-4c55-9a43-0d6ff7f5a001"}"#;

/// Where a gateway serves, as its ready file says.
#[derive(Debug, PartialEq, Eq)]
struct Ready {
    ingest: SocketAddr,
    admin: SocketAddr,
}

/// Starts a process that announces, and that is nobody's child: the gateway need not wait for it.
///
/// # Errors
///
/// Where no process can be started.
pub(crate) fn detach(ready_file: &Path, gateway: u32) -> anyhow::Result<()> {
    Command::new(std::env::current_exe().context("finding ourselves")?)
        .arg("announce")
        .arg(ready_file)
        .arg(gateway.to_string())
        .stdin(Stdio::null())
        .spawn()
        .context("starting the announcer")?;
    Ok(())
}

/// Waits until the gateway is ready, and prints how to use it. Silent where it ends before.
///
/// # Errors
///
/// Where it is not ready in time.
pub(crate) fn announce(
    workspace: &Workspace,
    ready_file: &Path,
    gateway: u32,
) -> anyhow::Result<()> {
    let process = Path::new("/proc").join(gateway.to_string());
    let deadline = Instant::now() + START_MAX;
    while Instant::now() < deadline {
        if !process.exists() {
            return Ok(());
        }
        // Half a start is no error: the file or the listener may not be there yet.
        if let Ok(ready) = read(ready_file)
            && answers_ready(ready.admin).unwrap_or_default()
        {
            println!("{}", text(&workspace.root, &ready));
            return Ok(());
        }
        thread::sleep(LOOK);
    }
    bail!("the gateway is not ready after {} s: see its log above", START_MAX.as_secs())
}

fn read(file: &Path) -> anyhow::Result<Ready> {
    parse(&fs::read_to_string(file)?)
}

fn parse(text: &str) -> anyhow::Result<Ready> {
    let ready: Value = serde_json::from_str(text)?;
    let address = |key: &str| -> anyhow::Result<SocketAddr> {
        let text = ready.get(key).and_then(Value::as_str).context("no address")?;
        Ok(text.parse()?)
    };
    Ok(Ready { ingest: address("ingest")?, admin: address("admin")? })
}

/// Asks `/readyz`.
fn answers_ready(admin: SocketAddr) -> anyhow::Result<bool> {
    let mut connection = TcpStream::connect_timeout(&admin, ANSWER_MAX)?;
    connection.set_read_timeout(Some(ANSWER_MAX))?;
    write!(connection, "GET /readyz HTTP/1.1\r\nhost: {admin}\r\nconnection: close\r\n\r\n")?;
    let mut status_line = [0; "HTTP/1.1 200".len()];
    connection.read_exact(&mut status_line)?;
    Ok(&status_line == b"HTTP/1.1 200")
}

fn text(root: &Path, ready: &Ready) -> String {
    let secrets = shortest(root, "config/secrets");
    let events = shortest(root, "config/data/events.jsonl");
    let Ready { ingest, admin } = ready;
    format!(
        "\nSluice is ready.\n\
         \n  webhooks   http://{ingest}\n  admin      http://{admin}  (/readyz, /metrics, /api/v1)\n\
         \nPost a webhook as HyperVerge's VKYC does:\n\
         \ncurl -i http://{ingest}/hooks/vkyc \\\n  -H 'content-type: application/json' \\\n  \
         -H \"x-webhook-secret: $(cat {secrets}/vkyc-secret)\" \\\n  -d '{VKYC_PAYLOAD}'\n\
         \nIts event arrives in {events}; what became of the request:\n\
         \ncurl -H \"authorization: Bearer $(cat {secrets}/admin-token)\" \
         http://{admin}/api/v1/requests\n"
    )
}

/// The path as it is typed where the command was typed: relative in the workspace's own folder.
fn shortest(root: &Path, path: &str) -> String {
    if std::env::current_dir().is_ok_and(|here| here == root) {
        path.to_owned()
    } else {
        root.join(path).display().to_string()
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_ready_file_gives_both_addresses() {
        let ready = parse(r#"{"ingest":"127.0.0.1:1","admin":"[::1]:2","pid":7}"#).unwrap();
        assert_eq!(ready.ingest, "127.0.0.1:1".parse().unwrap());
        assert_eq!(ready.admin, "[::1]:2".parse().unwrap());
        assert!(parse(r#"{"ingest":"127.0.0.1:1"}"#).is_err());
        assert!(parse("").is_err());
    }

    #[test]
    fn only_200_is_ready() {
        for (answer, expected) in [
            ("HTTP/1.1 200 OK\r\n\r\n", Some(true)),
            ("HTTP/1.1 503 Service Unavailable\r\n\r\n", Some(false)),
            ("", None),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let server = thread::spawn(move || {
                let (mut connection, _) = listener.accept().unwrap();
                // The whole head: closing with some of it unread would reset the connection.
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    connection.read_exact(&mut byte).unwrap();
                    head.extend(byte);
                }
                connection.write_all(answer.as_bytes()).unwrap();
            });
            assert_eq!(answers_ready(address).ok(), expected, "{answer}");
            server.join().unwrap();
        }
    }

    #[test]
    fn the_curl_line_posts_valid_json_to_the_route() {
        let ready = parse(r#"{"ingest":"127.0.0.1:1","admin":"127.0.0.1:2"}"#).unwrap();
        let text = text(Path::new("/w"), &ready);
        assert!(text.contains("curl -i http://127.0.0.1:1/hooks/vkyc"), "{text}");
        assert!(text.contains("$(cat /w/config/secrets/vkyc-secret)"), "{text}");
        let payload: Value = serde_json::from_str(VKYC_PAYLOAD).unwrap();
        assert_eq!(payload.get("eventType").unwrap(), "VCIP_CALL_COMPLETED");
        // The payload stands between single quotes of the shell.
        assert!(!VKYC_PAYLOAD.contains('\''));
    }
}
