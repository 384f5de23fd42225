//! The set of listeners, and how a reload changes it.

use std::panic::resume_unwind;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::{Drained, Ingest, Listener, Shared, listener};
use crate::config::Listen;
use crate::faults::Fault;

/// Questions that wait while one is answered: reloads come one after the other, and so does who asks
/// whether it is alive.
const ASKS_MAX: usize = 2;

/// Changes where a running ingest listens.
#[derive(Clone, Debug)]
pub struct Listeners(mpsc::Sender<Ask>);

/// What is asked of a running ingest.
#[derive(Debug)]
pub(super) enum Ask {
    Reshape(Reshape),
    Alive(oneshot::Sender<()>),
}

/// What a reload asks of a running ingest.
#[derive(Debug)]
pub(super) struct Reshape {
    kept: Vec<Listen>,
    added: Vec<Listener>,
    done: oneshot::Sender<()>,
}

impl Listeners {
    pub(super) fn new() -> (Self, mpsc::Receiver<Ask>) {
        let (asks, asked) = mpsc::channel(ASKS_MAX);
        (Self(asks), asked)
    }

    /// Takes up the current snapshot: its bounds at once, its routes before the next request. Then
    /// the listeners of `added` accept; those whose address is not in `kept` stop accepting,
    /// finish what was started, at most for `ingest.drain`, and are gone.
    ///
    /// Returns when the new listeners accept; does nothing once ingest is stopping.
    pub async fn reshape(&self, kept: Vec<Listen>, added: Vec<Listener>) {
        let (done, told) = oneshot::channel();
        if self.0.send(Ask::Reshape(Reshape { kept, added, done })).await.is_ok() {
            // An error says that it is stopping.
            told.await.ok();
        }
    }

    /// Returns once ingest has got round to answering, or is stopping.
    pub async fn is_alive(&self) {
        let (done, told) = oneshot::channel();
        if self.0.send(Ask::Alive(done)).await.is_ok() {
            told.await.ok();
        }
    }
}

/// Runs all listeners until `shutdown`, then drains them. Whatever it started has ended when it
/// returns.
pub(super) async fn run(ingest: Ingest, shutdown: CancellationToken) -> Drained {
    let Ingest { first, shared, set: _set, mut asks } = ingest;
    let mut running = Running { shared, tasks: JoinSet::new(), accepting: Vec::new() };
    for listener in first {
        running.start(listener);
    }
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            Some(ended) = running.tasks.join_next() => drop(drained(ended)),
            Some(ask) = asks.recv() => match ask {
                Ask::Reshape(reshape) => running.reshape(reshape),
                // Who asked may have given up waiting.
                Ask::Alive(done) => done.send(()).unwrap_or_default(),
            },
        }
    }
    running.stop().await
}

struct Running {
    shared: Arc<Shared>,
    tasks: JoinSet<Drained>,
    /// Those that were not told to stop.
    accepting: Vec<(Listen, CancellationToken)>,
}

impl Running {
    fn start(&mut self, listener: Listener) {
        let stop = CancellationToken::new();
        self.accepting.push((listener.listen().clone(), stop.clone()));
        self.tasks.spawn(listener::run(listener, Arc::clone(&self.shared), stop));
    }

    fn reshape(&mut self, Reshape { kept, added, done }: Reshape) {
        self.shared.take_up();
        self.accepting.retain(|(listen, stop)| {
            let stays = kept.contains(listen) && !Fault::DrainAtReload.is_on();
            if !stays {
                stop.cancel();
            }
            stays
        });
        for listener in added {
            self.start(listener);
        }
        // Who asked may have given up waiting.
        done.send(()).ok();
    }

    async fn stop(mut self) -> Drained {
        for (_, stop) in &self.accepting {
            stop.cancel();
        }
        let mut connections_left = 0;
        while let Some(ended) = self.tasks.join_next().await {
            connections_left += drained(ended).connections_left;
        }
        Drained { connections_left }
    }
}

/// A listener that panicked ends ingest in the same way.
fn drained(ended: Result<Drained, JoinError>) -> Drained {
    match ended {
        Ok(drained) => drained,
        Err(error) if error.is_panic() => resume_unwind(error.into_panic()),
        Err(_) => Drained { connections_left: 0 },
    }
}
