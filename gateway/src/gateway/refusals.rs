//! The ring of refused requests as the admin side wants to see it.

use std::sync::Arc;

use crate::admin::{RefusedFilter, RefusedRequest, RefusedRequests, RefusedSummary, VerifiedAgain};
use crate::ingest::{self, Again, RefusedRing, Reverifier};
use crate::model::RequestId;
use crate::storage::StorageFuture;

/// Ingest writes the ring, the admin side reads it, and neither knows the other.
#[derive(Debug)]
pub(super) struct Refusals {
    pub(super) ring: Arc<RefusedRing>,
    pub(super) reverifier: Reverifier,
}

impl RefusedRequests for Refusals {
    fn verify(&self, id: RequestId) -> StorageFuture<'_, VerifiedAgain> {
        Box::pin(async move {
            Ok(match self.reverifier.verify(id).await? {
                Again::Unknown => VerifiedAgain::Unknown,
                Again::Impossible(why) => VerifiedAgain::Impossible(why),
                Again::Stored { disposition, status } => {
                    VerifiedAgain::Stored { disposition, status }
                }
                Again::Refused { status, diagnosis, detail } => {
                    VerifiedAgain::Refused { status, diagnosis, detail }
                }
            })
        })
    }

    fn list(&self, filter: &RefusedFilter) -> Vec<RefusedSummary> {
        let RefusedFilter { route, before, limit } = filter.clone();
        let filter = ingest::RefusedFilter { route, diagnosis: None, before, limit };
        self.ring.list(&filter).iter().map(|refused| summary(refused)).collect()
    }

    fn get(&self, id: RequestId) -> Option<RefusedRequest> {
        let refused = self.ring.get(id)?;
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
