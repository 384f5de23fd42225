//! Where the gateway listens, and how that moves.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use tokio::sync::mpsc;

use super::build::place;
use crate::config::{Config, Listen, Problems};
use crate::gateway::ready;
use crate::ingest::{Listener, Listeners};

/// The listeners of both sides.
#[derive(Debug)]
pub(in crate::gateway) struct Sides {
    pub(in crate::gateway) ingest: Listeners,
    pub(in crate::gateway) ingest_address: SocketAddr,
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
    pub(super) fn bind(&self, now: &Config, next: &Config) -> Result<Bound, Problems> {
        let mut problems = Problems::default();
        let mut refused = |key: &str, listen: &Listen, error: &io::Error| {
            let own = [&now.ingest.listen, &now.admin.listen];
            let overlaps = own.iter().any(|own| port(own) == port(listen));
            let help = (error.kind() == io::ErrorKind::AddrInUse && overlaps).then(|| {
                "this gateway listens on that port itself: move it to another one first".to_owned()
            });
            problems.push(&place(next, key), format!("cannot listen on `{listen}`: {error}"), help);
        };
        let mut ingest = Vec::new();
        if next.ingest.listen != now.ingest.listen {
            match Listener::bind(&next.ingest.listen) {
                Ok(listener) => ingest.push(listener),
                Err(error) => refused("ingest.listen", &next.ingest.listen, &error),
            }
        }
        let mut admin = None;
        if next.admin.listen != now.admin.listen {
            match bind_admin(&next.admin.listen) {
                Ok(listener) => admin = Some(listener),
                Err(error) => refused("admin.listen", &next.admin.listen, &error),
            }
        }
        if problems.is_empty() { Ok(Bound { ingest, admin }) } else { Err(problems) }
    }

    /// Serves on what was bound, and drains what `config` does not name any more. Says whether
    /// anything moved.
    pub(super) async fn take_up(&mut self, config: &Config, bound: Bound) -> bool {
        let Bound { ingest, admin } = bound;
        let mut moved = false;
        for listener in &ingest {
            self.ingest_address = listener.local_addr();
            moved = true;
        }
        // Also where none moved: it takes up the new bounds.
        self.ingest.reshape(vec![config.ingest.listen.clone()], ingest).await;
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
        match file {
            Some(file) => ready::write(file, self.ingest_address, self.admin_address),
            None => Ok(()),
        }
    }
}

const fn port(listen: &Listen) -> u16 {
    match listen {
        Listen::Tcp(address) => address.port(),
    }
}

/// Binds the admin listener; it is served in another runtime than the one that binds it.
pub(in crate::gateway) fn bind_admin(listen: &Listen) -> io::Result<TcpListener> {
    let Listen::Tcp(address) = listen;
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}
