//! A destination that does as it is told.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::delivery::attempt::AttemptError;
use crate::delivery::destinations::{Carried, Carry, Carrying};
use crate::model::{EventId, LeasedDelivery};

/// What a scripted destination does with one attempt.
#[derive(Debug)]
pub(crate) enum Act {
    Take,
    Fail(AttemptError),
    Panic,
    /// Takes it after this long.
    Slow(Duration),
}

/// A destination that acts out a script, then takes everything.
#[derive(Debug, Default)]
pub(crate) struct Scripted {
    script: Mutex<VecDeque<Act>>,
    /// Every event it was brought, in order, with the time since its making.
    pub(crate) brought: Mutex<Vec<EventId>>,
    under_way: AtomicUsize,
    pub(crate) peak: AtomicUsize,
}

impl Scripted {
    pub(crate) fn new(script: impl IntoIterator<Item = Act>) -> Arc<Self> {
        Arc::new(Self { script: Mutex::new(script.into_iter().collect()), ..Self::default() })
    }
}

impl Carry for Scripted {
    fn carry<'a>(&'a self, leased: &'a LeasedDelivery) -> Carrying<'a> {
        Box::pin(async {
            self.brought.lock().unwrap().push(leased.event.id);
            let act = self.script.lock().unwrap().pop_front().unwrap_or(Act::Take);
            let now = self.under_way.fetch_add(1, Ordering::SeqCst) + 1;
            self.peak.fetch_max(now, Ordering::SeqCst);
            let result = match act {
                Act::Take => Ok(Carried::Taken),
                Act::Fail(error) => Err(error),
                Act::Slow(duration) => {
                    tokio::time::sleep(duration).await;
                    Ok(Carried::Taken)
                }
                Act::Panic => {
                    self.under_way.fetch_sub(1, Ordering::SeqCst);
                    panic!("scripted");
                }
            };
            self.under_way.fetch_sub(1, Ordering::SeqCst);
            result
        })
    }
}
