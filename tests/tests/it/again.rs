//! A request that was refused for a wrong secret of ours is not lost: once the secret is corrected
//! it becomes an ordinary event.

use std::time::Duration;

use serde_json::Value;
use sluice_tests::http::Request;
use sluice_tests::provider::{VKYC_PATH, VKYC_SECRET_HEADER, vkyc_payload};
use sluice_tests::{HomeBuilder, wait_until};

/// What the provider holds, and we first wrote down wrongly.
const RIGHT: &str = "canary-the-right-one-3f1c77";

#[tokio::test(flavor = "multi_thread")]
async fn requests_refused_for_a_wrong_secret_become_events_once_it_is_corrected() {
    let home = HomeBuilder::new().vkyc(&["events"]).unwrap().events_file().build().unwrap();
    let gateway = home.start().await.unwrap();
    let mut refused = Vec::new();
    for number in 0..3 {
        let request = Request::post_json(VKYC_PATH, vkyc_payload(&format!("lost-{number}")));
        let answer = gateway.send(request.header(VKYC_SECRET_HEADER, RIGHT)).await.unwrap();
        assert_eq!(answer.status, 401);
    }
    let page = gateway.admin_get("/api/v1/requests?disposition=rejected").await.unwrap();
    let page = page.json().unwrap();
    for row in page["requests"].as_array().unwrap() {
        refused.push(row["id"].as_str().unwrap().to_owned());
    }
    assert_eq!(refused.len(), 3, "{page}");

    let admin = format!("http://{}/", gateway.admin());
    let verify = |id: &str| {
        let to = ["--admin", &admin, "--token-file", "secrets/admin-token"];
        home.sluice(&[&["requests", "verify", id], &to[..]].concat()).unwrap()
    };
    let output = verify(&refused[0]);
    assert!(!output.status.success(), "the secret is still wrong");
    assert!(String::from_utf8_lossy(&output.stdout).contains("secret_mismatch"));

    home.replace("secrets/vkyc-secret", format!("{RIGHT}\n")).unwrap();
    gateway.reload().await.unwrap();
    for id in &refused {
        let output = verify(id);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let told = String::from_utf8(output.stdout).unwrap();
        assert!(told.contains("disposition: accepted") && told.contains("status: 200"), "{told}");
        let again = verify(id);
        assert!(!again.status.success(), "it was verified twice");
        assert!(String::from_utf8_lossy(&again.stderr).contains("stored already"));
    }
    // The provider tries again as well: it is the same event.
    let request = Request::post_json(VKYC_PATH, vkyc_payload("lost-0"));
    let answer = gateway.send(request.header(VKYC_SECRET_HEADER, RIGHT)).await.unwrap();
    assert_eq!(answer.status, 200);
    let home = &home;
    let delivered =
        wait_until("all events to be delivered", Duration::from_secs(60), || async move {
            home.events().ok().filter(|events| events.len() >= refused_count())
        });
    let events = delivered.await.unwrap();
    let page = gateway.admin_get("/api/v1/requests").await.unwrap().json().unwrap();
    let of = |disposition: &str| {
        let rows = page["requests"].as_array().unwrap().iter();
        rows.filter(|row| row["disposition"] == disposition).count()
    };
    assert_eq!((of("accepted"), of("duplicate"), of("rejected")), (3, 1, 0), "{page}");
    assert!(gateway.terminate().await.unwrap().status.success());
    assert_eq!(home.events().unwrap().len(), 3, "each is delivered once: {events:?}");
    let verified: Vec<&Value> = events.iter().map(|event| &event["verified"]).collect();
    assert!(verified.iter().all(|how| *how == "shared-secret"), "{events:?}");
}

const fn refused_count() -> usize {
    3
}
