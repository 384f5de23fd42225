//! Views: what adapters answer operators, over the admin listener and on the command line.

use std::time::Duration;

use serde_json::{Value, json};
use sluice_tests::http::{Request, send};
use sluice_tests::{ADMIN_TOKEN, Gateway, Home, HomeBuilder};
use tokio::task::JoinSet;

const SECRET: &str = "b1a0f4e5c2d94f6f8a3e7d5c9b0a1f2e";

fn home() -> Home {
    let tables = r#"
        [adapters.hostile]
        plugin = "hostile"

        [routes.keeper]
        path = "/hooks/keeper"
        plugin = "keeper"
        secrets = { shared = "keeper-secret" }
        deliver_to = ["events"]
    "#;
    let builder = HomeBuilder::new().guest("keeper").unwrap().guest("hostile").unwrap();
    builder.secret("keeper-secret", SECRET).toml(tables).events_file().build().unwrap()
}

async fn tally(gateway: &Gateway, name: &str) -> u16 {
    let request = Request::new("POST", "/hooks/keeper").header("x-webhook-secret", SECRET);
    gateway.send(request.body(format!("tally {name}"))).await.unwrap().status
}

fn sluice(home: &Home, gateway: &Gateway, arguments: &[&str]) -> (Option<i32>, String, String) {
    let admin = format!("http://{}/", gateway.admin());
    let mut all = arguments.to_vec();
    all.extend(["--admin", &admin, "--token-file", "secrets/admin-token"]);
    let ran = home.sluice(&all).unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (ran.status.code(), text(ran.stdout), text(ran.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_reads_the_adapters_state_and_can_write_none() {
    let home = home();
    let gateway = home.start().await.unwrap();
    assert_eq!(tally(&gateway, "apples").await, 200);

    let (status, list, _) = sluice(&home, &gateway, &["adapter", "list"]);
    assert_eq!(status, Some(0));
    let row = list.lines().find(|line| line.starts_with("keeper ")).unwrap();
    assert_eq!(
        row.split_whitespace().skip(3).collect::<Vec<_>>(),
        ["1", "keeper", "run"],
        "{list}"
    );
    let json = sluice(&home, &gateway, &["adapter", "list", "--format", "json"]).1;
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["adapters"][1]["facts"], json!([{ "name": "count", "label": "Count" }]));

    let view = |operation: &str| {
        let operation = format!("operation={operation}");
        let arguments = ["adapter", "view", "keeper", "run", &operation, "times=2"];
        let (status, text, told) =
            sluice(&home, &gateway, &[&arguments[..], &["--format", "json"]].concat());
        assert_eq!(status, Some(0), "{told}");
        serde_json::from_str::<Value>(&text).unwrap()["told"].clone()
    };
    let found = view("scan - ~ 9");
    assert!(found[0].as_str().unwrap().starts_with("1 ["), "{found}");
    for write in ["put key value", "delete key"] {
        assert!(view(write)[0].as_str().unwrap().starts_with("read_only"), "{write}");
    }
    assert_eq!(view("scan - ~ 9"), found, "nothing was written");

    for (arguments, said) in [
        (["keeper", "run", "times=1"], "400 Bad Request"),
        (["keeper", "none", "times=1"], "it has `run`"),
        (["nobody", "run", "times=1"], "no adapter `nobody`"),
        (["hostile", "spin", "times=1"], "ran out of time"),
    ] {
        let all = [&["adapter", "view"][..], &arguments].concat();
        let (status, _, told) = sluice(&home, &gateway, &all);
        assert_eq!(status, Some(1));
        assert!(told.contains(said), "{told}");
    }
}

/// As many views as may wait, each spinning to its deadline one after the other: posts are answered
/// meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn views_do_not_hold_up_ingest() {
    const VIEWS: usize = 12;
    const POSTS: usize = 40;
    let home = home();
    let gateway = home.start_with(&[]).await.unwrap();
    assert_eq!(tally(&gateway, "first").await, 200);
    let mut views = JoinSet::new();
    for _ in 0..VIEWS {
        let token = format!("Bearer {ADMIN_TOKEN}");
        let asked = Request::get("/api/v1/adapters/hostile/views/spin");
        let asked = send(gateway.admin(), asked.header("authorization", &token));
        views.spawn(async move { asked.await.unwrap().status });
    }
    // The first has ended: the others are at it.
    assert_eq!(views.join_next().await.unwrap().unwrap(), 504);
    let mut slowest = Duration::ZERO;
    for _ in 0..POSTS {
        let began = std::time::Instant::now();
        assert_eq!(tally(&gateway, "meanwhile").await, 200);
        slowest = slowest.max(began.elapsed());
    }
    while let Some(ended) = views.try_join_next() {
        assert_eq!(ended.unwrap(), 504);
    }
    println!("{POSTS} posts, the slowest in {slowest:?}; {} views still to end", views.len());
    assert!(!views.is_empty(), "the posts were not answered after the views");
    assert!(views.join_all().await.iter().all(|status| *status == 504));
}
