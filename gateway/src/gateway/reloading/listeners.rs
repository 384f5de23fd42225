//! Where the gateway listens, and how that moves.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use tokio::sync::mpsc;

use super::build::place;
use crate::config::{Config, Listen, ListenerConfig, Location, Problems};
use crate::gateway::addresses::Addresses;
use crate::ingest::{Listener, Listeners, set_access};
use crate::service_manager::Handed;

/// The listeners of both sides.
#[derive(Debug)]
pub(in crate::gateway) struct Sides {
    pub(in crate::gateway) ingest: Listeners,
    pub(in crate::gateway) addresses: Addresses,
    pub(in crate::gateway) admin: mpsc::Sender<TcpListener>,
    pub(in crate::gateway) admin_address: SocketAddr,
}

/// What was bound for a generation that does not serve yet. Dropping it closes it.
pub(super) struct Bound {
    ingest: Vec<Listener>,
    admin: Option<TcpListener>,
}

impl Sides {
    /// Binds what `next` listens on and `now` does not.
    pub(super) fn bind(now: &Config, next: &Config, handed: &Handed) -> Result<Bound, Problems> {
        let mut problems = Problems::default();
        let mut refused = |at: &Location, listen: &Listen, error: &io::Error| {
            let overlaps = error.kind() == io::ErrorKind::AddrInUse && listens_on_port(now, listen);
            let help = overlaps.then(|| {
                "this gateway listens on that port itself: move it to another one first".to_owned()
            });
            problems.push(at, format!("cannot listen on `{listen}`: {error}"), help);
        };
        let mut ingest = Vec::new();
        for listener in &next.ingest.listeners {
            if find(now, &listener.listen).is_some() {
                continue;
            }
            match Listener::open(listener, handed) {
                Ok(open) => ingest.extend(open),
                Err(error) => refused(&listener.at, &listener.listen, &error),
            }
        }
        let mut admin = None;
        if next.admin.listen != now.admin.listen {
            match bind_admin(next.admin.listen) {
                Ok(listener) => admin = Some(listener),
                Err(error) => {
                    let at = place(next, "admin.listen");
                    refused(&at, &Listen::Tcp(next.admin.listen), &error);
                }
            }
        }
        if problems.is_empty() { Ok(Bound { ingest, admin }) } else { Err(problems) }
    }

    /// Serves on what was bound, and drains what `next` does not name any more. Says whether
    /// anything moved.
    pub(super) async fn take_up(&mut self, now: &Config, next: &Config, bound: Bound) -> bool {
        let Bound { ingest, admin } = bound;
        let addresses = self.addresses.after(&next.ingest, &Addresses::of(&ingest));
        let mut moved = self.addresses != addresses;
        self.addresses = addresses;
        for listener in &next.ingest.listeners {
            if let Some(before) = find(now, &listener.listen) {
                open_anew(before, listener);
            }
        }
        let kept = next.ingest.listeners.iter().map(|listener| listener.listen.clone());
        // Also where none moved: it takes up the new bounds.
        self.ingest.reshape(kept.collect(), ingest).await;
        if let Some(listener) = admin
            && let Ok(address) = listener.local_addr()
        {
            self.admin_address = address;
            moved = true;
            // An error says that it is stopping.
            self.admin.send(listener).await.ok();
        }
        moved
    }

    /// Tells where it listens, for who waits for that.
    pub(in crate::gateway) fn tell_ready(&self, file: Option<&Path>) -> anyhow::Result<()> {
        file.map_or(Ok(()), |file| self.addresses.write(file, self.admin_address))
    }
}

fn find<'c>(config: &'c Config, listen: &Listen) -> Option<&'c ListenerConfig> {
    config.ingest.listeners.iter().map(|listener| &**listener).find(|each| each.listen == *listen)
}

/// Whether a listener of `config` has the port that another address needs.
fn listens_on_port(config: &Config, listen: &Listen) -> bool {
    let Listen::Tcp(wanted) = listen else { return false };
    let has = |own: &SocketAddr| own.port() == wanted.port();
    has(&config.admin.listen)
        || config.ingest.listeners.iter().any(|own| match &own.listen {
            Listen::Tcp(own) => has(own),
            Listen::Unix(_) | Listen::Systemd(_) => false,
        })
}

/// Opens a Unix socket that stays to others than before.
fn open_anew(before: &ListenerConfig, after: &ListenerConfig) {
    let Listen::Unix(path) = &after.listen else { return };
    if before.access != after.access
        && let Err(error) = set_access(path, after.access)
    {
        let socket = path.display();
        tracing::error!(%socket, %error, "The owner or mode of a socket was not changed.");
    }
}

/// Binds the admin listener; it is served in another runtime than the one that binds it.
pub(in crate::gateway) fn bind_admin(listen: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(listen)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}
