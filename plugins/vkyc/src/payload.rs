use plugin_sdk::{Loose, Object};
use serde::Deserialize;

/// The webhook's body: every parameter of `HyperVerge`'s documentation. None is sure to be there.
#[derive(Debug, Deserialize)]
pub struct Payload<'a> {
    /// The unique application id. An option of theirs drops it.
    #[serde(borrow, rename = "appId")]
    pub app_id: Loose<'a>,
    /// The unique identifier of the VKYC transaction.
    #[serde(borrow, rename = "transactionId")]
    pub transaction_id: Loose<'a>,
    /// Details of the event; null where there are none.
    #[serde(borrow, rename = "eventDetails")]
    pub details: Object<EventDetails<'a>>,
    /// Version of the payload: `1.0.0`.
    #[serde(borrow, rename = "eventVersion")]
    pub event_version: Loose<'a>,
    /// What happened, as `VCIP_CALL_STARTED`.
    #[serde(borrow, rename = "eventType")]
    pub event_type: Loose<'a>,
    /// When the event was generated; malformed in `HyperVerge`'s own samples.
    #[serde(borrow, rename = "eventTime")]
    pub event_time: Loose<'a>,
    /// The unique identifier of the event, as `trn:vkyc:<uuid>`.
    #[serde(borrow, rename = "eventId")]
    pub event_id: Loose<'a>,
}

/// `eventDetails`: the parameters of all event types together, since samples and types are known
/// to disagree.
#[derive(Debug, Default, Deserialize)]
pub struct EventDetails<'a> {
    /// Start of the slot that the customer scheduled.
    #[serde(borrow)]
    pub start_time: Loose<'a>,
    /// End of the slot that the customer scheduled.
    #[serde(borrow)]
    pub end_time: Loose<'a>,
    /// Id or e-mail address of the agent, where `HyperVerge` is configured to send it.
    #[serde(borrow, rename = "agentId")]
    pub agent_id: Loose<'a>,
    /// `APPROVED`, `DECLINED` or `INCOMPLETE`.
    #[serde(borrow)]
    pub status: Loose<'a>,
    /// Why; null where a call was approved without one.
    #[serde(borrow)]
    pub reason: Loose<'a>,
}
