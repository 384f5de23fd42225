//! The service manager, where one started the gateway: the sockets that it hands over, and what it
//! is told (systemd's `sd_listen_fds(3)` and `sd_notify(3)`).
//!
//! Nothing here is done where there is none.

use std::collections::BTreeMap;
use std::io;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::time::Duration;

use listenfd::ListenFd;
use sd_notify::NotifyState;

/// The sockets that were handed over, by name. They stay open for as long as the gateway runs: a
/// reload may come back to one, and the service manager keeps them open all the same.
#[derive(Debug, Default)]
pub struct Handed(BTreeMap<String, Vec<HandedSocket>>);

/// A listening socket.
#[derive(Debug)]
pub enum HandedSocket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// The name of a socket that was given none, as systemd calls it.
const UNNAMED: &str = "unknown";

impl Handed {
    /// Takes what this process was handed. Once, before there are threads: it takes the variables
    /// that say so out of the environment.
    ///
    /// # Errors
    ///
    /// Where something else than a listening stream socket was handed over.
    pub fn take() -> io::Result<Self> {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':');
        let mut fds = ListenFd::from_env();
        let mut handed: BTreeMap<String, Vec<HandedSocket>> = BTreeMap::new();
        for index in 0..fds.len() {
            let name = names.next().filter(|name| !name.is_empty()).unwrap_or(UNNAMED);
            // One that is no TCP socket is left for the other question.
            let tcp = fds.take_tcp_listener(index).ok().flatten().map(HandedSocket::Tcp);
            let socket = match tcp {
                Some(socket) => Some(socket),
                None => fds.take_unix_listener(index)?.map(HandedSocket::Unix),
            };
            handed.entry(name.to_owned()).or_default().extend(socket);
        }
        Ok(Self(handed))
    }

    /// The sockets of that name; never none.
    ///
    /// # Errors
    ///
    /// Where there is none of that name, telling those that there are.
    pub fn named(&self, name: &str) -> io::Result<&[HandedSocket]> {
        let found = self.0.get(name).filter(|sockets| !sockets.is_empty());
        found.map(Vec::as_slice).ok_or_else(|| {
            let names: Vec<_> = self.0.keys().map(|name| format!("`{name}`")).collect();
            let handed = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            let message = format!("the service manager handed over no such socket, but {handed}");
            io::Error::new(io::ErrorKind::NotFound, message)
        })
    }
}

/// Tells the service manager that the gateway serves, in these words.
pub fn tell_ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Tells it that a reload has begun. [`tell_ready`] ends it.
pub fn tell_reloading() {
    // Without the time, systemd does not wait for the end of a reload that it asked for.
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

/// Tells it that the gateway stops.
pub fn tell_stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("Draining")]);
}

/// Tells it that the gateway is alive.
pub fn tell_alive() {
    tell(&[NotifyState::Watchdog]);
}

/// How often it wants to be told that, where it does: it ends who is late.
#[must_use]
pub fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled().filter(|interval| !interval.is_zero())
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "The service manager could not be told.");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_that_was_not_handed_over_is_told_with_those_that_were() {
        let error = Handed::default().named("ingest").unwrap_err();
        assert!(error.to_string().ends_with("no such socket, but none"), "{error}");
        let socket = HandedSocket::Tcp(TcpListener::bind("127.0.0.1:0").unwrap());
        let handed = Handed(BTreeMap::from([("web".to_owned(), vec![socket])]));
        assert_eq!(handed.named("web").unwrap().len(), 1);
        let error = handed.named("ingest").unwrap_err();
        assert!(error.to_string().ends_with("but `web`"), "{error}");
    }
}
