//! The head of a request, as adapters and operators have it.

use http::HeaderMap;
use http::request::Parts;
use smol_str::SmolStr;

use crate::model::RequestHead;

/// Bytes outside UTF-8 become U+FFFD.
pub(super) fn head_of(parts: &Parts) -> RequestHead {
    RequestHead {
        method: parts.method.as_str().into(),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().map(str::to_owned),
        headers: texts(&parts.headers),
    }
}

fn texts(headers: &HeaderMap) -> Vec<(SmolStr, SmolStr)> {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into();
    headers.iter().map(|(name, value)| (name.as_str().into(), text(value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_texts_of_a_usual_head_share_one_allocation_beside_the_path() {
        let request = http::Request::post("/hooks/vkyc")
            .header("host", "hooks.example.com")
            .header("content-type", "application/json")
            .header("x-webhook-secret", "s3cret")
            .header("content-length", "330");
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let allocated = allocation_counter::measure(|| {
            let head = head_of(&parts);
            assert_eq!(head.headers.len(), 4);
        });
        assert_eq!(allocated.count_total, 2);
    }
}
