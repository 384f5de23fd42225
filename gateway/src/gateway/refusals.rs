//! The ring of refused requests as the admin side wants to see it.

use std::sync::Arc;

use crate::admin::{RefusedFilter, RefusedRequest, RefusedRequests, RefusedSummary};
use crate::ingest::{self, RefusedRing};
use crate::model::RequestId;

/// Ingest writes the ring, the admin side reads it, and neither knows the other.
#[derive(Debug)]
pub(super) struct Refusals(pub(super) Arc<RefusedRing>);

impl RefusedRequests for Refusals {
    fn list(&self, filter: &RefusedFilter) -> Vec<RefusedSummary> {
        let RefusedFilter { route, before, limit } = filter.clone();
        let filter = ingest::RefusedFilter { route, diagnosis: None, before, limit };
        self.0.list(&filter).iter().map(|refused| summary(refused)).collect()
    }

    fn get(&self, id: RequestId) -> Option<RefusedRequest> {
        let refused = self.0.get(id)?;
        Some(RefusedRequest {
            summary: summary(&refused),
            client: refused.client,
            detail: refused.detail.clone(),
            head: refused.head.clone(),
            body: Some(refused.body.clone()).filter(|body| !body.is_empty()),
            redacted: refused.redacted,
            verdicts: refused.verdicts.clone(),
        })
    }
}

fn summary(refused: &ingest::RefusedRequest) -> RefusedSummary {
    RefusedSummary {
        id: refused.id,
        route: refused.route.clone(),
        received_at: refused.received_at,
        status: refused.status,
        diagnosis: refused.diagnosis.clone(),
        body_bytes: u64::try_from(refused.body_bytes).unwrap_or(u64::MAX),
    }
}
