//! The real gateway as a process.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use bytes::Bytes;

use crate::artifacts;
use crate::cost;
use crate::home::{ADMIN_TOKEN, Home, VKYC_SECRET};
use crate::http::{Answer, Connection, Request, send};
use crate::provider::{VKYC_PATH, VKYC_SECRET_HEADER};
use crate::wait::{wait_pausing, wait_until};

/// A first start compiles every adapter, in the profile of the tests, beside other tests.
const START_MAX: Duration = Duration::from_secs(60);

/// The gateway's own drain is 30 s at most, and storage closes after it.
const STOP_MAX: Duration = Duration::from_secs(45);

/// Between two looks at the ready file: the bench measures starts by it.
const READY_LOOK: Duration = Duration::from_millis(1);

/// Lines of the log that a failure shows.
const LOG_LINES_SHOWN: usize = 60;

/// What a gateway writes to its ready file once it serves.
#[derive(Debug, serde::Deserialize)]
struct Ready {
    ingest: SocketAddr,
    listeners: Vec<ListensAt>,
    admin: SocketAddr,
}

/// A listener as its gateway tells it.
#[derive(Debug, serde::Deserialize)]
struct ListensAt {
    /// As it is written in the configuration.
    listen: String,
    address: String,
}

/// A running gateway. Dropping it kills it, and shows the end of its log where the test panics.
#[derive(Debug)]
pub struct Gateway {
    child: Child,
    ready: Ready,
    ready_file: PathBuf,
    log: PathBuf,
    /// Kept so that the folder does not vanish under the process.
    _home: Home,
}

/// How a gateway ended that was asked to.
#[derive(Clone, Copy, Debug)]
pub struct Stopped {
    pub status: ExitStatus,
    pub took: Duration,
}

impl Gateway {
    pub(crate) async fn start(
        home: &Home,
        number: u32,
        environment: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        Self::start_by(Command::new(artifacts::gateway()?), home, number, environment).await
    }

    /// Starts it by another command, to which its arguments are added.
    pub(crate) async fn start_by(
        mut command: Command,
        home: &Home,
        number: u32,
        environment: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        command.stdin(Stdio::null());
        Self::launch(command, home, number, environment).await
    }

    /// As [`Self::start_by`], by a command whose standard input is set.
    pub(crate) async fn launch(
        mut command: Command,
        home: &Home,
        number: u32,
        environment: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let ready_file = home.folder().join(format!("ready-{number}.json"));
        let log = home.folder().join("logs").join(format!("{number}.log"));
        let output = File::create(&log).context("making a log file")?;
        let mut child = command
            .arg("run")
            .arg("--config")
            .arg(home.config())
            .arg("--ready-file")
            .arg(&ready_file)
            .envs(environment.iter().copied())
            .current_dir(home.folder())
            .stdout(output.try_clone().context("sharing a log file")?)
            // A file cannot fill up as an unread pipe does.
            .stderr(output)
            .spawn()
            .context("starting the gateway")?;
        match ready(&mut child, &ready_file).await {
            Ok(ready) => Ok(Self { child, ready, ready_file, log, _home: home.clone() }),
            Err(error) => {
                end(&mut child);
                Err(error.context(format!("the gateway's log ends:\n{}", tail(&log))))
            }
        }
    }

    /// Where webhooks are received.
    #[must_use]
    pub const fn ingest(&self) -> SocketAddr {
        self.ready.ingest
    }

    /// Where the admin side listens.
    #[must_use]
    pub const fn admin(&self) -> SocketAddr {
        self.ready.admin
    }

    /// Where webhooks are received now: a reload may have moved it.
    ///
    /// # Errors
    ///
    /// Where the ready file is not there any more.
    pub fn ingest_now(&self) -> anyhow::Result<SocketAddr> {
        Ok(self.ready_now()?.ingest)
    }

    /// Where the listener is that the configuration has at `listen`.
    ///
    /// # Errors
    ///
    /// Where there is none, or the ready file is not there any more.
    pub fn listener(&self, listen: &str) -> anyhow::Result<String> {
        let listeners = self.ready_now()?.listeners;
        let found = listeners.iter().find(|listener| listener.listen == listen);
        let found = found.with_context(|| format!("no `{listen}` in {listeners:?}"))?;
        Ok(found.address.clone())
    }

    fn ready_now(&self) -> anyhow::Result<Ready> {
        let text = fs::read(&self.ready_file).context("reading the ready file")?;
        serde_json::from_slice(&text).context("the ready file")
    }

    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a request to the ingest listener.
    ///
    /// # Errors
    ///
    /// Where no whole answer comes.
    pub async fn send(&self, request: Request) -> anyhow::Result<Answer> {
        send(self.ingest(), request).await
    }

    /// Posts to the route of [`crate::HomeBuilder::vkyc`] with its secret.
    ///
    /// # Errors
    ///
    /// Where no whole answer comes.
    pub async fn post_vkyc(&self, body: impl Into<Bytes>) -> anyhow::Result<Answer> {
        self.send(vkyc_request(body)).await
    }

    /// Reads a path of the admin side, with its token.
    ///
    /// # Errors
    ///
    /// Where no whole answer comes.
    pub async fn admin_get(&self, path: &str) -> anyhow::Result<Answer> {
        let token = format!("Bearer {ADMIN_TOKEN}");
        send(self.admin(), Request::get(path).header("authorization", &token)).await
    }

    /// Posts to a path of the admin side, with its token, and waits at most so long.
    ///
    /// # Errors
    ///
    /// Where no whole answer comes.
    pub async fn admin_post(&self, path: &str, at_most: Duration) -> anyhow::Result<Answer> {
        let token = format!("Bearer {ADMIN_TOKEN}");
        let request = Request::new("POST", path).header("authorization", &token);
        Connection::open(self.admin()).await?.send_within(request, at_most).await
    }

    /// The value of a metric without labels.
    ///
    /// # Errors
    ///
    /// Where there is none of that name.
    pub async fn metric(&self, name: &str) -> anyhow::Result<f64> {
        let text = self.admin_get("/metrics").await?.text();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.and_then(|value| value.parse().ok()).with_context(|| format!("no {name} in {text}"))
    }

    /// Waits until it owes nothing to any destination.
    ///
    /// # Errors
    ///
    /// Where it still does after that time.
    pub async fn until_delivered(&self, at_most: Duration) -> anyhow::Result<()> {
        wait_until("every delivery", at_most, || async {
            let pending = self.metric("sluice_deliveries_pending").await.ok()?;
            (pending == 0.0).then_some(())
        })
        .await
    }

    /// Everything it has logged so far.
    ///
    /// # Errors
    ///
    /// Where the log cannot be read.
    pub fn log(&self) -> anyhow::Result<String> {
        let bytes = fs::read(&self.log).context("reading the gateway's log")?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Waits until it has logged a line that contains `text`, and returns that line.
    ///
    /// # Errors
    ///
    /// Where it does not in time.
    pub async fn wait_for_log(&self, text: &str, at_most: Duration) -> anyhow::Result<String> {
        wait_until(&format!("`{text}` in the log"), at_most, || async move {
            self.log().ok()?.lines().find(|line| line.contains(text)).map(str::to_owned)
        })
        .await
    }

    /// What it has had of the processors so far.
    ///
    /// # Errors
    ///
    /// Where the process has ended.
    pub fn processor_time(&self) -> anyhow::Result<Duration> {
        cost::processor_time(self.pid())
    }

    /// Memory it holds now, in bytes.
    ///
    /// # Errors
    ///
    /// Where the process has ended.
    pub fn memory(&self) -> anyhow::Result<u64> {
        cost::memory(self.pid())
    }

    /// Largest memory it has ever held, in bytes.
    ///
    /// # Errors
    ///
    /// Where the process has ended.
    pub fn peak_memory(&self) -> anyhow::Result<u64> {
        cost::peak_memory(self.pid())
    }

    /// Asks it to stop, and waits.
    ///
    /// # Errors
    ///
    /// Where it does not stop in time.
    pub async fn terminate(mut self) -> anyhow::Result<Stopped> {
        let asked = Instant::now();
        self.signal("TERM")?;
        let child = &mut self.child;
        let status = wait_until("the gateway to stop", STOP_MAX, || {
            let ended = child.try_wait().ok().flatten();
            async move { ended }
        })
        .await?;
        Ok(Stopped { status, took: asked.elapsed() })
    }

    /// Sends it a signal, as `TERM` or `HUP`.
    ///
    /// # Errors
    ///
    /// Where the process has ended.
    pub fn signal(&self, name: &str) -> anyhow::Result<()> {
        // The shell's own `kill`: the library call would need unsafe code.
        let status = Command::new("sh")
            .args(["-c", "kill -s \"$0\" \"$1\"", name, &self.pid().to_string()])
            .stdin(Stdio::null())
            .status()
            .context("running the shell")?;
        if !status.success() {
            bail!("could not send SIG{name} to the gateway");
        }
        Ok(())
    }

    /// How it ended, where it has.
    ///
    /// # Errors
    ///
    /// Where the system does not say.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        self.child.try_wait().context("asking how the gateway ended")
    }

    /// Kills it at once, as `kill -9` does.
    pub fn kill9(mut self) {
        end(&mut self.child);
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        end(&mut self.child);
        if std::thread::panicking() {
            show(&format!("the gateway's log ends:\n{}", tail(&self.log)));
        }
    }
}

/// A request as `HyperVerge`'s VKYC posts it to the route of [`crate::HomeBuilder::vkyc`].
#[must_use]
pub fn vkyc_request(body: impl Into<Bytes>) -> Request {
    Request::post_json(VKYC_PATH, body).header(VKYC_SECRET_HEADER, VKYC_SECRET)
}

async fn ready(child: &mut Child, file: &Path) -> anyhow::Result<Ready> {
    let ready = wait_pausing("the gateway to be ready", START_MAX, READY_LOOK, || {
        let ended = child.try_wait().ok().flatten();
        async move {
            // The file is renamed into place: it is whole, or not there.
            match (fs::read(file), ended) {
                (Ok(text), _) => Some(serde_json::from_slice(&text).context("the ready file")),
                (Err(_), Some(status)) => {
                    Some(Err(anyhow::anyhow!("the gateway ended before it was ready: {status}")))
                }
                (Err(_), None) => None,
            }
        }
    });
    ready.await?
}

/// Kills the process, where it still runs, and waits for its end.
fn end(child: &mut Child) {
    if let Err(error) = child.kill().and_then(|()| child.wait()) {
        show(&format!("could not end the gateway: {error}"));
    }
}

fn tail(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(LOG_LINES_SHOWN);
    lines.get(from..).unwrap_or_default().join("\n")
}

#[expect(clippy::print_stderr, reason = "a failing test shows what its gateway logged")]
fn show(text: &str) {
    eprintln!("{text}");
}
