use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::*;
use crate::admin::testing::{Desk, TOKEN};
use crate::model::UnixMillis;
use crate::reload::{Ask, AskKind, Trigger};

/// Answers the next wish for a reload with what it was.
fn answer_reloads(desk: &mut Desk) -> JoinSet<Vec<AskKind>> {
    let mut asks = desk.asks.take().unwrap();
    let mut answering = JoinSet::new();
    answering.spawn(async move {
        let mut kinds = Vec::new();
        while let Some(Ask { kind, answer }) = asks.recv().await {
            let result =
                match kind {
                    AskKind::Admin { dry_run: true } => Fared::WouldApply,
                    AskKind::Files(_) | AskKind::Signal | AskKind::Admin { .. } => {
                        if kinds.is_empty() { Fared::Applied } else { Fared::Refused }
                    }
                };
            let when = (UnixMillis(0), 5);
            let record =
                ReloadRecord::new(when, Trigger::Admin, (result, 2), Vec::new(), Vec::new());
            answer.unwrap().send(Arc::new(record)).unwrap();
            kinds.push(kind);
            if kinds.len() == 3 {
                break;
            }
        }
        kinds
    });
    answering
}

#[tokio::test]
async fn a_reload_is_asked_for_and_told_by_its_status() {
    let mut desk = Desk::start().await;
    let mut answering = answer_reloads(&mut desk);
    let ask = async |path: &str| {
        let request = desk.client.post(desk.url(path)).bearer_auth(TOKEN);
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
    };
    let (status, record) = ask("/api/v1/reloads").await;
    assert_eq!((status, &record["result"]), (200, &json!("applied")));
    assert_eq!(record["at"], "1970-01-01T00:00:00.000Z");
    let (status, record) = ask("/api/v1/reloads?dry_run=true").await;
    assert_eq!((status, &record["result"]), (200, &json!("would_apply")));
    let (status, record) = ask("/api/v1/reloads").await;
    assert_eq!((status, &record["result"]), (422, &json!("refused")));
    let kinds = answering.join_next().await.unwrap().unwrap();
    assert_eq!(kinds, [false, true, false].map(|dry_run| AskKind::Admin { dry_run }));
    // Nobody takes wishes any more.
    let (status, problem) = ask("/api/v1/reloads").await;
    assert_eq!((status, &problem["detail"]), (503, &json!("the gateway is stopping")));
    assert_eq!(ask("/api/v1/reloads?dry=true").await.0, 400);
}

#[tokio::test]
async fn reloads_are_listed_newest_first_and_by_pages() {
    let desk = Desk::start().await;
    for generation in 1..=3 {
        let when = (UnixMillis(0), 5);
        let outcome = (Fared::Applied, generation);
        let record = ReloadRecord::new(when, Trigger::Files, outcome, Vec::new(), Vec::new());
        desk.reloads.history().keep(record);
    }
    let (status, page) = desk.get("/api/v1/reloads?limit=2").await;
    let generations = |page: &Value| -> Vec<u64> {
        let reloads = page["reloads"].as_array().unwrap();
        reloads.iter().map(|record| record["generation"].as_u64().unwrap()).collect()
    };
    assert_eq!((status, generations(&page)), (200, vec![3, 2]));
    let (_, rest) = desk.get(&format!("/api/v1/reloads?limit=2&before={}", page["next"])).await;
    assert_eq!((generations(&rest), &rest["next"]), (vec![1], &Value::Null));
    assert_eq!(desk.get("/api/v1/reloads?limit=0").await.0, 400);
    assert_eq!(desk.get("/api/v1/reloads?limit=201").await.0, 400);
}

#[tokio::test]
async fn a_moved_listener_serves_and_the_one_before_finishes_its_answers() {
    let desk = Desk::start().await;
    assert_eq!(desk.get_with("/healthz", None).await.status(), StatusCode::OK);
    let next = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    next.set_nonblocking(true).unwrap();
    let moved_to = next.local_addr().unwrap();
    desk.moves.send(next).await.unwrap();
    let answer = desk.client.get(format!("http://{moved_to}/healthz")).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    // A kept connection may have taken one more request before it was told; the address is closed.
    assert!(tokio::net::TcpStream::connect(desk.address).await.is_err());
}
