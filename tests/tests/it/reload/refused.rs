//! Whatever is wrong with what stands on disk: the generation before serves on, and says why.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use serde_json::Value;
use sluice_tests::reload::{changes, problems};
use sluice_tests::{Gateway, Home, VKYC_SECRET};

use super::{accepts, home, hostile_route, is};

/// Breaks a running home in some way, checks that the generation before serves on and says why, and
/// that all is well once it is mended.
async fn check(break_it: impl FnOnce(&Home), said: &str, mend: impl FnOnce(&Home)) {
    let home = home();
    let gateway = home.start_unprivileged().await.unwrap();
    check_running(&home, &gateway, break_it, said).await;
    let after = gateway.last_reload().await.unwrap();
    mend(&home);
    let is_it = |record: &Value| is(record, "files", "applied");
    gateway.reloaded_since(after, "the mended configuration", is_it).await.unwrap();
    assert_eq!(gateway.metric("sluice_reload_refused").await.unwrap(), 0.0);
    accepts(&gateway, "trn:vkyc:mended").await;
}

async fn check_running(home: &Home, gateway: &Gateway, break_it: impl FnOnce(&Home), said: &str) {
    accepts(gateway, "trn:vkyc:before").await;
    let after = gateway.last_reload().await.unwrap();
    break_it(home);
    let is_it = |record: &Value| {
        is(record, "files", "refused") && problems(record).iter().any(|told| told.contains(said))
    };
    let record = gateway.reloaded_since(after, said, is_it).await.unwrap();
    assert_eq!(record["generation"], 1);
    assert_eq!(gateway.metric("sluice_generation").await.unwrap(), 1.0);
    assert_eq!(gateway.metric("sluice_reload_refused").await.unwrap(), 1.0);
    let log = gateway.log().unwrap();
    let line = log.lines().find(|line| line.contains("A problem of the new configuration"));
    let line = line.unwrap_or_else(|| panic!("{log}"));
    assert!(line.contains("sluice.toml") || line.contains("hostile.toml"), "{line}");
    accepts(gateway, "trn:vkyc:after").await;
}

fn add_hostile(home: &Home) {
    home.replace("routes/hostile.toml", hostile_route("one")).unwrap();
}

fn fix_plugin(home: &Home) {
    home.replace("plugins/hostile.wasm", super::hostile_version("1.2.3")).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_main_file() {
    let mut text = None;
    let taken = &mut text;
    let home = home();
    let gateway = home.start_unprivileged().await.unwrap();
    let break_it = |home: &Home| {
        *taken = home.config_text().ok();
        fs::remove_file(home.config()).unwrap();
    };
    check_running(&home, &gateway, break_it, "there is no file").await;
    let after = gateway.last_reload().await.unwrap();
    home.replace("sluice.toml", text.unwrap()).unwrap();
    let is_it = |record: &Value| is(record, "files", "applied");
    let record = gateway.reloaded_since(after, "the file again", is_it).await.unwrap();
    assert_eq!(changes(&record).len(), 0, "it says what it said");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_may_not_be_read() {
    let mode = |name: &'static str, mode: u32| {
        move |home: &Home| {
            fs::set_permissions(home.folder().join(name), Permissions::from_mode(mode)).unwrap();
        }
    };
    check(mode("sluice.toml", 0o000), "may not be read", mode("sluice.toml", 0o644)).await;
    let secret = "secrets/vkyc-secret";
    check(mode(secret, 0o000), "may not be read", mode(secret, 0o600)).await;
    check(mode(secret, 0o644), "is open to others than its owner", mode(secret, 0o600)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn plugins_that_are_broken_or_ask_for_what_they_may_not() {
    let plugin = |bytes: Vec<u8>| {
        move |home: &Home| {
            home.replace("plugins/hostile.wasm", bytes).unwrap();
            add_hostile(home);
        }
    };
    let broken = plugin(b"\0asm and nothing more".to_vec());
    check(broken, "plugin `hostile`: it is not", fix_plugin).await;
    let wasi = r#"(component (import "wasi:sockets/tcp@0.2.6" (instance)))"#;
    let wasi = plugin(wat::parse_str(wasi).unwrap());
    check(wasi, "it imports `wasi:sockets/tcp@0.2.6`", fix_plugin).await;
    let missing = |home: &Home| {
        fs::remove_file(home.folder().join("plugins/hostile.wasm")).unwrap();
        add_hostile(home);
    };
    check(missing, "there is no file", fix_plugin).await;
    // Its `configure` traps.
    let traps = |home: &Home| {
        let route = hostile_route("one") + "[adapters.hostile]\nplugin = \"hostile\"\n";
        let route = route + "settings = { configure = \"trap\" }\n";
        home.replace("routes/hostile.toml", route).unwrap();
    };
    check(traps, "`configure` trapped", add_hostile).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_secret_and_a_taken_address() {
    let remove = |home: &Home| fs::remove_file(home.folder().join("secrets/vkyc-secret")).unwrap();
    let put_back = |home: &Home| {
        home.replace("secrets/vkyc-secret", VKYC_SECRET).unwrap();
        // Without the rights to do so, it is the gateway's user already.
        let whole = home.folder().join("secrets/vkyc-secret");
        drop(std::process::Command::new("chown").arg("65534:65534").arg(whole).output());
    };
    check(remove, "secrets.vkyc-secret.file: there is no file", put_back).await;

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let listen = format!("listen = \"{address}\"");
    let take = |home: &Home| home.edit("listen = \"127.0.0.1:0\"", &listen).unwrap();
    let free = |home: &Home| home.edit(&listen, "listen = \"127.0.0.1:0\"").unwrap();
    check(take, "ingest.listen: cannot listen on", free).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_storage_url_asks_for_a_restart_by_name() {
    let other = |home: &Home| home.edit("sluice.db", "other.db").unwrap();
    let back = |home: &Home| home.edit("other.db", "sluice.db").unwrap();
    check(other, "storage.url: changes only at a restart", back).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_written_in_two_steps_is_never_applied_half() {
    let reloads = two_steps(10, &[]).await;
    assert!(reloads.len() > 9, "{reloads:#?}");
    for record in &reloads {
        assert_eq!(record["result"], "applied", "{record}");
        assert!(!removes_a_route(record), "{record}");
    }
}

/// The control: a gateway that does not wait until files have come to rest applies the first half.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_applies_files_at_once_fails_this_test() {
    // Its thread has a low priority: on a busy machine it may come too late for each of them.
    const ATTEMPTS: u32 = 5;
    for _ in 0..ATTEMPTS {
        let reloads = two_steps(10, &[("SLUICE_FAULT", "apply-at-once")]).await;
        if reloads.iter().any(removes_a_route) {
            return;
        }
    }
    panic!("the first half was never applied");
}

fn removes_a_route(record: &Value) -> bool {
    changes(record).iter().any(|change| change.contains("removed"))
}

/// Writes the main file in two steps, again and again, and returns all reloads.
async fn two_steps(rounds: u32, environment: &[(&str, &str)]) -> Vec<Value> {
    let home = home();
    let gateway = home.start_with(environment).await.unwrap();
    let text = home.config_text().unwrap();
    // The first part parses, and has no route at all.
    let (first, _) = text.split_at(text.find("[routes.vkyc]").unwrap());
    for round in 1..=rounds {
        let limit = format!("[ingest]\nrequests_in_flight_max = {round}");
        fs::write(home.config(), first).unwrap();
        // The writer's pause: nothing waits for anything here.
        tokio::time::sleep(Duration::from_millis(50)).await;
        fs::write(home.config(), text.replace("[ingest]", &limit)).unwrap();
        let said = format!("→ {round}");
        let is_it = |record: &Value| {
            is(record, "files", "applied")
                && changes(record).iter().any(|change| change.ends_with(&said))
        };
        gateway.reloaded_since(0, &said, is_it).await.unwrap();
    }
    accepts(&gateway, "trn:vkyc:end").await;
    gateway.reloads().await.unwrap()
}
