//! An adapter that could not take up its settings, served all the same.

use std::sync::Arc;

use crate::adapter::{CallEnd, Description, End, LoadError, Receive, ReceiveCall, withheld};
use crate::config::AdapterConfig;
use crate::model::{CallReads, PluginVersion};

/// Ends every call in the trap that its `configure` ended in, so that its routes are answered 503
/// (which providers send again) and the operator is told why.
#[derive(Debug)]
pub(super) struct FailedAdapter {
    version: Arc<PluginVersion>,
    description: Arc<Description>,
    message: String,
}

impl FailedAdapter {
    /// Stands in for `adapter`, and tells the operator so.
    pub(super) fn new(
        adapter: &AdapterConfig,
        version: Arc<PluginVersion>,
        description: &Arc<Description>,
        error: &LoadError,
    ) -> Self {
        let message = super::words::told(error);
        tracing::error!(
            adapter = %adapter.name,
            error = message,
            "An adapter could not take up its settings: its routes answer 503."
        );
        Self { version, description: Arc::clone(description), message }
    }
}

impl Receive for FailedAdapter {
    fn version(&self) -> &Arc<PluginVersion> {
        &self.version
    }

    fn description(&self) -> &Arc<Description> {
        &self.description
    }

    fn receive(&self, call: ReceiveCall) -> CallEnd {
        let redacts = self.description.redacts;
        CallEnd {
            end: End::Trap(self.message.clone()),
            verdicts: Vec::new(),
            reads: CallReads::default(),
            masked: redacts.then(|| withheld(&call.inbound)),
            withheld: redacts,
            writes: Vec::new(),
        }
    }
}
