//! The operator's commands, against the real program: adapters' state listed, exported and imported.

mod backup;
mod state;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sluice_tests::http::{Connection, Request};
use sluice_tests::{Gateway, Home, HomeBuilder};
use tokio::task::JoinSet;

const SECRET: &str = "b1a0f4e5c2d94f6f8a3e7d5c9b0a1f2e";

/// Two adapters of one plugin, with a route each.
fn home() -> Home {
    let mut builder = HomeBuilder::new().guest("keeper").unwrap().secret("keeper-secret", SECRET);
    for name in ["first", "second"] {
        builder = builder.toml(&format!(
            "[adapters.{name}]\nplugin = \"keeper\"\n\
             [routes.{name}]\npath = \"/hooks/{name}\"\nadapter = \"{name}\"\ndeadline = \"2m\"\n\
             secrets = {{ shared = \"keeper-secret\" }}\ndeliver_to = [\"events\"]\n"
        ));
    }
    builder.events_file().build().unwrap()
}

/// Has an adapter do what a body says.
fn request(adapter: &str, body: impl Into<bytes::Bytes>) -> Request {
    Request::new("POST", &format!("/hooks/{adapter}")).header("x-webhook-secret", SECRET).body(body)
}

async fn told(gateway: &Gateway, adapter: &str, body: &str) -> String {
    let answer = gateway.send(request(adapter, body.to_owned())).await.unwrap();
    assert_eq!(answer.status, 200, "{body}: {}", answer.text());
    answer.text()
}

/// How a command ended, and what it wrote.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

fn sluice(home: &Home, gateway: &Gateway, arguments: &[&str]) -> Ran {
    let admin = format!("http://{}/", gateway.admin());
    let mut all = arguments.to_vec();
    all.extend(["--admin", &admin, "--token-file", "secrets/admin-token"]);
    let ran = home.sluice(&all).unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { code: ran.status.code(), out: text(ran.stdout), err: text(ran.stderr) }
}

/// Runs a command that must succeed; returns what it wrote.
#[track_caller]
fn done(home: &Home, gateway: &Gateway, arguments: &[&str]) -> String {
    let Ran { code, out, err } = sluice(home, gateway, arguments);
    assert_eq!(code, Some(0), "{arguments:?}: {err}");
    out
}

fn write(home: &Home, name: &str, text: &str) -> String {
    let path = home.folder().join(name);
    std::fs::write(&path, text).unwrap();
    text_of(&path)
}

fn text_of(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// What became of requests that were sent without a pause.
#[derive(Debug, Default)]
struct Flow {
    /// What was answered to each, in its order, by client.
    answers: Vec<Vec<String>>,
    slowest: Duration,
}

impl Flow {
    fn count(&self) -> usize {
        self.answers.iter().map(Vec::len).sum()
    }
}

/// Clients that send without a pause, until they are stopped.
struct Clients {
    stop: Arc<AtomicBool>,
    tasks: JoinSet<(u64, Vec<String>, Duration)>,
}

impl Clients {
    /// `body` makes a client's request of its number and the count of those before.
    fn start(
        gateway: &Gateway,
        clients: u64,
        request: impl Fn(u64, u64) -> Request + Clone + Send + 'static,
    ) -> Self {
        let (stop, mut tasks) = (Arc::new(AtomicBool::new(false)), JoinSet::new());
        for client in 0..clients {
            let (stop, request, address) = (Arc::clone(&stop), request.clone(), gateway.ingest());
            tasks.spawn(async move {
                let mut connection = Connection::open(address).await.unwrap();
                let (mut answers, mut slowest) = (Vec::new(), Duration::ZERO);
                for number in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let began = Instant::now();
                    let answer = connection.send(request(client, number)).await.unwrap();
                    slowest = slowest.max(began.elapsed());
                    assert_eq!(answer.status, 200, "{}", answer.text());
                    answers.push(answer.text());
                }
                (client, answers, slowest)
            });
        }
        Self { stop, tasks }
    }

    async fn stop(self) -> Flow {
        self.stop.store(true, Ordering::Relaxed);
        let mut flow = Flow::default();
        let mut ended = self.tasks.join_all().await;
        ended.sort_unstable_by_key(|(client, ..)| *client);
        for (_, answers, slowest) in ended {
            flow.answers.push(answers);
            flow.slowest = flow.slowest.max(slowest);
        }
        flow
    }
}
