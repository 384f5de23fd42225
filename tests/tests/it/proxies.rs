//! Real proxies in front of the gateway, each started with the file that we ship.

mod client;
mod corpus;
mod desync;
mod front;
mod introduced;
mod limits;
mod traffic;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use sluice_tests::wait_until;

/// For a proxy to start, to reload, or to go: far longer than any takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// A program in a process group of its own, which ends with it.
struct Group(Child);

impl Group {
    fn start(command: &mut Command, log: &Path) -> Self {
        use std::os::unix::process::CommandExt as _;
        let output = std::fs::File::create(log).unwrap();
        let child = command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn();
        let program = command.get_program().display().to_string();
        Self(child.unwrap_or_else(|error| {
            panic!("{program} does not start ({error}): `cargo xtask test` installs it")
        }))
    }

    /// Sends the first process of the group a signal.
    fn signal(&self, name: &str) {
        kill(name, &self.0.id().to_string());
    }

    /// The processes that the first one has started.
    fn workers(&self) -> Vec<String> {
        let pid = self.0.id();
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        children.split_whitespace().map(str::to_owned).collect()
    }

    /// Asks it to reload by a signal, and waits until the workers that serve are new ones.
    async fn reload(&self, signal: &str) {
        let before = self.workers();
        self.signal(signal);
        wait_until("new workers", PATIENCE, || async {
            self.workers().iter().any(|worker| !before.contains(worker)).then_some(())
        })
        .await
        .unwrap();
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        kill("KILL", &format!("-{}", self.0.id()));
        self.0.wait().unwrap();
    }
}

fn kill(signal: &str, whom: &str) {
    let status = Command::new("sh")
        .args(["-c", "kill -s \"$0\" -- \"$1\"", signal, whom])
        .stderr(Stdio::null())
        .status();
    drop(status);
}

/// An address of this machine for one proxy. A port that was free a moment ago is not enough for one:
/// proxies share a port with whoever asks for the same (`SO_REUSEPORT`), and each would get a part of
/// the other's connections.
fn own_address() -> Ipv4Addr {
    static TAKEN: AtomicU8 = AtomicU8::new(128);
    let [.., high, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, TAKEN.fetch_add(1, Ordering::Relaxed), high, low)
}

/// A port of that address that was free a moment ago.
fn free_port(address: Ipv4Addr) -> u16 {
    let probe = std::net::TcpListener::bind((address, 0)).unwrap();
    probe.local_addr().unwrap().port()
}

/// Waits until somebody listens there.
async fn listening(address: SocketAddr, log: &Path) {
    let reached = wait_until("a proxy to listen", PATIENCE, || async move {
        tokio::net::TcpStream::connect(address).await.ok()
    });
    if let Err(error) = reached.await {
        panic!("{error}; it says:\n{}", std::fs::read_to_string(log).unwrap_or_default());
    }
}
