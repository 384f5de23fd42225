//! From the SDK's types to those of the bindings and back; moves, no copies.

use crate::bindings::sluice::adapter::types as wit;
use crate::{Answer, DeliveredEvent, Event, Key, Outcome, Rejection, settings::Problem};

pub(crate) fn key(key: Key) -> wit::IdempotencyKey {
    wit::IdempotencyKey {
        value: key.value,
        scope: if key.adapter_wide { "adapter" } else { "route" }.to_owned(),
        window_seconds: key.window_seconds,
        extra: Vec::new(),
    }
}

fn answer(answer: Answer) -> wit::Answer {
    wit::Answer {
        status: answer.status,
        headers: answer.headers,
        body: answer.body,
        extra: Vec::new(),
    }
}

fn event(event: Event) -> wit::Event {
    wit::Event {
        type_: event.kind.into_owned(),
        subject: event.subject,
        time: event.time,
        data: event.data,
        partition_key: event.partition_key,
        idempotency: event.key.map(key),
        extra: Vec::new(),
    }
}

/// Plumbing of [`crate::register_adapter`].
#[must_use]
pub fn outcome(outcome: Outcome) -> wit::Outcome {
    let fact = |fact: crate::Fact| wit::Fact {
        name: fact.name.into_owned(),
        value: fact.value,
        extra: Vec::new(),
    };
    let facts = outcome.all_facts();
    wit::Outcome {
        disposition: if outcome.accepted { "accepted" } else { "ignored" }.to_owned(),
        events: outcome.events.into_iter().map(event).collect(),
        facts: facts.into_iter().map(fact).collect(),
        answer: answer(outcome.answer),
        duplicate_answer: outcome.duplicate_answer.map(answer),
        extra: Vec::new(),
    }
}

/// Plumbing of [`crate::register_adapter`].
#[must_use]
pub fn rejection(rejection: Rejection) -> wit::Rejection {
    wit::Rejection {
        status: rejection.status,
        code: rejection.code.to_owned(),
        detail: rejection.detail,
        extra: Vec::new(),
    }
}

/// Plumbing of [`crate::register_adapter`].
#[must_use]
pub fn problem(problem: Problem) -> wit::Problem {
    wit::Problem {
        route: problem.route,
        path: problem.path,
        message: problem.message,
        extra: Vec::new(),
    }
}

/// Plumbing of [`crate::register_adapter`].
#[must_use]
pub fn delivered(event: wit::DeliveredEvent) -> DeliveredEvent {
    DeliveredEvent {
        id: event.id,
        source: event.source,
        kind: event.type_,
        subject: event.subject,
        time: event.time,
        received_at: event.received_at,
        adapter: event.adapter,
        verified: event.verified,
        data: event.data,
        partition_key: event.partition_key,
    }
}
