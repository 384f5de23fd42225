//! Who is told that deliveries may be due: each destination of its own, so that a commit wakes those
//! that it owes something and no others.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::model::DestinationName;

#[derive(Debug, Default)]
pub(super) struct Nudges(Mutex<HashMap<DestinationName, watch::Sender<u64>>>);

impl Nudges {
    pub(super) fn of(&self, destination: &DestinationName) -> watch::Receiver<u64> {
        self.senders().entry(destination.clone()).or_default().subscribe()
    }

    pub(super) fn tell<'a>(&self, destinations: impl IntoIterator<Item = &'a DestinationName>) {
        let senders = self.senders();
        for destination in destinations {
            if let Some(sender) = senders.get(destination) {
                nudge(sender);
            }
        }
    }

    pub(super) fn tell_all(&self) {
        self.senders().values().for_each(nudge);
    }

    fn senders(&self) -> MutexGuard<'_, HashMap<DestinationName, watch::Sender<u64>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn nudge(sender: &watch::Sender<u64>) {
    sender.send_modify(|count| *count = count.wrapping_add(1));
}
