//! What operators may ask. Every list comes in pages.

use plugin_sdk::view::{self, Page, Rows};
use plugin_sdk::{Rejection, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::call::Call;
use crate::history::{Entry, Unmatched};
use crate::phone::Phone;
use crate::settings::Settings;
use crate::tables::{BALANCES, BY_CALLER, BY_TIME, CALLS, HISTORY, UNMATCHED};

pub(crate) const CALLS_VIEW: &str = "calls";
pub(crate) const PUBLISHERS_VIEW: &str = "publishers";
pub(crate) const UNMATCHED_VIEW: &str = "unmatched";
pub(crate) const PAYOUTS_VIEW: &str = "payouts";

/// Which calls.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Calls {
    /// Only those of this caller, in E.164, that have a duration.
    pub caller: Option<String>,
    /// This call alone.
    pub call_id: Option<String>,
    /// Rows of the page, from 1 to 200.
    pub limit: Option<u32>,
    /// `next` of the page before; absent: the first page.
    pub after: Option<String>,
}

/// Which call's history.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Payouts {
    pub call_id: String,
    /// Rows of the page, from 1 to 200.
    #[serde(default)]
    pub limit: Option<u32>,
    /// `next` of the page before; absent: the first page.
    #[serde(default)]
    pub after: Option<String>,
}

#[derive(Debug, Serialize)]
struct CallRow {
    call_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ref_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    caller: Option<Phone>,
    #[serde(skip_serializing_if = "Option::is_none")]
    number: Option<Phone>,
    started_at: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_seconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    campaign: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    publisher: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    buyer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_cents: Option<i64>,
    value_from_webhook: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    qualified: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reported_at: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    credited: Option<CreditRow>,
}

#[derive(Debug, Serialize)]
struct CreditRow {
    publisher: String,
    cents: i64,
}

#[derive(Debug, Serialize)]
struct PublisherRow {
    publisher: String,
    pending_balance_cents: i64,
}

/// A report, with its time for people.
#[derive(Debug, Serialize)]
struct Timed<T> {
    received_at: Option<Time>,
    #[serde(flatten)]
    row: T,
}

#[derive(Debug, Serialize)]
struct History {
    call: Option<CallRow>,
    #[serde(flatten)]
    page: Rows<Timed<Entry>>,
}

/// Answers one question.
pub(crate) fn answer(
    settings: &Settings,
    name: &str,
    parameters: &str,
) -> Result<String, Rejection> {
    match name {
        CALLS_VIEW => calls(&view::parameters(parameters)?, settings),
        PUBLISHERS_VIEW => publishers(&view::parameters(parameters)?),
        UNMATCHED_VIEW => unmatched(&view::parameters(parameters)?),
        PAYOUTS_VIEW => payouts(&view::parameters(parameters)?, settings),
        _ => Err(view::unknown()),
    }
}

fn calls(asked: &Calls, settings: &Settings) -> Result<String, Rejection> {
    let row = |id: &str| -> Result<Option<CallRow>, Rejection> {
        Ok(CALLS.get(id)?.map(|call| call_row(&call, settings)))
    };
    if let Some(id) = &asked.call_id {
        return view::answer(&Rows { rows: Vec::from_iter(row(id)?), next: None });
    }
    let limit = view::limit(asked.limit)?;
    let after = asked.after.as_deref().map(place).transpose()?;
    let keys: Vec<(u64, String)> = match (&asked.caller, after) {
        (Some(caller), after) => {
            let mut scan = BY_CALLER.under((caller,)).descending();
            if let Some((start, id)) = after {
                scan = scan.until((caller, start, id));
            }
            scan.first(limit)?.into_iter().map(|((_, start, id), _)| (start, id)).collect()
        }
        (None, Some((start, id))) => {
            let scan = BY_TIME.all().descending().until((start, id));
            scan.first(limit)?.into_iter().map(|(key, ())| key).collect()
        }
        (None, None) => {
            let found = BY_TIME.all().descending().first(limit)?;
            found.into_iter().map(|(key, ())| key).collect()
        }
    };
    let next = view::next(&keys, limit, |(start, id)| format!("{start}/{id}"));
    let mut rows = Vec::with_capacity(keys.len());
    for (_, id) in &keys {
        rows.extend(row(id)?);
    }
    view::answer(&Rows { rows, next })
}

fn publishers(page: &Page) -> Result<String, Rejection> {
    let limit = view::limit(page.limit)?;
    let mut scan = BALANCES.all();
    if let Some(after) = &page.after {
        scan = scan.after(after);
    }
    let found = scan.first(limit)?;
    let next = view::next(&found, limit, |(publisher, _)| publisher.clone());
    let rows = found.into_iter().map(|(publisher, pending_balance_cents)| PublisherRow {
        publisher,
        pending_balance_cents,
    });
    view::answer(&Rows { rows: rows.collect(), next })
}

fn unmatched(page: &Page) -> Result<String, Rejection> {
    let limit = view::limit(page.limit)?;
    let mut scan = UNMATCHED.all().descending();
    if let Some(after) = &page.after {
        scan = scan.until(place(after)?);
    }
    let found = scan.first(limit)?;
    let next = view::next(&found, limit, |((at, request), _)| format!("{at}/{request}"));
    let rows = found
        .into_iter()
        .map(|((at, _), row): (_, Unmatched)| Timed { received_at: time(at), row })
        .collect();
    view::answer(&Rows { rows, next })
}

fn payouts(asked: &Payouts, settings: &Settings) -> Result<String, Rejection> {
    let limit = view::limit(asked.limit)?;
    let mut scan = HISTORY.under((&asked.call_id,));
    if let Some(after) = &asked.after {
        let (at, request) = place(after)?;
        scan = scan.after((&asked.call_id, at, request));
    }
    let found = scan.first(limit)?;
    let next = view::next(&found, limit, |((_, at, request), _)| format!("{at}/{request}"));
    let rows =
        found.into_iter().map(|((_, at, _), row)| Timed { received_at: time(at), row }).collect();
    let call = CALLS.get(&asked.call_id)?.map(|call| call_row(&call, settings));
    view::answer(&History { call, page: Rows { rows, next } })
}

fn call_row(call: &Call, settings: &Settings) -> CallRow {
    let paid = call.paid.as_ref();
    let text = |text: Option<&str>| text.map(str::to_owned);
    CallRow {
        call_id: call.id.clone(),
        ref_id: text(call.ref_id()),
        caller: call.caller().cloned(),
        number: call.number().cloned(),
        started_at: time(call.start()),
        duration_seconds: call.duration(),
        campaign: text(call.campaign(settings)),
        publisher: text(call.publisher(settings)),
        buyer: text(call.buyer(settings)),
        value_cents: call.value_cents(),
        value_from_webhook: paid.is_some(),
        qualified: paid.map(|paid| paid.value_cents > 0),
        reported_at: paid.and_then(|paid| time(paid.at)),
        credited: paid
            .and_then(|paid| paid.credit.as_ref())
            .map(|credit| CreditRow { publisher: credit.publisher.clone(), cents: credit.cents }),
    }
}

/// A time and an id, as `next` has them.
fn place(after: &str) -> Result<(u64, &str), Rejection> {
    after
        .split_once('/')
        .and_then(|(time, id)| Some((time.parse().ok()?, id)))
        .ok_or_else(view::not_a_place)
}

fn time(millis: u64) -> Option<Time> {
    Time::read(&millis.to_string(), None).ok().flatten()
}
