//! Standard error that nobody reads, that is gone, or whose disk is full: it costs log lines, and
//! no request, no delivery and no end.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use sluice_tests::artifacts;
use sluice_tests::http::Connection;
use sluice_tests::provider::vkyc_payload;
use sluice_tests::{Gateway, Home, HomeBuilder, vkyc_request, wait_until};

/// A log line for each of so many requests fills any pipe, at trace level several times over.
const REQUESTS: usize = 600;

/// Long enough for a busy machine; who waits for standard error waits for ever.
const SOON: Duration = Duration::from_secs(10);

/// What a log may hold of one value: a little more than 1 KiB, which the strictest of the log's
/// own bounds allow, and far less than what was sent.
const LINE_BYTES_MAX: usize = 4 << 10;

fn home() -> Home {
    HomeBuilder::new().vkyc(&["events"]).unwrap().events_file().build().unwrap()
}

/// Starts it with standard error redirected by the shell.
async fn start(home: &Home, redirected: &str, fault: &str) -> Gateway {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("exec \"$0\" \"$@\" {redirected}")]);
    shell.arg(artifacts::gateway().unwrap());
    let environment = [("SLUICE_LOG", "trace"), ("SLUICE_FAULT", fault)];
    home.start_by(shell, &environment).await.unwrap()
}

fn pipe(home: &Home) -> std::path::PathBuf {
    let path = home.folder().join("stderr");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    path
}

/// Of who would wait for ever, so long is enough: a thousand times an answer's time.
const HANGS: Duration = Duration::from_secs(2);

/// How many of [`REQUESTS`] are answered 200, until one is not or is not in time.
async fn answered(gateway: &Gateway, at_most: Duration) -> usize {
    let Ok(mut connection) = Connection::open(gateway.ingest()).await else { return 0 };
    for number in 0..REQUESTS {
        let request = vkyc_request(vkyc_payload(&format!("trn:vkyc:logged-{number}")));
        match connection.send_within(request, at_most).await {
            Ok(answer) if answer.status == 200 => {}
            Ok(_) | Err(_) => return number,
        }
    }
    REQUESTS
}

/// `loses`: whether a line that is not written can only be lost. Otherwise it may wait in memory.
async fn serves_and_ends(home: &Home, gateway: Gateway, loses: bool, what: &str) {
    assert_eq!(answered(&gateway, SOON).await, REQUESTS, "{what}");
    wait_until("every delivery", SOON, || async {
        (home.events().unwrap().len() == REQUESTS).then_some(())
    })
    .await
    .unwrap();
    if loses {
        let lost = gateway.metric("sluice_log_lines_lost_total").await.unwrap();
        println!("{what}: {lost} log lines lost");
        assert!(lost > 0.0, "{what}");
    }
    let stopped = gateway.terminate().await.unwrap();
    assert!(stopped.status.success(), "{what}: {:?}", stopped.status);
    assert!(stopped.took < SOON, "{what}: {:?}", stopped.took);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_on_a_full_disk_costs_its_lines_and_nothing_else() {
    let home = home();
    let gateway = start(&home, "2>/dev/full", "").await;
    serves_and_ends(&home, gateway, true, "a full disk").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_of_the_log_that_goes_away_costs_its_lines_and_nothing_else() {
    let home = home();
    let path = pipe(&home);
    // Opened once the gateway is there, and closed at once.
    let reader = std::thread::spawn({
        let path = path.clone();
        move || drop(File::open(path).unwrap())
    });
    let gateway = start(&home, &format!("2>{}", path.display()), "").await;
    reader.join().unwrap();
    serves_and_ends(&home, gateway, true, "a reader that went away").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipe_that_nobody_reads_costs_its_lines_and_nothing_else() {
    let home = home();
    let path = pipe(&home);
    let gateway = start(&home, &format!("2<>{}", path.display()), "").await;
    serves_and_ends(&home, gateway, false, "a pipe that nobody reads").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_waits_for_standard_error_fails_this_test() {
    let home = home();
    let path = pipe(&home);
    let gateway = start(&home, &format!("2<>{}", path.display()), "log-on-the-spot").await;
    assert!(answered(&gateway, HANGS).await < REQUESTS);
    gateway.kill9();
}

/// Reads the pipe until its last writer has gone.
fn read_all(path: &Path) -> std::thread::JoinHandle<String> {
    let path = path.to_owned();
    std::thread::spawn(move || {
        let mut text = Vec::new();
        File::open(path).unwrap().read_to_end(&mut text).unwrap();
        String::from_utf8_lossy(&text).into_owned()
    })
}

/// Whatever was sent: each line of the log is one short object of JSON without a control character.
#[tokio::test(flavor = "multi_thread")]
async fn every_line_is_one_object_whatever_was_sent() {
    const CRLF: &str = "\r\n{\"level\":\"ERROR\",\"message\":\"forged\"}\r\n";
    let home = home();
    let path = pipe(&home);
    let log = read_all(&path);
    let gateway = start(&home, &format!("2>{}", path.display()), "").await;
    let hostile =
        ["\u{1b}[2J\u{1b}]0;owned\u{7}", "\u{202e}gnp.exe", "%0d%0a%1b[31m", &"x".repeat(12 << 10)];
    for text in hostile {
        // In the body, and encoded in path, query and header as a client would send them.
        let encoded: String = text.bytes().take(2_000).map(|byte| format!("%{byte:02x}")).collect();
        let header: String =
            text.bytes().filter(|byte| (0x20..0x7f).contains(byte)).map(char::from).collect();
        let event = serde_json::json!(format!("trn:vkyc:{text}{CRLF}")).to_string();
        for path in [format!("/hooks/{encoded}"), format!("/hooks/vkyc?{encoded}")] {
            let body = vkyc_payload("ID").replace("\"ID\"", &event);
            let request = sluice_tests::http::Request::post_json(&path, body)
                .header("user-agent", &header)
                .header("x-webhook-secret", "wrong");
            let answer = gateway.send(request).await.unwrap();
            assert!((400..500).contains(&answer.status), "{}", answer.status);
        }
        let body = vkyc_payload("ID").replace("\"ID\"", &event);
        gateway.post_vkyc(body).await.unwrap();
        gateway.post_vkyc(format!("{{\"eventType\":{event}")).await.unwrap();
    }
    assert!(gateway.terminate().await.unwrap().status.success());
    let log = log.join().unwrap();
    assert!(log.lines().count() > 20, "{log}");
    for line in log.lines() {
        let object: serde_json::Value = serde_json::from_str(line).expect(line);
        assert!(object.is_object() && object.get("level").is_some(), "{line}");
        assert!(!line.contains(|c: char| c.is_control() || c == '\u{202e}'), "{line:?}");
        assert!(line.len() < LINE_BYTES_MAX, "{} bytes", line.len());
        assert_ne!(object["message"], "forged");
        for (name, value) in object.as_object().unwrap() {
            assert!(!name.ends_with("_ms") || value.is_u64(), "{name} is no number: {line}");
        }
    }
    println!("{} lines", log.lines().count());
}
