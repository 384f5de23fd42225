//! What passes a proxy arrives as it was sent, and nothing acknowledged is lost where a proxy is
//! reloaded, killed, or finds the gateway gone.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use sluice::storage::StoredRequest;
use sluice_tests::http::{Connection, Request, raw};
use sluice_tests::provider::{VKYC_SECRET_HEADER, vkyc_payload};
use sluice_tests::{Gateway, Home, HomeBuilder, VKYC_SECRET, store, vkyc_request, wait_until};
use tokio::task::JoinSet;

use super::front::{Front, Kind, Way};
use super::{PATIENCE, free_port};

const CLIENT: Ipv4Addr = Ipv4Addr::new(127, 7, 7, 7);

/// A path with all that a proxy could be tempted to tidy up.
const RAW_PATH: &str = "/hooks/raw%2Fpath/%7Etilde/x%C3%A4%c3%a4/;v=1,a:b@c!$&'()*+-._~/";
const RAW_QUERY: &str = "a=%2F&b=+%20&c=%C3%A4&c=&&;d?e";

/// Requests in a second, each over a connection of its own: what two cores do beside other tests.
const RATE: u32 = 50;

/// Reloads of each proxy under load.
const RELOADS: u32 = 3;

struct Site {
    home: Home,
    gateway: Gateway,
}

impl Site {
    /// A gateway at fixed addresses, so that it can go and come back.
    async fn start() -> Self {
        let route = format!(
            "[routes.raw]\npath = \"{RAW_PATH}\"\nplugin = \"vkyc\"\n\
             secrets = {{ shared_secret = \"vkyc-secret\" }}\ndeliver_to = []\nbody_max = \"4MiB\"\n"
        );
        let home = HomeBuilder::new()
            .vkyc(&["events"])
            .unwrap()
            .events_file()
            .toml(&route)
            .ingest("trusted_proxies = [\"127.0.0.1\"]\nforwarded = \"x-forwarded-for\"")
            .build()
            .unwrap();
        let text = std::fs::read_to_string(home.config()).unwrap();
        // Both: HAProxy asks the admin side whether the gateway is back.
        let fixed = || format!("127.0.0.1:{}", free_port(Ipv4Addr::LOCALHOST));
        let text = text.replacen("127.0.0.1:0", &fixed(), 1);
        let text = text.replacen("127.0.0.1:0", &fixed(), 1);
        std::fs::write(home.config(), text).unwrap();
        let gateway = home.start_with(&[("SLUICE_LOG", "info")]).await.unwrap();
        Self { home, gateway }
    }
}

/// Whoever posts until told to stop.
#[derive(Default)]
struct Load {
    sent: AtomicUsize,
    stop: AtomicBool,
    /// Connections that were not made at the first attempt.
    again: AtomicUsize,
}

/// How often a provider tries to connect at once, while its proxy is reloaded.
///
/// Caddy (2.6 and later) listens anew at each reload and closes the old socket: the kernel resets
/// connections that wait there to be accepted. Nothing was sent over them yet, so every HTTP client
/// may try again. nginx and `HAProxy` hand their sockets on.
const fn attempts(kind: Kind) -> u32 {
    match kind {
        Kind::Caddy => 2,
        Kind::Nginx | Kind::HaProxy => 1,
    }
}

impl Load {
    /// Posts through the proxy at a steady rate. Returns each id with its status; none: no answer.
    async fn run(&self, way: &Way) -> Vec<(String, Option<u16>)> {
        self.run_connecting(way, 1).await
    }

    /// The same, with so many attempts at each connection. Once a request is sent there is no other
    /// attempt.
    async fn run_connecting(&self, way: &Way, attempts: u32) -> Vec<(String, Option<u16>)> {
        let mut sending = JoinSet::new();
        let mut tick = tokio::time::interval(Duration::from_secs(1) / RATE);
        while !self.stop.load(Ordering::Relaxed) {
            tick.tick().await;
            let id = format!("load-{}", self.sent.fetch_add(1, Ordering::Relaxed));
            let way = way.clone();
            sending.spawn(async move {
                let mut again = 0;
                let connection = loop {
                    match way.connect(CLIENT).await {
                        Err(_) if again + 1 < attempts => again += 1,
                        connection => break connection,
                    }
                };
                let posted = match connection {
                    Ok(connection) => post_over(connection, &id).await,
                    Err(error) => Err(error),
                };
                (id, posted, again)
            });
        }
        self.stop.store(false, Ordering::Relaxed);
        let mut answered = Vec::new();
        for (id, posted, again) in sending.join_all().await {
            self.again.fetch_add(usize::from(again > 0), Ordering::Relaxed);
            if let Err(error) = &posted {
                println!("{id}: {error:#}");
            }
            answered.push((id, posted.ok()));
        }
        answered
    }

    fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Waits until that many more were sent.
    async fn more(&self, count: usize) {
        let goal = self.sent.load(Ordering::Relaxed) + count;
        wait_until("more requests", PATIENCE, || async {
            (self.sent.load(Ordering::Relaxed) >= goal).then_some(())
        })
        .await
        .unwrap();
    }
}

async fn post(way: &Way, id: &str) -> anyhow::Result<u16> {
    post_over(way.connect(CLIENT).await?, id).await
}

async fn post_over(mut connection: Connection, id: &str) -> anyhow::Result<u16> {
    let answer = connection.send(vkyc_request(vkyc_payload(id))).await?;
    if answer.status != 200 {
        // Who said so, the proxy or the gateway?
        println!("{id}: {} {:?} {}", answer.status, answer.header("server"), answer.text());
    }
    Ok(answer.status)
}

/// A large document with bytes that a careless hop would rewrite.
fn large_body(id: &str) -> String {
    let padding =
        "\\u0000 \\/ \u{e4}\u{20ac}\t\r\n ".replace(['\t', '\r', '\n'], " ").repeat(80_000);
    let body =
        vkyc_payload(id).replacen('{', &format!("\r\n\t{{ \"padding\" :\t\"{padding}\",\r\n"), 1);
    // More than a proxy takes by default, and less than the route does.
    assert!(body.len() > 1 << 20 && body.len() < 4 << 20, "{}", body.len());
    body
}

async fn whole_requests(front: &Front) -> String {
    let mut connection = front.connect(CLIENT).await.unwrap();
    let body = large_body("large");
    let request = Request::post_json(&format!("{RAW_PATH}?{RAW_QUERY}"), body.clone())
        .header(VKYC_SECRET_HEADER, VKYC_SECRET)
        .header("x-forwarded-host", "evil.example")
        .header("x-forwarded-proto", "gopher")
        .header("forwarded", "for=203.0.113.66;host=evil.example")
        .header("x-forwarded-for", "203.0.113.66");
    let answer = connection.send(request).await.unwrap();
    assert_eq!(answer.status, 200, "{:?}: {}", front.kind, answer.text());
    // The same connection goes on, and what the gateway refuses is refused in its own words.
    let wrong = vkyc_request(vkyc_payload("wrong")).header("x-marker", "1");
    assert_eq!(connection.send(wrong).await.unwrap().status, 200);
    let stranger = Request::post_json("/hooks/vkyc", "{}").header(VKYC_SECRET_HEADER, "guessed");
    assert_eq!(connection.send(stranger).await.unwrap().status, 401);
    // In clear text nothing is served.
    let plain = b"POST /hooks/vkyc HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n";
    let answer = raw(front.address, plain, Duration::from_secs(5)).await.unwrap();
    let served = String::from_utf8_lossy(&answer).starts_with("HTTP/1.1 2");
    assert!(!served, "{}", String::from_utf8_lossy(&answer));
    body
}

fn check_whole(front: &Front, request: &StoredRequest, body: &str) {
    let (kind, record) = (front.kind, &request.record);
    assert_eq!(record.client, CLIENT, "{kind:?}");
    assert_eq!(record.head.path, RAW_PATH, "{kind:?}");
    assert_eq!(record.head.query.as_deref(), Some(RAW_QUERY), "{kind:?}");
    assert!(record.body == body.as_bytes(), "{kind:?} changed the body");
    let values = |name: &str| -> Vec<&str> {
        let headers = record.head.headers.iter().filter(|(each, _)| each == name);
        headers.map(|(_, value)| value.as_str()).collect()
    };
    let host = format!("localhost:{}", front.address.port());
    assert_eq!(values("host"), [host.as_str()], "{kind:?}");
    assert_eq!(values("x-forwarded-host"), [host.as_str()], "{kind:?}");
    assert_eq!(values("x-forwarded-proto"), ["https"], "{kind:?}");
    assert_eq!(values("forwarded"), [""; 0], "{kind:?}");
}

/// Reloads of the proxy: every request is answered, and sent once.
async fn reloads(front: &Front, load: &Load) -> Vec<(String, Option<u16>)> {
    let (kind, way) = (front.kind, front.way());
    let (reloaded, ()) = tokio::join!(load.run_connecting(&way, attempts(kind)), async {
        for _ in 0..RELOADS {
            load.more(20).await;
            front.reload().await;
        }
        load.more(20).await;
        load.stop();
    });
    let again = load.again.load(Ordering::Relaxed);
    println!("{kind:?}, reload: {again} connections were made at the second attempt");
    // Those that waited at the moment of a reload, and not what is wrong all the time.
    assert!(again * 10 <= reloaded.len(), "{kind:?}: {again} of {}", reloaded.len());
    let failed: Vec<_> = reloaded.iter().filter(|(_, status)| *status != Some(200)).collect();
    assert!(
        failed.is_empty(),
        "{kind:?}: {} of {} failed: {failed:?}",
        failed.len(),
        reloaded.len()
    );
    reloaded
}

async fn passes_everything_and_loses_nothing(kind: Kind) {
    let Site { home, gateway } = Site::start().await;
    let mut front = Front::start(kind, gateway.ingest(), gateway.admin()).await;
    let body = whole_requests(&front).await;

    let load = Load::default();
    let way = front.way();
    let reloaded = reloads(&front, &load).await;

    // The proxy dies and comes back; then the gateway does.
    let (killed, ()) = tokio::join!(load.run(&way), async {
        load.more(15).await;
        front.kill();
        load.more(15).await;
        front.run().await;
        load.more(30).await;
        load.stop();
    });
    let (gone, gateway) = tokio::join!(load.run(&way), async {
        load.more(15).await;
        gateway.kill9();
        // Until a request has failed: HAProxy holds them back for a while, and a quick start would
        // leave none unanswered.
        let away = || async { (post(&way, "gone").await.ok() != Some(200)).then_some(()) };
        wait_until("the proxy to miss the gateway", PATIENCE, away).await.unwrap();
        let gateway = home.start_with(&[("SLUICE_LOG", "info")]).await.unwrap();
        // Its proxy has to see that it is back.
        let served = || async { post(&way, "back").await.ok().filter(|status| *status == 200) };
        wait_until("the proxy to see the gateway", PATIENCE, served).await.unwrap();
        load.more(15).await;
        load.stop();
        gateway
    });
    gateway.terminate().await.unwrap();

    let stored = store::requests(&home).await.unwrap();
    let large = stored.iter().find(|request| request.record.route.as_str() == "raw").unwrap();
    check_whole(&front, large, &body);
    let mut ids = BTreeSet::new();
    for request in &stored {
        let body: serde_json::Value = serde_json::from_slice(&request.record.body).unwrap();
        let id = body["eventId"].as_str().unwrap().to_owned();
        assert_eq!(request.record.client, CLIENT, "{kind:?}: {id}");
        assert!(ids.insert(id.clone()), "{kind:?}: {id} is stored twice");
    }
    for (what, answered) in [("reload", &reloaded), ("kill", &killed), ("gateway", &gone)] {
        let count =
            |wanted: Option<u16>| answered.iter().filter(|(_, status)| *status == wanted).count();
        let acknowledged: Vec<_> = answered.iter().filter(|(_, s)| *s == Some(200)).collect();
        let lost: Vec<_> = acknowledged.iter().filter(|(id, _)| !ids.contains(id)).collect();
        println!(
            "{kind:?}, {what}: {} sent, {} acknowledged, {} without an answer, {} lost",
            answered.len(),
            acknowledged.len(),
            count(None),
            lost.len(),
        );
        assert!(lost.is_empty(), "{kind:?}, {what}: {lost:?}");
        assert!(!acknowledged.is_empty(), "{kind:?}, {what}");
    }
    // The faults took place.
    assert!(killed.iter().any(|(_, status)| status.is_none()), "{kind:?} was never away");
    assert!(gone.iter().any(|(_, status)| *status != Some(200)), "{kind:?}: the gateway neither");
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_passes_everything_and_loses_nothing() {
    passes_everything_and_loses_nothing(Kind::Nginx).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn haproxy_passes_everything_and_loses_nothing() {
    passes_everything_and_loses_nothing(Kind::HaProxy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn caddy_passes_everything_and_loses_nothing() {
    passes_everything_and_loses_nothing(Kind::Caddy).await;
}
