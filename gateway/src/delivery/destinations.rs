//! The kinds of places that events are brought to.

mod file;
mod http;

use std::future::Future;
use std::pin::Pin;

pub(super) use file::FileDestination;
pub use http::{HttpDestination, InvalidDestination};

use super::attempt::AttemptError;
use crate::model::Event;

/// A future that a trait object can return.
pub(super) type Carrying<'a> = Pin<Box<dyn Future<Output = Result<(), AttemptError>> + Send + 'a>>;

/// A place that takes one event an attempt.
///
/// An attempt ends by itself within the destination's timeout: a worker waits for it at shutdown.
/// Dropping it abandons it; whether the destination took the event is then unknown.
pub(super) trait Carry: Send + Sync + std::fmt::Debug {
    fn carry<'a>(&'a self, event: &'a Event) -> Carrying<'a>;
}
