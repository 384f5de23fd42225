//! The kinds of places that events are brought to.

mod adapter;
mod file;
mod http;

use std::future::Future;
use std::pin::Pin;

pub(super) use adapter::AdapterDestination;
pub(super) use file::FileDestination;
pub use http::{HttpDestination, InvalidDestination};

use super::attempt::AttemptError;
use crate::model::LeasedDelivery;

/// A future that a trait object can return.
pub(super) type Carrying<'a> =
    Pin<Box<dyn Future<Output = Result<Carried, AttemptError>> + Send + 'a>>;

/// How an attempt ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carried {
    /// The destination took the event; that is to be recorded.
    Taken,
    /// It did, and it is recorded already.
    Recorded,
    /// Nobody can say: it is left to the end of its lease.
    Left,
}

/// A place that takes one event an attempt.
///
/// An attempt ends by itself within the destination's timeout: a worker waits for it at shutdown.
/// Dropping it abandons it; whether the destination took the event is then unknown.
pub(super) trait Carry: Send + Sync + std::fmt::Debug {
    fn carry<'a>(&'a self, leased: &'a LeasedDelivery) -> Carrying<'a>;
}
