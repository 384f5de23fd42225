use std::borrow::Cow;

use plugin_sdk::{Loose, Reader, Time};
use schemars::JsonSchema;
use serde::Serialize;

use crate::payload::EventDetails;

/// Type of the events that this adapter does not know.
pub(crate) const UNRECOGNISED: &str = "co.hyperverge.vkyc.unrecognised";

/// One of the provider's event types.
#[derive(Debug)]
pub(crate) struct EventKind {
    provider: &'static str,
    pub(crate) name: &'static str,
    pub(crate) summary: &'static str,
}

impl EventKind {
    pub(crate) const ALL: [Self; 6] = [
        Self {
            provider: "VCIP_CUSTOMER_SCHEDULED",
            name: "co.hyperverge.vkyc.customer.scheduled",
            summary: "A customer scheduled a video call",
        },
        Self {
            provider: "VCIP_CUSTOMER_ASSIGNED",
            name: "co.hyperverge.vkyc.customer.assigned",
            summary: "A customer was assigned to an agent",
        },
        Self {
            provider: "VCIP_CUSTOMER_NOTIFIED",
            name: "co.hyperverge.vkyc.customer.notified",
            summary: "The agent notified the customer",
        },
        Self {
            provider: "VCIP_CALL_STARTED",
            name: "co.hyperverge.vkyc.call.started",
            summary: "The call started",
        },
        Self {
            provider: "VCIP_CALL_COMPLETED",
            name: "co.hyperverge.vkyc.call.completed",
            summary: "The call was completed: approved or declined",
        },
        Self {
            provider: "VCIP_CALL_ENDED",
            name: "co.hyperverge.vkyc.call.ended",
            summary: "The call ended incomplete",
        },
    ];

    pub(crate) fn find(event_type: Option<&str>) -> Option<&'static Self> {
        const ALL: &[EventKind] = &EventKind::ALL;
        let event_type = event_type?;
        ALL.iter().find(|kind| kind.provider.eq_ignore_ascii_case(event_type))
    }

    /// The documented event type of which a name that is none is a part, or another spelling. Names
    /// that go beyond them may be of types that are not documented.
    pub(crate) fn meant_by(name: &str) -> Option<&'static str> {
        const ALL: &[EventKind] = &EventKind::ALL;
        if Self::find(Some(name)).is_some() {
            return None;
        }
        let spelt = name.trim().replace(['-', ' ', '.'], "_").to_ascii_uppercase();
        ALL.iter().map(|kind| kind.provider).find(|provider| provider.contains(&spelt))
    }
}

/// How a call came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Approved,
    Declined,
    Incomplete,
    /// Something else: the provider's word is in `status_text`.
    Other,
}

impl Status {
    fn of(text: &str) -> Self {
        match text {
            _ if text.eq_ignore_ascii_case("approved") => Self::Approved,
            _ if text.eq_ignore_ascii_case("declined") => Self::Declined,
            _ if text.eq_ignore_ascii_case("incomplete") => Self::Incomplete,
            _ => Self::Other,
        }
    }

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Approved => "approved",
            Self::Declined => "declined",
            Self::Incomplete => "incomplete",
            Self::Other => "other",
        }
    }
}

/// The data of every event of this adapter. Absent means unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub struct Data<'a> {
    /// `HyperVerge`'s application id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app_id: Option<Cow<'a, str>>,
    /// The VKYC transaction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transaction_id: Option<Cow<'a, str>>,
    /// `HyperVerge`'s id of the event, as `trn:vkyc:<uuid>`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_id: Option<Cow<'a, str>>,
    /// Version of the provider's payload.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_version: Option<Cow<'a, str>>,
    /// The provider's word for what happened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_type: Option<Cow<'a, str>>,
    /// Whether the event type is one of the documented six.
    pub known: bool,
    /// When the event was generated, where that can be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_time: Option<Time>,
    /// Id or e-mail address of the agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<Cow<'a, str>>,
    /// How the call came out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// The provider's word, where `status` is `other`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_text: Option<Cow<'a, str>>,
    /// Why it came out so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Cow<'a, str>>,
    /// The slot that the customer scheduled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slot: Option<Slot<'a>>,
}

/// A scheduled slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Slot<'a> {
    /// As sent; the form is not documented.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<Cow<'a, str>>,
    /// As sent; the form is not documented.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<Cow<'a, str>>,
    /// The instant, where `start` names one without doubt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_at: Option<Time>,
    /// The instant, where `end` names one without doubt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_at: Option<Time>,
}

impl<'a> Data<'a> {
    /// What `eventDetails` tells.
    pub(crate) fn of_details(details: &EventDetails<'a>, read: &mut Reader) -> Self {
        let status_text = read.text("eventDetails.status", details.status);
        let status = status_text.as_deref().map(Status::of);
        Self {
            agent_id: read.text("eventDetails.agentId", details.agent_id),
            status,
            status_text: status_text.filter(|_| status == Some(Status::Other)),
            reason: read.text("eventDetails.reason", details.reason),
            slot: Slot::read(details, read),
            ..Self::default()
        }
    }
}

impl<'a> Slot<'a> {
    fn read(details: &EventDetails<'a>, read: &mut Reader) -> Option<Self> {
        let start = read.text("eventDetails.start_time", details.start_time);
        let end = read.text("eventDetails.end_time", details.end_time);
        if start.is_none() && end.is_none() {
            return None;
        }
        Some(Self {
            start,
            end,
            start_at: instant(details.start_time),
            end_at: instant(details.end_time),
        })
    }
}

/// The instant, where the text names its zone or is Unix time. Of a local time nobody knows the
/// zone, and the text itself is in the data: no reason for a warning.
fn instant(value: Loose<'_>) -> Option<Time> {
    value.time(None).ok().flatten()
}
