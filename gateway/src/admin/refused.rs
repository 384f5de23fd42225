//! Requests that were refused and are kept for a while in memory, as the admin side sees them.

use std::net::IpAddr;

use bytes::Bytes;

use crate::model::{Diagnosis, RequestHead, RequestId, RouteName, UnixMillis, VerdictRecord};
use crate::storage::StorageFuture;

/// One refused request in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedSummary {
    pub id: RequestId,
    /// Absent where none matched.
    pub route: Option<RouteName>,
    pub received_at: UnixMillis,
    /// What the sender was told.
    pub status: u16,
    pub diagnosis: Diagnosis,
    pub body_bytes: u64,
}

/// One refused request, whole.
#[derive(Clone, Debug)]
pub struct RefusedRequest {
    pub summary: RefusedSummary,
    pub client: IpAddr,
    /// For the operator; empty where the diagnosis says all.
    pub detail: String,
    /// Already masked; absent where none could be read.
    pub head: Option<RequestHead>,
    /// Absent where it was not kept.
    pub body: Option<Bytes>,
    /// The adapter had parts of it masked.
    pub redacted: bool,
    pub verdicts: Vec<VerdictRecord>,
}

/// Which refused requests to list: newest first, at most `limit`, older than `before`.
#[derive(Clone, Debug, Default)]
pub struct RefusedFilter {
    pub route: Option<RouteName>,
    pub before: Option<RequestId>,
    pub limit: usize,
}

/// What verifying a refused request again came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VerifiedAgain {
    /// No such request is kept.
    Unknown,
    /// It cannot be verified again, and why.
    Impossible(String),
    /// It is stored now.
    Stored { disposition: &'static str, status: u16 },
    /// It is refused still.
    Refused { status: u16, diagnosis: Diagnosis, detail: String },
}

/// The bounded ring of refused requests. All but `verify` are quick and never block for I/O.
pub trait RefusedRequests: Send + Sync + std::fmt::Debug {
    /// Verifies a request again, with today's secrets; what is verified then is stored, once.
    fn verify(&self, id: RequestId) -> StorageFuture<'_, VerifiedAgain>;

    fn list(&self, filter: &RefusedFilter) -> Vec<RefusedSummary>;

    fn get(&self, id: RequestId) -> Option<RefusedRequest>;
}
