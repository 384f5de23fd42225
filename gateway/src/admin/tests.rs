use std::time::Duration;

use serde_json::{Value, json};

use super::testing::*;
use super::*;
use crate::delivery::testing::event;
use crate::model::Disposition;
use crate::storage::{StorageError, StorageHealth};

#[tokio::test]
async fn every_endpoint_is_open_or_wants_the_token_as_declared() {
    let right = [format!("Bearer {TOKEN}"), format!("bearer {OLD_TOKEN}")];
    let wrong = [
        None,
        Some(format!("Bearer {EXPIRED_TOKEN}")),
        Some("Bearer wrong".to_owned()),
        Some(format!("Bearer {TOKEN}x")),
        Some("Bearer ".to_owned()),
        Some(format!("Basic {TOKEN}")),
        Some(TOKEN.to_owned()),
    ];
    for endpoint in endpoints() {
        // Anew, so that the wrong tokens of one do not block the next.
        let desk = Desk::start().await;
        let path = endpoint.path.replace("{id}", &id(1).to_string());
        for authorization in &wrong {
            let answer = desk.get_with(&path, authorization.as_deref()).await;
            let denied = answer.status() == StatusCode::UNAUTHORIZED;
            assert_eq!(denied, endpoint.access == Access::Token, "{path} {authorization:?}");
            if denied {
                assert_eq!(answer.headers()["www-authenticate"], "Bearer");
                assert_eq!(answer.headers()["content-type"], "application/problem+json");
                let problem: Value = answer.json().await.unwrap();
                assert_eq!(problem["status"], 401);
            }
        }
        for authorization in &right {
            let status = desk.get_with(&path, Some(authorization)).await.status();
            assert_ne!(status, StatusCode::UNAUTHORIZED, "{path}");
        }
        if endpoint.access == Access::Token {
            let answer = desk.client.post(desk.url(&path)).send().await.unwrap();
            assert!(answer.status().is_client_error(), "{path}");
        }
    }
    let paths: std::collections::BTreeSet<_> = endpoints().iter().map(|one| one.path).collect();
    assert_eq!(paths.len(), endpoints().len());
}

#[tokio::test]
async fn a_token_is_refused_once_it_expires() {
    let desk = Desk::start().await;
    let old = format!("Bearer {OLD_TOKEN}");
    assert_eq!(desk.get_with("/metrics", Some(&old)).await.status(), StatusCode::OK);
    desk.clock.advance(Duration::from_secs(60));
    assert_eq!(desk.get_with("/metrics", Some(&old)).await.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn guessing_is_stopped_and_locks_nobody_out() {
    let desk = Desk::start().await;
    let right = format!("Bearer {TOKEN}");
    for guess in 0..10 {
        let answer = desk.get_with("/metrics", Some(&format!("Bearer {guess}"))).await;
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    }
    // The wrong ones and none at all are put off, and what they are told does not say which.
    for wrong in [Some(format!("Bearer {EXPIRED_TOKEN}")), Some("Bearer 10".to_owned()), None] {
        let answer = desk.get_with("/metrics", wrong.as_deref()).await;
        assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(answer.headers()["retry-after"], "61");
    }
    // Who knows the token is at the same address.
    assert_eq!(desk.get_with("/metrics", Some(&right)).await.status(), StatusCode::OK);
    assert_eq!(desk.get_with("/readyz", None).await.status(), StatusCode::OK);
    desk.clock.advance(Duration::from_secs(60));
    let answer = desk.get_with("/metrics", Some("Bearer 11")).await;
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_foreign_host_is_refused_on_loopback() {
    let desk = Desk::start().await;
    for (host, expected) in [
        ("localhost:9090", StatusCode::OK),
        ("127.0.0.1", StatusCode::OK),
        ("rebound.example", StatusCode::MISDIRECTED_REQUEST),
    ] {
        let request = desk.client.get(desk.url("/healthz")).header("host", host);
        assert_eq!(request.send().await.unwrap().status(), expected, "{host}");
    }
}

#[tokio::test]
async fn readiness_follows_the_phase_and_storage_and_liveness_stays_green() {
    let desk = Desk::start().await;
    let refusing = |reason: &str| {
        Ok(StorageHealth { refusing: Some(reason.to_owned()), ..StorageHealth::default() })
    };
    let failed = Err(StorageError::Failed { detail: "SELECT secret".to_owned() });
    for (phase, health, expected) in [
        (
            Phase::Starting,
            Ok(StorageHealth::default()),
            json!({"phase": "starting", "reason": "the gateway is starting"}),
        ),
        (Phase::Serving, Ok(StorageHealth::default()), json!({"phase": "serving"})),
        (
            Phase::Serving,
            refusing("the disk is full"),
            json!({"phase": "serving", "reason": "the disk is full"}),
        ),
        (Phase::Serving, failed, json!({"phase": "serving", "reason": "storage could not answer"})),
        (
            Phase::Draining,
            Ok(StorageHealth::default()),
            json!({"phase": "draining", "reason": "the gateway is stopping"}),
        ),
    ] {
        desk.phase.send_replace(phase);
        *desk.storage.health.lock().unwrap() = health;
        let wanted = if expected.get("reason").is_some() { 503 } else { 200 };
        // An older answer of storage may serve for half a second.
        let deadline = tokio::time::Instant::now() + Duration::from_secs(5);
        loop {
            let answer = desk.get_with("/readyz", None).await;
            let status = answer.status().as_u16();
            let body: Value = answer.json().await.unwrap();
            if (status, &body) == (wanted, &expected) {
                break;
            }
            assert!(tokio::time::Instant::now() < deadline, "{status} {body}, not {expected}");
        }
        assert_eq!(desk.get_with("/healthz", None).await.status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn stored_and_refused_requests_are_one_list_page_by_page() {
    let desk = Desk::start().await;
    for number in [1, 3, 5, 7] {
        desk.storage.requests.lock().unwrap().push(stored(number, "vkyc", Disposition::Accepted));
    }
    for number in [2, 4, 6] {
        desk.ring.0.lock().unwrap().push(refused(number, Some("vkyc")));
    }
    let mut path = "/api/v1/requests?limit=3".to_owned();
    let mut pages: Vec<Vec<String>> = Vec::new();
    loop {
        let (status, page) = desk.get(&path).await;
        assert_eq!(status, 200);
        let rows = page["requests"].as_array().unwrap().clone();
        pages.push(rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect());
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/api/v1/requests?limit=3&before={next}");
    }
    let of = |numbers: &[u8]| numbers.iter().map(|n| id(*n).to_string()).collect::<Vec<_>>();
    assert_eq!(pages, [of(&[7, 6, 5]), of(&[4, 3, 2]), of(&[1])]);
}

#[tokio::test]
async fn the_list_is_filtered_by_route_and_disposition() {
    let desk = Desk::start().await;
    desk.storage.requests.lock().unwrap().extend([
        stored(1, "vkyc", Disposition::Accepted),
        stored(2, "zotlo", Disposition::Duplicate),
        stored(9, "vkyc", Disposition::Quarantined),
    ]);
    desk.ring.0.lock().unwrap().extend([
        refused(3, Some("vkyc")),
        refused(4, None),
        refused(9, Some("vkyc")),
    ]);
    for (query, expected) in [
        ("", &[9, 4, 3, 2, 1][..]),
        ("?route=vkyc", &[9, 3, 1]),
        ("?disposition=rejected&route=zotlo", &[]),
        ("?disposition=duplicate", &[2]),
        ("?disposition=accepted&route=vkyc", &[1]),
        ("?disposition=superseded", &[]),
    ] {
        let (status, page) = desk.get(&format!("/api/v1/requests{query}")).await;
        assert_eq!(status, 200, "{query}");
        let ids: Vec<_> =
            page["requests"].as_array().unwrap().iter().map(|row| row["id"].clone()).collect();
        let wanted: Vec<_> = expected.iter().map(|n| json!(id(*n).to_string())).collect();
        assert_eq!(ids, wanted, "{query}");
        assert_eq!(page["next"], Value::Null);
    }
    // One that stands in both is shown as it was stored.
    let (_, page) = desk.get("/api/v1/requests?limit=1").await;
    assert_eq!(page["requests"][0]["disposition"], "quarantined");
}

#[tokio::test]
async fn a_bad_question_is_answered_with_what_is_wrong() {
    let desk = Desk::start().await;
    for (query, told) in [
        ("?limit=0", "`limit` is 1 to 200"),
        ("?limit=201", "`limit` is 1 to 200"),
        ("?limit=x", "limit"),
        ("?before=1%27--", "before"),
        ("?route=../x", "a name is 1 to 64"),
        ("?disposition=lost", "unknown variant"),
        ("?offset=3", "unknown field"),
        ("/not-an-id", "UUID"),
    ] {
        let (status, problem) = desk.get(&format!("/api/v1/requests{query}")).await;
        assert_eq!((status, &problem["status"]), (400, &json!(400)), "{query}: {problem}");
        assert_eq!(problem["title"], "Bad Request");
        assert!(problem["detail"].as_str().unwrap().contains(told), "{query}: {problem}");
    }
    for path in ["/api/v1/requests/0190163d-8694-739b-aea5-966c26f8ad91", "/nothing", "/"] {
        let (status, problem) = desk.get(path).await;
        assert_eq!((status, &problem["status"]), (404, &json!(404)), "{path}");
    }
}

#[tokio::test]
async fn a_stored_request_is_told_whole_and_without_digests() {
    let desk = Desk::start().await;
    let mut request = stored(1, "vkyc", Disposition::Accepted);
    request.events.push(failed_event());
    desk.storage.requests.lock().unwrap().push(request);
    let path = format!("/api/v1/requests/{}", id(1));
    let answer = desk.get_with(&path, Some(&format!("Bearer {TOKEN}"))).await;
    for (header, value) in [
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
        ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
        ("content-type", "application/json"),
    ] {
        assert_eq!(answer.headers()[header], value);
    }
    let text = answer.text().await.unwrap();
    assert!(text.contains(r#""data":{"b":1.10,"a":2}"#), "{text}");
    assert!(!text.contains("abababab"), "{text}");
    let whole: Value = serde_json::from_str(&text).unwrap();
    let events = json!([{
        "id": event(8).id.to_string(), "type": "test.happened", "adapter": "vkyc/1.0.0",
        "verified": "shared-secret", "intact": true, "data": {"b": 1.10, "a": 2},
        "deliveries": [{
            "id": 5, "destination": "ledger", "state": "pending",
            "due_at": "1970-01-01T00:00:00.000Z",
            "attempts": [{"number": 1, "at": "2024-06-15T11:51:35.807Z", "took_ms": 12,
                          "outcome": "failed", "kind": "refused", "status": 500,
                          "detail": "the destination answered 500"}],
        }],
    }]);
    let expected = json!({
        "id": id(1).to_string(),
        "route": "vkyc",
        "received_at": "2024-06-15T11:51:35.807Z",
        "client": "127.0.0.1",
        "disposition": "accepted",
        "status": 200,
        "head": {"method": "POST", "path": "/hooks/vkyc", "query": null,
                 "headers": [["x-secret", "***"]]},
        "body": {"bytes": 10, "text": "{\"n\":1.10}"},
        "redacted": false,
        "verdicts": [{"role": "shared", "proof": "header", "found": {"matched": {"version": 0}}}],
        "adapter": "vkyc",
        "plugin": {"plugin": "vkyc", "version": "1.0.0", "digest": "00".repeat(32)},
        "generation": 3,
        "verified": "shared-secret",
        "body_sha256": "cd".repeat(32),
        "intact": true,
        "facts": [{"name": "agent", "value": "7"}],
        "answer": {"status": 200, "headers": [["content-type", "application/json"]],
                   "body": {"bytes": 2, "text": "{}"}},
        "seen": [],
        "events": events,
    });
    assert_eq!(whole, expected);
}

#[tokio::test]
async fn a_refused_request_is_told_with_its_diagnosis() {
    let desk = Desk::start().await;
    desk.ring.0.lock().unwrap().push(refused(2, Some("vkyc")));
    let (status, whole) = desk.get(&format!("/api/v1/requests/{}", id(2))).await;
    assert_eq!(status, 200);
    assert_eq!(whole["disposition"], "rejected");
    assert_eq!(whole["diagnosis"], "secret_mismatch");
    assert_eq!(whole["note"], "the header `x-secret` does not match");
    assert_eq!(whole["body"], json!({"bytes": 2, "base64": "/wA="}));
    assert_eq!(whole["events"], json!([]));
    assert_eq!(whole.get("answer"), None);
}

#[tokio::test]
async fn metrics_are_told_in_the_format_of_prometheus() {
    let desk = Desk::start().await;
    let answer = desk.get_with("/metrics", Some(&format!("Bearer {TOKEN}"))).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
}

#[tokio::test]
async fn shutdown_closes_kept_connections_and_ends() {
    let mut desk = Desk::start().await;
    assert_eq!(desk.get_with("/healthz", None).await.status(), StatusCode::OK);
    desk.shutdown.cancel();
    desk.running.join_next().await.unwrap().unwrap().unwrap();
    assert!(desk.client.get(desk.url("/healthz")).send().await.is_err());
}

#[tokio::test]
async fn adapters_are_listed_with_what_they_say_of_themselves() {
    let desk = Desk::start().await;
    let (status, list) = desk.get("/api/v1/adapters").await;
    assert_eq!(status, 200);
    let payouts = &list["adapters"][1];
    assert_eq!(payouts["name"], "payouts");
    assert_eq!((&payouts["version"], &payouts["state_version"]), (&json!("1.2.0"), &json!(3)));
    assert_eq!((&payouts["routes"], &payouts["serving"]), (&json!(["buyer"]), &json!(true)));
    assert_eq!(payouts["views"][0]["name"], "echo");
}

#[tokio::test]
async fn a_view_answers_json_or_says_how_it_ended() {
    let desk = Desk::start().await;
    let (status, answer) = desk.get("/api/v1/adapters/payouts/views/echo?n=7&caller=%2B1").await;
    assert_eq!((status, answer), (200, json!({ "n": 7, "caller": "+1" })));
    for (path, status, told) in [
        ("payouts/views/echo?n=1&n=2", 400, "given twice"),
        ("payouts/views/refuse", 404, "no_such_call: no such call"),
        ("payouts/views/deny", 422, "no_such_call"),
        ("payouts/views/trap", 500, "unreachable"),
        ("payouts/views/spin", 504, "out of time"),
        ("payouts/views/none", 404, "it has `echo`, `refuse`"),
        ("nobody/views/echo", 404, "no adapter `nobody`"),
        ("broken/views/echo", 503, "could not take up its settings"),
    ] {
        let (found, problem) = desk.get(&format!("/api/v1/adapters/{path}")).await;
        assert_eq!(found, status, "{path}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains(told), "{path}: {problem}");
    }
}

#[tokio::test]
async fn a_refused_request_is_verified_again_and_told_what_became_of_it() {
    let desk = Desk::start().await;
    let ask = async |id: &str| {
        let path = format!("/api/v1/requests/{id}?action=verify");
        let answer = desk.client.post(desk.url(&path)).bearer_auth(TOKEN).send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
    };
    let (status, told) = ask(&id(1).to_string()).await;
    assert_eq!(
        (status, &told["disposition"], &told["status"]),
        (200, &json!("accepted"), &json!(200))
    );
    let (status, told) = ask(&id(2).to_string()).await;
    assert_eq!((status, &told["diagnosis"]), (422, &json!("secret_mismatch")));
    let (status, told) = ask(&id(3).to_string()).await;
    let why = "it cannot be verified again: its body was never read";
    assert_eq!((status, &told["detail"]), (409, &json!(why)));
    assert_eq!(ask(&id(4).to_string()).await.0, 404);
    assert_eq!(ask("no-id").await.0, 400);
}

#[tokio::test(start_paused = true)]
async fn an_import_that_makes_progress_is_not_cut_off() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    // At one in 20 s they outlive every other connection.
    const ENTRIES: usize = 36;
    let desk = Desk::start().await;
    let mut stream = tokio::net::TcpStream::connect(desk.address).await.unwrap();
    let head = format!(
        "POST /api/v1/state/payouts HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
         authorization: Bearer {TOKEN}\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut send = async |line: &str| {
        let chunk = format!("{:x}\r\n{line}\n\r\n", line.len() + 1);
        stream.write_all(chunk.as_bytes()).await.unwrap();
    };
    send(r#"{"sluice_state":1,"adapter":"payouts","state_version":3}"#).await;
    for number in 0..ENTRIES {
        tokio::time::sleep(Duration::from_secs(20)).await;
        send(&format!(r#"{{"key":"call/{number}","json":1}}"#)).await;
    }
    send(&format!(r#"{{"entries":{ENTRIES}}}"#)).await;
    stream.write_all(b"0\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("\"entries\":36"), "{answer}");
}
