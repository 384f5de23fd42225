//! Accepting connections, and draining them.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::bound::{Bound, Place};
use super::connection::{self, Arrival};
use super::door::Door;
use super::ends::{Ends, LAST_CALL, report};
use super::occupants::Occupants;
use super::phase::Deadlines;
use super::socket::{Peer, Socket};
use super::{Drained, Shared};
use crate::config::{IngestConfig, Listen, ListenerConfig};
use crate::faults::Fault;
use crate::service_manager::Handed;
use crate::telemetry::Happening as _;
use crate::telemetry::ingest::{AcceptFailed, ConnectionsAtLimit, DrainBegan, DrainEnded};

/// First and longest pause after the process or the system ran out of descriptors or memory. The
/// connection stays in the backlog meanwhile; trying at once would only spin.
const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// How often room is asked for while somebody waits: who is told to go is gone sooner, but may have
/// been asked something in that moment, and others have fallen silent.
const ROOM_EVERY: Duration = Duration::from_millis(50);

/// After so long without anybody who waits for a place it is another time that all are taken.
const FULL_ENDED: Duration = Duration::from_secs(10);

/// A bound listener that does not accept yet.
#[derive(Debug)]
pub struct Listener {
    door: Door,
    config: Arc<ListenerConfig>,
    address: Listen,
}

impl Listener {
    /// Binds, or takes what was `handed` over, which may be several sockets. Must be called within a
    /// runtime.
    ///
    /// # Errors
    ///
    /// What the system says: the address is in use, is not ours, needs privileges; or that there is
    /// no socket of that name.
    pub fn open(config: &Arc<ListenerConfig>, handed: &Handed) -> io::Result<Vec<Self>> {
        let listener = |door: Door| {
            let address = door.address()?;
            Ok(Self { door, config: Arc::clone(config), address })
        };
        Door::open(config, handed)?.into_iter().map(listener).collect()
    }

    /// Where it was told to listen.
    #[must_use]
    pub fn listen(&self) -> &Listen {
        &self.config.listen
    }

    /// Where it listens; tells the port where 0 was asked for.
    #[must_use]
    pub const fn address(&self) -> &Listen {
        &self.address
    }

    /// The same, where it is an IP address and a port.
    #[must_use]
    pub const fn local_addr(&self) -> Option<SocketAddr> {
        match self.address {
            Listen::Tcp(address) => Some(address),
            Listen::Unix(_) | Listen::Systemd(_) => None,
        }
    }
}

/// Accepts until `shutdown`, then drains. Whatever it started has ended when it returns.
pub(super) async fn run(
    listener: Listener,
    shared: Arc<Shared>,
    shutdown: CancellationToken,
) -> Drained {
    let mut entrance = Entrance::new(&shared);
    let Listener { door, config, .. } = listener;
    let mut connections = Connections::new(shared, config);
    let mut acceptor = Acceptor { door, pause: PAUSE_MIN, not_before: None };
    // One that has no place yet. All others wait in the kernel.
    let mut arrived = None;
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            Some(ended) = connections.tasks.join_next() => report(ended),
            place = entrance.enter(), if arrived.is_some() => {
                if let (Some(arrived), Some(place)) = (arrived.take(), place) {
                    connections.start(arrived, place);
                }
            }
            accepted = acceptor.accept(), if arrived.is_none() => arrived = accepted,
        }
    }
    connections.stopping.cancel();
    // What the kernel has accepted for us would be reset when the listener closes.
    let last_call = Instant::now() + LAST_CALL;
    loop {
        if arrived.is_none() {
            let Ok(accepted) = timeout_at(last_call, acceptor.accept()).await else { break };
            arrived = accepted;
        }
        let Ok(Some(place)) = timeout_at(last_call, entrance.enter()).await else { break };
        if let Some(arrived) = arrived.take() {
            connections.start(arrived, place);
        }
    }
    drop((acceptor, arrived));
    connections.drain().await
}

/// One listener's way to the places for connections, which all listeners share.
struct Entrance {
    bound: Arc<Bound>,
    occupants: Arc<Occupants>,
    /// When there was no place for the last time.
    full: Option<Instant>,
    /// When room was asked for, for whoever waits now.
    asked: Option<Instant>,
}

impl Entrance {
    fn new(shared: &Shared) -> Self {
        let (bound, occupants) = (Arc::clone(&shared.connections), Arc::clone(&shared.occupants));
        Self { bound, occupants, full: None, asked: None }
    }

    /// Waits for a place for one more connection, and has room made for it. Cancel safe.
    async fn enter(&mut self) -> Option<Place> {
        let mut place = self.bound.try_enter();
        if place.is_none() {
            self.tell();
        }
        while place.is_none() {
            if self.asked.is_none_or(|asked| asked.elapsed() >= ROOM_EVERY) {
                self.occupants.make_room();
                self.asked = Some(Instant::now());
            }
            place = timeout(ROOM_EVERY, self.bound.enter()).await.unwrap_or_default();
        }
        self.asked = None;
        place
    }

    /// Says that all places are taken: once for each time that this begins, however many come then.
    fn tell(&mut self) {
        if self.full.is_none_or(|full| full.elapsed() >= FULL_ENDED) {
            ConnectionsAtLimit { connections_max: self.bound.max() }.emit();
        }
        self.full = Some(Instant::now());
    }
}

/// The open connections and their tasks.
struct Connections {
    shared: Arc<Shared>,
    /// The listener, as the latest snapshot says that has it.
    config: Arc<ListenerConfig>,
    tasks: JoinSet<()>,
    stopping: CancellationToken,
}

impl Connections {
    fn new(shared: Arc<Shared>, config: Arc<ListenerConfig>) -> Self {
        Self { shared, config, tasks: JoinSet::new(), stopping: CancellationToken::new() }
    }

    fn start(&mut self, (socket, peer): (Socket, Peer), place: Place) {
        socket.send_at_once();
        if Fault::WaitAtAccept.is_on() {
            std::thread::sleep(Duration::from_millis(2));
        }
        let shared = Arc::clone(&self.shared);
        let config = shared.ingest_config();
        let IngestConfig { listeners, head_deadline: head, idle_deadline: idle, .. } = config;
        // A peer may be as slow to take an answer as it may be to send a head.
        let deadlines = Deadlines { head, idle, answer: head };
        let is_own = |listener: &&Arc<ListenerConfig>| listener.listen == self.config.listen;
        if let Some(now) = listeners.iter().find(is_own) {
            self.config = Arc::clone(now);
        }
        let arrival = Arrival { socket, peer, listener: Arc::clone(&self.config) };
        let is_proxy = config.trusted_proxies.contains(peer.ip());
        let seat = shared.occupants.enter(peer.ip(), is_proxy);
        // A token of its own: the connections do not contend for one lock at every wake-up.
        let stopping = self.stopping.child_token();
        let ends = Ends { deadlines, stopping, occupant: seat.occupant() };
        self.tasks.spawn(async move {
            connection::serve(arrival, shared, ends).await;
            drop((seat, place));
        });
    }

    /// Waits until every connection has finished what it is at, and cuts off those that do not in time.
    async fn drain(mut self) -> Drained {
        let deadline = self.shared.ingest_config().drain;
        let began = Instant::now();
        DrainBegan { connections: self.tasks.len(), deadline }.emit();
        let all = async {
            while let Some(ended) = self.tasks.join_next().await {
                report(ended);
            }
        };
        let connections_left = match timeout(deadline, all).await {
            Ok(()) => 0,
            Err(_) => self.tasks.len(),
        };
        self.tasks.shutdown().await;
        DrainEnded { connections_left, took: began.elapsed() }.emit();
        Drained { connections_left }
    }
}

/// A listener that pauses when the system has nothing left to accept with.
struct Acceptor {
    door: Door,
    pause: Duration,
    not_before: Option<Instant>,
}

impl Acceptor {
    /// The next connection; `None` where one could not be accepted. Cancel safe.
    async fn accept(&mut self) -> Option<(Socket, Peer)> {
        if let Some(not_before) = self.not_before {
            sleep_until(not_before).await;
            self.not_before = None;
        }
        match self.door.accept().await {
            Ok(accepted) => {
                self.pause = PAUSE_MIN;
                Some(accepted)
            }
            Err(error) => {
                self.failed(&error);
                None
            }
        }
    }

    fn failed(&mut self, error: &io::Error) {
        let pauses = !concerns_one_connection(error) && !Fault::SpinOnAccept.is_on();
        let pause = pauses.then_some(self.pause);
        AcceptFailed { error, pause }.emit();
        if let Some(pause) = pause {
            self.not_before = Some(Instant::now() + pause);
            self.pause = (pause * 2).min(PAUSE_MAX);
        }
    }
}

/// accept(2) passes on the network errors of a connection that ended before it was accepted; all
/// others (`EMFILE`, `ENFILE`, `ENOBUFS`, `ENOMEM`) meet the next one as well.
fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::ECONNABORTED
                | libc::ECONNRESET
                | libc::ECONNREFUSED
                | libc::EHOSTDOWN
                | libc::EHOSTUNREACH
                | libc::EINTR
                | libc::ENETDOWN
                | libc::ENETUNREACH
                | libc::ENONET
                | libc::ENOPROTOOPT
                | libc::EOPNOTSUPP
                | libc::EPERM
                | libc::EPROTO
        )
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn out_of_descriptors_is_not_one_connections_concern() {
        let concerns = |code| concerns_one_connection(&io::Error::from_raw_os_error(code));
        for code in [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM] {
            assert!(!concerns(code), "{code}");
        }
        assert!(concerns(libc::ECONNABORTED));
    }

    #[tokio::test]
    async fn pauses_grow_to_their_bound_and_end_with_a_success() {
        let listen = Listen::Tcp(([127, 0, 0, 1], 0).into());
        let config = Arc::new(ListenerConfig::plain(listen));
        let listener = Listener::open(&config, &Handed::default()).unwrap().remove(0);
        let addr = listener.local_addr().unwrap();
        let mut acceptor = Acceptor { door: listener.door, pause: PAUSE_MIN, not_before: None };
        let full = io::Error::from_raw_os_error(libc::EMFILE);
        for _ in 0..20 {
            acceptor.failed(&full);
        }
        assert_eq!(acceptor.pause, PAUSE_MAX);
        assert!(acceptor.not_before.is_some_and(|until| until > Instant::now()));

        acceptor.not_before = Some(Instant::now());
        let _client = tokio::net::TcpStream::connect(addr).await.unwrap();
        assert!(acceptor.accept().await.is_some());
        assert_eq!((acceptor.pause, acceptor.not_before), (PAUSE_MIN, None));

        acceptor.failed(&io::Error::from_raw_os_error(libc::ECONNABORTED));
        assert_eq!(acceptor.not_before, None);
    }
}
