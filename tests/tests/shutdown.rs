//! Promise 10: what the gateway started has ended when it has stopped.
//!
//! In a program of its own, because it counts the threads and descriptors of the whole process.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "in tests a panic is the way to tell"
)]

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use sluice::gateway::{self, Options};
use sluice_tests::HomeBuilder;
use sluice_tests::http::send;
use sluice_tests::provider::vkyc_payload;

fn count(folder: &str) -> usize {
    fs::read_dir(folder).unwrap().count()
}

fn threads() -> usize {
    count("/proc/self/task")
}

/// Waits for a count to be what it was. The thread that watches files has said that it is done, and
/// may have a last instruction to go.
#[track_caller]
fn back_to(before: usize, count: impl Fn() -> usize, what: &str) {
    let started = Instant::now();
    while count() != before {
        assert!(started.elapsed() < Duration::from_secs(10), "{what} are left: {}", count());
        thread::yield_now();
    }
}

/// Serves one request in this process and stops on SIGTERM.
fn serve_once(config: &Path, ready: &Path) {
    let options =
        Options { config: config.to_owned(), ready_file: Some(ready.to_owned()), log: None };
    let serving = thread::spawn(move || gateway::run(&options));
    let started = Instant::now();
    let text = loop {
        if let Ok(text) = fs::read_to_string(ready) {
            break text;
        }
        assert!(!serving.is_finished(), "{:?}", serving.join());
        assert!(started.elapsed() < Duration::from_secs(60), "the gateway does not become ready");
        thread::yield_now();
    };
    fs::remove_file(ready).unwrap();
    let ready: serde_json::Value = serde_json::from_str(&text).unwrap();
    let address = ready["ingest"].as_str().unwrap().parse().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let body = vkyc_payload(&format!("trn:vkyc:{address}"));
    let answer = runtime.block_on(send(address, sluice_tests::vkyc_request(body))).unwrap();
    assert_eq!(answer.status, 200);
    drop(runtime);
    let pid = std::process::id().to_string();
    assert!(
        Command::new("sh").args(["-c", "kill -s TERM \"$0\"", &pid]).status().unwrap().success()
    );
    serving.join().unwrap().unwrap();
}

#[test]
fn no_thread_and_no_descriptor_is_left_after_a_shutdown() {
    let home = HomeBuilder::new().vkyc(&["events"]).unwrap().events_file().build().unwrap();
    let ready = home.folder().join("ready.json");
    let threads_before = threads();
    serve_once(&home.config(), &ready);
    back_to(threads_before, threads, "threads");
    // The runtime keeps one pair of descriptors for signals, once for the process.
    let descriptors = count("/proc/self/fd");
    for _ in 0..3 {
        serve_once(&home.config(), &ready);
        back_to(threads_before, threads, "threads");
        back_to(descriptors, || count("/proc/self/fd"), "descriptors");
    }
    // What the last one accepted may still be owed.
    assert!(home.events().unwrap().len() >= 3);
}
