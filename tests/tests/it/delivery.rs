//! What operators meet on the way from the store to their systems.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use sluice_tests::destination::{Destination, Reply};
use sluice_tests::provider::vkyc_payload;
use sluice_tests::{Gateway, Home, HomeBuilder, wait_until};

const SOON: Duration = Duration::from_secs(60);

async fn post(gateway: &Gateway, id: &str) {
    assert_eq!(gateway.post_vkyc(vkyc_payload(id)).await.unwrap().status, 200);
}

/// Waits for a line of `/metrics`.
async fn until_metric(gateway: &Gateway, line: &str) {
    let shown = || async move {
        let metrics = gateway.admin_get("/metrics").await.ok()?.text();
        metrics.lines().any(|shown| shown == line).then_some(())
    };
    wait_until(line, SOON, shown).await.unwrap();
}

/// Takes the destination `ledger` out of the configuration; returns the configuration with it.
async fn take_out(home: &Home, gateway: &Gateway) -> String {
    let with = home.config_text().unwrap();
    let (before, _) = with.split_once("[destinations.ledger]").unwrap();
    let without = before.replace("[\"events\", \"ledger\"]", "[\"events\"]");
    let after = gateway.last_reload().await.unwrap();
    home.replace("sluice.toml", without).unwrap();
    gateway.reload().await.unwrap();
    let removed = |record: &serde_json::Value| {
        sluice_tests::reload::changes(record).contains(&"destination `ledger` removed")
    };
    gateway.reloaded_since(after, "the removal", removed).await.unwrap();
    with
}

fn home_with(ledger: &Destination, storage: &str) -> Home {
    let retry = "retry = { delays = [\"2s\", \"2s\", \"2s\"], jitter = 0.0 }";
    let home = HomeBuilder::new().storage(storage).vkyc(&["events", "ledger"]).unwrap();
    home.events_file().http_destination("ledger", &ledger.url("/in"), retry).build().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_that_is_put_back_gets_what_it_was_owed_across_a_restart_too() {
    let ledger = Destination::start().unwrap();
    ledger.script([Reply::status(503)]);
    let home = home_with(&ledger, "");
    let gateway = home.start_with(&[("SLUICE_LOG", "info")]).await.unwrap();
    post(&gateway, "trn:vkyc:owed").await;
    ledger.wait_for(1, SOON).await.unwrap();
    let with = take_out(&home, &gateway).await;
    let warning = gateway.wait_for_log("is not configured", SOON).await.unwrap();
    assert!(warning.contains("WARN") && warning.contains("\"ledger\""), "{warning}");
    until_metric(&gateway, "sluice_destination_pending{destination=\"ledger\"} 1").await;
    gateway.terminate().await.unwrap();

    let gateway = home.start().await.unwrap();
    until_metric(&gateway, "sluice_destination_pending{destination=\"ledger\"} 1").await;
    home.replace("sluice.toml", with).unwrap();
    gateway.reload().await.unwrap();
    ledger.wait_for(2, SOON).await.unwrap();
    until_metric(&gateway, "sluice_destination_pending{destination=\"ledger\"} 0").await;
    until_metric(&gateway, "sluice_dead_letters 0").await;
    gateway.terminate().await.unwrap();
}

/// The control: without a grace, all it is owed is given up at once.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_grace_a_destination_that_is_taken_out_is_given_up_at_once() {
    let ledger = Destination::start().unwrap();
    ledger.script([Reply::status(503)]);
    let home = home_with(&ledger, "removed_grace = \"0s\"");
    let gateway = home.start().await.unwrap();
    post(&gateway, "trn:vkyc:owed").await;
    ledger.wait_for(1, SOON).await.unwrap();
    let with = take_out(&home, &gateway).await;
    until_metric(&gateway, "sluice_dead_letters 1").await;
    home.replace("sluice.toml", with).unwrap();
    gateway.reload().await.unwrap();
    post(&gateway, "trn:vkyc:next").await;
    let received = ledger.wait_for(2, SOON).await.unwrap();
    assert_eq!(received.len(), 2, "the next one, and never again the one that was given up");
    gateway.terminate().await.unwrap();
}

fn make_pipe(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipe_that_nobody_reads_takes_nothing_and_holds_up_neither_reload_nor_stop() {
    let folder = tempfile::tempdir().unwrap();
    let (pipe, file) = (folder.path().join("pipe"), folder.path().join("file"));
    make_pipe(&pipe);
    let pipe_toml = format!(
        "[destinations.ledger]\ntype = \"file\"\npath = {pipe:?}\n\
         retry = {{ delays = [\"1s\", \"1s\", \"1s\", \"1s\", \"1s\", \"1s\"], jitter = 0.0 }}\n"
    );
    let home = HomeBuilder::new().vkyc(&["events", "ledger"]).unwrap().events_file();
    let home = home.toml(&pipe_toml).build().unwrap();
    let gateway = home.start_with(&[("SLUICE_LOG", "info")]).await.unwrap();
    for number in 0..3 {
        post(&gateway, &format!("trn:vkyc:{number}")).await;
    }
    let line = gateway.wait_for_log("An attempt failed", SOON).await.unwrap();
    assert!(line.contains("nobody reads from it") && line.contains("\"io_error\""), "{line}");
    let told: serde_json::Value = serde_json::from_str(&line).unwrap();
    let request = told["request_id"].as_str().unwrap();
    let shown = gateway.admin_get(&format!("/api/v1/requests/{request}")).await.unwrap().text();
    assert!(shown.contains(told["event_id"].as_str().unwrap()), "{shown}");
    until_metric(&gateway, "sluice_destination_pending{destination=\"ledger\"} 3").await;
    home.edit(pipe.to_str().unwrap(), file.to_str().unwrap()).unwrap();
    gateway.reload().await.unwrap();
    until_metric(&gateway, "sluice_destination_pending{destination=\"ledger\"} 0").await;
    assert_eq!(std::fs::read_to_string(&file).unwrap().lines().count(), 3);
    gateway.terminate().await.unwrap();
}
