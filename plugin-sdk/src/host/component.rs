//! The gateway, through the bindings.

use crate::bindings::sluice::adapter::types::{IdempotencyKey, Verdict as WitVerdict};
use crate::bindings::sluice::adapter::{
    call, inbound, log as wit_log, state, verification as wit_verification,
};
use crate::state::{Entry, Refusal};
use crate::verification::{Compared, Found, Mac, Part, Signature, Verdict};
use crate::{Key, glue};

pub(crate) use call::{cause, id, kind, now, route};
pub(crate) use inbound::{
    body, body_sha256, client_address, header, header_names, method, path, query, redact,
};
pub(crate) use wit_log::write as log;

pub(crate) fn seen(key: &Key) -> bool {
    let key: IdempotencyKey = glue::key(key.clone());
    call::seen(&key)
}

fn verdict(verdict: &WitVerdict, compared: Compared) -> Verdict {
    Verdict { found: Found::parse(&verdict.found), version: verdict.version, compared }
}

pub(crate) fn verify_header(role: &str) -> Verdict {
    verdict(&wit_verification::verify_header(role), Compared::Header)
}

pub(crate) fn verify_query(role: &str) -> Verdict {
    verdict(&wit_verification::verify_query(role), Compared::Query)
}

pub(crate) fn verify_equal(role: &str, presented: &str) -> Verdict {
    verdict(&wit_verification::verify_equal(role, presented), Compared::Value)
}

fn parts(message: &[Part<'_>]) -> Vec<wit_verification::Part> {
    let part = |part: &Part<'_>| match part {
        Part::Body => {
            let (kind, bytes) = ("body".to_owned(), Vec::new());
            wit_verification::Part { kind, bytes, extra: Vec::new() }
        }
        Part::Bytes(bytes) => {
            let (kind, bytes) = ("bytes".to_owned(), bytes.to_vec());
            wit_verification::Part { kind, bytes, extra: Vec::new() }
        }
    };
    message.iter().map(part).collect()
}

pub(crate) fn verify_mac(mac: &Mac<'_>, message: &[Part<'_>]) -> Verdict {
    let found = wit_verification::verify_mac(
        mac.role,
        mac.algorithm.as_str(),
        mac.key.as_str(),
        &parts(message),
        &mac.encoding.told(mac.presented),
        mac.encoding.as_str(),
    );
    verdict(&found, Compared::Signature)
}

pub(crate) fn verify_signature(signature: &Signature<'_>, message: &[Part<'_>]) -> Verdict {
    let found = wit_verification::verify_signature(
        signature.role,
        signature.algorithm.as_str(),
        &parts(message),
        &signature.encoding.told(signature.presented),
        signature.encoding.as_str(),
    );
    verdict(&found, Compared::Signature)
}

fn refusal(refusal: state::Refusal) -> Refusal {
    Refusal { code: refusal.code, detail: refusal.detail }
}

fn entry(entry: state::Entry) -> Entry {
    Entry { key: entry.key, value: entry.value, expires_at: entry.expires_at }
}

pub(crate) fn state_get(key: &[u8]) -> Result<Option<Entry>, Refusal> {
    state::get(key).map(|found| found.map(entry)).map_err(refusal)
}

pub(crate) fn state_put(key: &[u8], value: &[u8], expires_at: Option<u64>) -> Result<(), Refusal> {
    state::put(key, value, expires_at).map_err(refusal)
}

pub(crate) fn state_delete(key: &[u8]) -> Result<(), Refusal> {
    state::delete(key).map_err(refusal)
}

pub(crate) fn state_scan(
    start: &[u8],
    end: Option<&[u8]>,
    limit: u32,
    reverse: bool,
) -> Result<Vec<Entry>, Refusal> {
    state::scan(start, end, limit, reverse)
        .map(|found| found.into_iter().map(entry).collect())
        .map_err(refusal)
}
