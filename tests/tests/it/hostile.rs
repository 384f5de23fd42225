//! Promise 5 from outside: whatever a guest does, its sender is told 503 and nobody else notices.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sluice_tests::http::{Connection, Request};
use sluice_tests::provider::vkyc_payload;
use sluice_tests::{Home, HomeBuilder, vkyc_request, wait_until};

const SECRET: &str = "canary-hostile-52d1f7a0c3";

const ROUTE: &str = r#"
[routes.hostile]
path = "/hooks/hostile"
adapter = "hostile"
secrets = { shared = "hostile-secret" }
deliver_to = ["events"]
"#;

fn home(settings: &str) -> Home {
    HomeBuilder::new()
        .vkyc(&["events"])
        .unwrap()
        .events_file()
        .guest("hostile")
        .unwrap()
        .secret("hostile-secret", SECRET)
        .toml(&format!("[adapters.hostile]\nplugin = \"hostile\"\nsettings = {settings}\n"))
        .toml(ROUTE)
        .build()
        .unwrap()
}

fn misdeed(word: &str) -> Request {
    Request::new("POST", "/hooks/hostile")
        .header("authorization", &format!("Bearer {SECRET}"))
        .body(word.to_owned())
}

/// Posts to the honest route until `stop`; returns how many answers came, all of them 200.
async fn honest(address: std::net::SocketAddr, client: usize, stop: Arc<AtomicBool>) -> usize {
    let mut connection = Connection::open(address).await.unwrap();
    let mut answered = 0;
    while !stop.load(Ordering::Relaxed) || answered == 0 {
        let body = vkyc_payload(&format!("trn:vkyc:honest-{client}-{answered}"));
        assert_eq!(connection.send(vkyc_request(body)).await.unwrap().status, 200);
        answered += 1;
    }
    answered
}

#[tokio::test(flavor = "multi_thread")]
async fn a_misbehaving_guest_is_answered_503_and_other_routes_go_on() {
    let home = home("{}");
    let gateway = home.start().await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..2)
        .map(|client| {
            let (address, stop) = (gateway.ingest(), Arc::clone(&stop));
            #[expect(clippy::disallowed_methods, reason = "awaited below")]
            tokio::spawn(honest(address, client, stop))
        })
        .collect();
    for word in ["spin", "allocate", "trap", "recurse", "log-flood", "call-flood", "body-flood"] {
        for _ in 0..3 {
            let answer = gateway.send(misdeed(word)).await.unwrap();
            assert_eq!(answer.status, 503, "{word}");
            assert!(answer.header("retry-after").is_some(), "{word}");
            assert!(answer.text().is_empty(), "nothing of the inside is told");
        }
    }
    // The control: the same guest, behaving.
    assert_eq!(gateway.send(misdeed("settings")).await.unwrap().status, 200);
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        println!("an honest client was answered {} times", client.await.unwrap());
    }
    // Verified and trapped: kept for replay.
    let kept = gateway.admin_get("/api/v1/requests?disposition=quarantined").await.unwrap();
    assert_eq!(kept.json().unwrap()["requests"].as_array().unwrap().len(), 21);
    assert!(gateway.terminate().await.unwrap().status.success());
}

/// Stopped for twice the deadline of a call, with little of the call's own work done: so does a machine
/// with other things to do.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_kept_from_the_processor_is_not_ended() {
    const KEPT: Duration = Duration::from_millis(200);
    let gateway = home("{}").start().await.unwrap();
    for _ in 0..3 {
        // Some 40 ms.
        let call = misdeed("work 135000000");
        let before = gateway.processor_time().unwrap();
        let began = Instant::now();
        let (answer, ()) = tokio::join!(gateway.send(call), async {
            wait_until("the call to run", Duration::from_secs(5), || async {
                let ran = gateway.processor_time().unwrap().saturating_sub(before);
                (ran >= Duration::from_millis(10)).then_some(())
            })
            .await
            .unwrap();
            gateway.signal("STOP").unwrap();
            tokio::time::sleep(KEPT).await;
            gateway.signal("CONT").unwrap();
        });
        assert_eq!(answer.unwrap().status, 200);
        assert!(began.elapsed() >= KEPT);
    }
    // The control: one that has the processor is ended.
    assert_eq!(gateway.send(misdeed("work 2000000000")).await.unwrap().status, 503);
    gateway.terminate().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_misbehaves_in_configure_is_answered_503_and_other_routes_go_on() {
    for word in ["spin", "allocate", "trap", "log-flood", "call-flood"] {
        let home = home(&format!("{{ configure = \"{word}\" }}"));
        let gateway = home.start().await.unwrap();
        assert_eq!(gateway.send(misdeed("settings")).await.unwrap().status, 503, "{word}");
        let body = vkyc_payload("trn:vkyc:other");
        assert_eq!(gateway.post_vkyc(body).await.unwrap().status, 200, "{word}");
        let log = gateway.log().unwrap();
        assert!(log.contains("plugin `hostile`"), "the log names the plugin: {word}");
        assert!(gateway.terminate().await.unwrap().status.success());
        // `check` is not so lenient.
        let checked = home.sluice(&["check", "--config", "sluice.toml"]).unwrap();
        assert_eq!(checked.status.code(), Some(78), "{word}");
        assert!(String::from_utf8_lossy(&checked.stderr).contains("hostile"), "{word}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adapter_that_forgets_to_verify_is_a_401() {
    let home = home("{}");
    let gateway = home.start().await.unwrap();
    let answer = gateway.send(misdeed("unverified")).await.unwrap();
    assert_eq!(answer.status, 401);
    let listed = gateway.admin_get("/api/v1/requests").await.unwrap().json().unwrap();
    assert_eq!(listed["requests"][0]["diagnosis"], "unverified");
    gateway.terminate().await.unwrap();
    assert_eq!(home.events().unwrap().len(), 0);
}
