//! Whether an adapter may ask what it asks.

use super::{Role, RouteSecrets};
use crate::model::{Proof, Travels};

/// A question that does not fit the adapter's own description: a mistake in the plugin. A verdict
/// would blame the provider for it, or the operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misasked {
    #[error("`describe` has no secret `{0}`")]
    Unknown(String),
    #[error("the secret `{role}` {travels}, as `describe` says, and is not checked so")]
    Elsewhere { role: String, travels: &'static str },
}

impl RouteSecrets {
    /// The role of that name, where it is one that is judged in this way. One name, one way: a
    /// shared value taken for a key would let a guest choose what it is compared with.
    pub(super) fn asked(&self, role: &str, proof: Proof) -> Result<&Role, Misasked> {
        let Some(bound) = self.roles.get(role) else {
            return Err(Misasked::Unknown(role.to_owned()));
        };
        let fits = match &bound.travels {
            Travels::Header { .. } => proof == Proof::Header,
            Travels::Query { .. } => proof == Proof::Query,
            Travels::Body => proof == Proof::Equal,
            Travels::Key => matches!(proof, Proof::Mac | Proof::PublicKey),
        };
        if fits {
            return Ok(bound);
        }
        let travels = match &bound.travels {
            Travels::Header { .. } => "travels in a header",
            Travels::Query { .. } => "travels in the query",
            Travels::Body => "travels in the body",
            Travels::Key => "is a key and never travels",
        };
        Err(Misasked::Elsewhere { role: role.to_owned(), travels })
    }
}
