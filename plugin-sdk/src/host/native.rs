//! The scripted host of [`crate::testing`].

use crate::Key;
use crate::state::{Entry, Refusal};
use crate::testing::host::with;
use crate::verification::{Compared, Mac, Part, Signature, Verdict};

pub(crate) fn now() -> u64 {
    with(|host| host.now)
}

pub(crate) fn id() -> String {
    with(|host| host.id.clone())
}

pub(crate) fn kind() -> String {
    with(|host| host.kind.to_owned())
}

pub(crate) fn cause() -> String {
    "test".to_owned()
}

pub(crate) fn route() -> String {
    with(|host| host.route.clone())
}

pub(crate) fn seen(key: &Key) -> bool {
    with(|host| host.seen(key))
}

pub(crate) fn method() -> String {
    with(|host| host.request().method.clone())
}

pub(crate) fn path() -> String {
    with(|host| host.masked_path())
}

pub(crate) fn query() -> Option<String> {
    with(|host| host.masked_query())
}

pub(crate) fn header(name: &str) -> Vec<String> {
    with(|host| host.masked_header(name))
}

pub(crate) fn header_names() -> Vec<String> {
    with(|host| host.request().header_names())
}

pub(crate) fn body() -> Vec<u8> {
    with(|host| host.request().body.clone())
}

pub(crate) fn body_sha256() -> Vec<u8> {
    with(|host| host.body_sha256())
}

pub(crate) fn redact(part: &str, mask: &str, spans: &[(u32, u32)]) {
    with(|host| host.redact(part, mask, spans));
}

pub(crate) fn client_address() -> String {
    with(|host| host.request().client_address.clone())
}

pub(crate) fn log(level: &str, message: &str) {
    with(|host| host.log.push(format!("{level}: {message}")));
}

pub(crate) fn verify_header(role: &str) -> Verdict {
    with(|host| host.verify_presented(role, Compared::Header))
}

pub(crate) fn verify_query(role: &str) -> Verdict {
    with(|host| host.verify_presented(role, Compared::Query))
}

pub(crate) fn verify_equal(role: &str, presented: &str) -> Verdict {
    with(|host| host.verify_equal(role, presented))
}

pub(crate) fn verify_mac(mac: &Mac<'_>, message: &[Part<'_>]) -> Verdict {
    with(|host| host.verify_mac(mac, message))
}

pub(crate) fn verify_signature(signature: &Signature<'_>, message: &[Part<'_>]) -> Verdict {
    with(|host| host.verify_signature(signature, message))
}

pub(crate) fn state_get(key: &[u8]) -> Result<Option<Entry>, Refusal> {
    with(|host| host.state.get(key))
}

pub(crate) fn state_put(key: &[u8], value: &[u8], expires_at: Option<u64>) -> Result<(), Refusal> {
    with(|host| host.state.put(key, value, expires_at))
}

pub(crate) fn state_delete(key: &[u8]) -> Result<(), Refusal> {
    with(|host| host.state.delete(key))
}

pub(crate) fn state_scan(
    start: &[u8],
    end: Option<&[u8]>,
    limit: u32,
    reverse: bool,
) -> Result<Vec<Entry>, Refusal> {
    with(|host| host.state.scan(start, end, limit, reverse))
}
