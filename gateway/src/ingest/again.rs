//! Verifying a refused request again, once a secret was corrected.
//!
//! What the ring keeps of a request is put together once more, with the digests of what it
//! presented, and goes through the same call and commit as when it came: with its own id and time
//! of arrival, and today's secrets. What is found verified then is an ordinary request with
//! ordinary events. It leaves the ring, so it happens once; storage, which takes an id once, stands
//! behind that.
//!
//! It is an operator's wish: neither limits nor the pause of the route are asked.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use http::StatusCode;
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Shared;
use super::admission::Charged;
use super::answer::Refusal;
use super::call::{Call, Ending};
use super::refused::RefusedRequest;
use super::route::{Routed, Served};
use crate::config::RoutePath;
use crate::model::{Diagnosis, InboundRequest, RequestHead, RequestId, VerdictRecord};
use crate::storage::StorageError;
use crate::telemetry::Happening as _;
use crate::telemetry::operators::VerifiedAgain;
use crate::verification::Presented;

/// What verifying a request again came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Again {
    /// No such request is kept.
    Unknown,
    /// It cannot be verified again, and why.
    Impossible(String),
    /// It is stored now, with this disposition; the provider would have been answered so.
    Stored { disposition: &'static str, status: u16 },
    /// It is refused still, and kept still.
    Refused { status: u16, diagnosis: Diagnosis, detail: String },
}

/// Verifies requests of the ring again, one request never twice at once.
#[derive(Clone, Debug)]
pub struct Reverifier {
    shared: Arc<Shared>,
    /// Where calls run: whoever asks has other things to do with their thread.
    runtime: Handle,
    under_way: Arc<Mutex<BTreeSet<RequestId>>>,
}

/// A request that is being verified, until it is dropped.
struct UnderWay<'r>(&'r Mutex<BTreeSet<RequestId>>, RequestId);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.1);
    }
}

impl Reverifier {
    pub(super) fn new(shared: Arc<Shared>, runtime: Handle) -> Self {
        Self { shared, runtime, under_way: Arc::default() }
    }

    /// Verifies a refused request again.
    ///
    /// Dropping it gives up waiting; a commit that storage was given is finished all the same, and
    /// the request is found stored when it is asked for again.
    ///
    /// # Errors
    ///
    /// Where storage cannot be asked whether it has the request.
    pub async fn verify(&self, id: RequestId) -> Result<Again, StorageError> {
        let first = self.under_way.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
        if !first {
            return Ok(Again::Impossible("it is being verified at this moment".to_owned()));
        }
        let under_way = UnderWay(&self.under_way, id);
        if self.shared.storage.request(id).await?.is_some() {
            self.shared.ring.remove(id);
            return Ok(Again::Impossible("it is stored already".to_owned()));
        }
        let Some(refused) = self.shared.ring.get(id) else { return Ok(Again::Unknown) };
        let shared = Arc::clone(&self.shared);
        let mut call = JoinSet::new();
        call.spawn_on(async move { verify(&shared, &refused).await }, &self.runtime);
        let again = match call.join_next().await {
            Some(Ok(again)) => again,
            Some(Err(_)) | None => Again::Impossible("its verification failed".to_owned()),
        };
        if matches!(again, Again::Stored { .. }) {
            self.shared.ring.remove(id);
        }
        drop(under_way);
        Ok(again)
    }
}

async fn verify(shared: &Shared, refused: &RefusedRequest) -> Again {
    let routed = shared.routing.current();
    let parts = match whole(refused, &routed) {
        Ok(parts) => parts,
        Err(why) => return Again::Impossible(why),
    };
    let Whole { served, head, presented } = parts;
    let token = match token(served, presented, refused) {
        Ok(token) => token,
        Err(diagnosis) => {
            let status = StatusCode::NOT_FOUND.as_u16();
            return Again::Refused { status, diagnosis, detail: "the path token".to_owned() };
        }
    };
    let inbound = InboundRequest {
        id: refused.id,
        received_at: refused.received_at,
        client: refused.client,
        head: head.clone(),
        body: refused.body.clone(),
        redacted: false,
    };
    let deadline = Instant::now() + served.route.config.deadline;
    let charged = Charged::not();
    let call = Call { shared, routed: &routed, served, charged: &charged, token, deadline };
    let again = match call.run(inbound, Presented::clone(presented)).await {
        Ending::Committed { answer, disposition, .. } => {
            Again::Stored { disposition: disposition.as_str(), status: answer.status }
        }
        Ending::Refused { refusal: Refusal { status, diagnosis, detail, .. }, .. } => {
            Again::Refused { status: status.as_u16(), diagnosis, detail: detail.into_owned() }
        }
    };
    let came_to = match &again {
        Again::Stored { disposition, .. } => disposition,
        Again::Refused { .. } | Again::Unknown | Again::Impossible(_) => "rejected",
    };
    let route = &served.route.config.name;
    VerifiedAgain { id: refused.id, route, disposition: came_to }.emit();
    again
}

/// A request of which everything is there that verifying it takes.
struct Whole<'r> {
    served: &'r Served,
    head: &'r RequestHead,
    presented: &'r Presented,
}

/// Whether everything is there; or what is not.
fn whole<'r>(refused: &'r RefusedRequest, routed: &'r Routed) -> Result<Whole<'r>, String> {
    let Some(route) = &refused.route else {
        return Err("it came to no route, so nobody knows what it presented".to_owned());
    };
    let Some(served) = routed.table.named(route) else {
        return Err(format!("the route `{route}` is not configured any more"));
    };
    if refused.redacted {
        return Err(
            "the adapter had parts of it masked, and what is signed is not there".to_owned()
        );
    }
    let (Some(head), Some(presented)) = (&refused.head, &refused.presented) else {
        return Err("it had been handed to storage, and was not kept".to_owned());
    };
    if !refused.body_was_read {
        return Err("it was refused before its body was read".to_owned());
    }
    if refused.body.len() < refused.body_bytes {
        let kept = refused.body.len();
        return Err(format!(
            "only {kept} of the {} bytes of its body were kept",
            refused.body_bytes
        ));
    }
    Ok(Whole { served, head, presented })
}

/// Today's verdict on the path token, where the route has one.
fn token(
    served: &Served,
    presented: &Presented,
    refused: &RefusedRequest,
) -> Result<Option<VerdictRecord>, Diagnosis> {
    let RoutePath::Token { .. } = served.route.config.path else { return Ok(None) };
    let verdict = served.route.secrets.verify_path_token(presented, refused.received_at);
    if verdict.found.is_match() { Ok(Some(verdict)) } else { Err(Diagnosis::SECRET_MISMATCH) }
}
