//! Where things are in the adapter's state.
//!
//! Whatever a request needs lies under a key, or in a range that is as short with a million calls
//! as with one. All but balances expire, and so go away by themselves.

use plugin_sdk::Rejection;
use plugin_sdk::state::Map;

use crate::call::{ByCaller, Call};
use crate::history::{Entry, Unmatched};

/// Longest id, in bytes: two of them, however they are written, fit into a key.
pub(crate) const ID_BYTES_MAX: usize = 200;

/// By the call's id.
pub(crate) const CALLS: Map<String, Call> = Map::new("c");

/// Ref id and call: the calls that were given one ref id lie side by side. There should be one.
pub(crate) const BY_REF: Map<(String, String), ()> = Map::new("r");

/// Caller, start and call: the calls of one caller within a window lie side by side.
pub(crate) const BY_CALLER: Map<(String, u64, String), ByCaller> = Map::new("n");

/// Start and call: for the operator, who looks at the last ones.
pub(crate) const BY_TIME: Map<(u64, String), ()> = Map::new("t");

/// Call, time and request: the reports that were believed of one call.
pub(crate) const HISTORY: Map<(String, u64, String), Entry> = Map::new("h");

/// What each publisher is owed, in cents. Read and written only where a credit changes: many
/// requests may wait for the same publisher.
pub(crate) const BALANCES: Map<String, i64> = Map::new("p");

/// Time and request: the reports that matched no call.
pub(crate) const UNMATCHED: Map<(u64, String), Unmatched> = Map::new("u");

impl Call {
    /// Writes the call, and the index entries that `before` has not, or has otherwise.
    pub(crate) fn store(&self, before: Option<&Self>) -> Result<(), Rejection> {
        let expires_at = self.expires_at();
        let id = self.id.as_str();
        CALLS.put_until(id, self, expires_at)?;
        let place = |call: &Self| (call.start(), call.expires_at());
        let moved = before.is_none_or(|before| place(before) != place(self));
        let before_at = before.map(Self::start);
        if moved {
            if let Some(start) = before_at {
                BY_TIME.delete((start, id))?;
            }
            BY_TIME.put_until((self.start(), id), &(), expires_at)?;
        }
        let (old, new) = (before.and_then(Self::ref_id), self.ref_id());
        if let Some(old) = old.filter(|_| old != new) {
            BY_REF.delete((old, id))?;
        }
        if let Some(new) = new.filter(|_| old != new || moved) {
            BY_REF.put_until((new, id), &(), expires_at)?;
        }
        let old = before.and_then(Self::by_caller);
        let new = self.by_caller();
        if let Some((number, start, _)) = &old
            && new.as_ref().is_none_or(|new| (&new.0, &new.1) != (number, start))
        {
            BY_CALLER.delete((number, *start, id))?;
        }
        if let Some((number, start, entry)) = new.filter(|new| moved || old.as_ref() != Some(new)) {
            BY_CALLER.put_until((number, start, id), &entry, expires_at)?;
        }
        Ok(())
    }
}

/// Whether a text can be an id here.
pub(crate) fn is_id(text: &str) -> bool {
    (1..=ID_BYTES_MAX).contains(&text.len()) && !text.contains(char::is_control)
}
