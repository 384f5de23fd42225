use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// No name, one, or several in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected a name, or a list of names")]
pub enum Names {
    One(String),
    Several(Vec<String>),
}

impl Default for Names {
    fn default() -> Self {
        Self::Several(Vec::new())
    }
}

impl Names {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        let names = match self {
            Self::One(name) => std::slice::from_ref(name),
            Self::Several(names) => names,
        };
        names.iter().map(String::as_str)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.iter().all(str::is_empty)
    }

    fn of(names: &[&str]) -> Self {
        Self::Several(names.iter().map(|name| (*name).to_owned()).collect())
    }
}

/// Where the fields of a call are: dotted paths into an object, the first that holds something
/// counts. What has no path is not read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CallPaths {
    /// Our id of the call.
    pub call_id: Names,
    /// The reference that was given to the buyer.
    pub ref_id: Names,
    /// Who called.
    pub caller: Names,
    /// The number that was dialled.
    pub number: Names,
    /// When the call began.
    pub started_at: Names,
    /// In seconds, or as `mm:ss` or `hh:mm:ss`.
    pub duration: Names,
    pub campaign: Names,
    pub publisher: Names,
    /// To whom the call was sold.
    pub buyer: Names,
    /// What the call is worth until a payout is reported.
    pub value: Names,
}

impl CallPaths {
    /// The names of `CallScaler`'s post-call webhook, and plain ones for what it does not carry.
    pub(crate) fn of_route() -> Self {
        Self {
            call_id: Names::of(&["call_id"]),
            ref_id: Names::of(&["ref_id"]),
            caller: Names::of(&["caller_number", "caller"]),
            number: Names::of(&["tracking_number", "number"]),
            started_at: Names::of(&["started_at", "timestamp"]),
            duration: Names::of(&["duration_seconds", "duration"]),
            campaign: Names::of(&["campaign"]),
            publisher: Names::of(&["publisher"]),
            buyer: Names::of(&["buyer"]),
            value: Names::of(&["value"]),
        }
    }

    /// The data of `com.paytia.call.ended`. The inbound leg is what a buyer's report is compared
    /// with: ring and announcement belong to it.
    pub(crate) fn of_paytia() -> Self {
        Self {
            call_id: Names::of(&["call_key"]),
            caller: Names::of(&["inbound.from.e164", "inbound.from.raw"]),
            number: Names::of(&["inbound.to.e164", "inbound.to.raw"]),
            started_at: Names::of(&["inbound.started_at"]),
            duration: Names::of(&["durations.inbound_seconds", "durations.talk_seconds"]),
            ..Self::default()
        }
    }
}
