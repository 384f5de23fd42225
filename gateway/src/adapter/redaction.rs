//! What an adapter asks to have masked, and the request without it.
//!
//! Invariant: whatever cannot be masked as asked costs the whole part, never the mask.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use crate::model::{InboundRequest, RequestHead};

/// Stands for a masked text, as for a credential.
const TEXT: &[u8] = b"***";

/// Stands for a masked number, which must stay a value of JSON.
const NUMBER: &[u8] = b"null";

/// Spans that any part may be asked to have masked; more only where it has as many bytes. What is
/// asked again and again must not fill the memory.
const SPANS_MIN: usize = 1_024;

/// Everything that one run asked to have masked.
#[derive(Debug, Default)]
pub(super) struct Redactions {
    body: Asked,
    query: Asked,
}

/// What was asked of one part.
#[derive(Debug, Default)]
struct Asked {
    spans: Vec<(Range<usize>, Mask)>,
    /// Something was asked that cannot be done.
    whole: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mask {
    Text,
    Number,
}

impl Redactions {
    /// Takes note of what is to be masked in `inbound`, which is what the asking run reads.
    ///
    /// # Errors
    ///
    /// A sentence where it cannot be done; everything is masked then.
    pub(super) fn ask(
        &mut self,
        inbound: &InboundRequest,
        part: &str,
        mask: &str,
        spans: &[(u32, u32)],
    ) -> Result<(), &'static str> {
        let asked = self.note(inbound, part, mask, spans);
        if asked.is_err() {
            self.body.whole = true;
            self.query.whole = true;
        }
        asked
    }

    fn note(
        &mut self,
        inbound: &InboundRequest,
        part: &str,
        mask: &str,
        spans: &[(u32, u32)],
    ) -> Result<(), &'static str> {
        let mask = match mask {
            "text" => Mask::Text,
            "number" => Mask::Number,
            _ => return Err("a mask is `text` or `number`"),
        };
        match part {
            "body" => self.body.note(&inbound.body, mask, spans),
            "query" => {
                self.query.note(inbound.head.query.as_deref().unwrap_or("").as_bytes(), mask, spans)
            }
            _ => Err("a part is `body` or `query`"),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.body.is_empty() && self.query.is_empty()
    }

    /// The request as it may be kept.
    pub(super) fn masked(&self, inbound: &InboundRequest) -> Arc<InboundRequest> {
        let RequestHead { method, path, query, headers } = inbound.head.clone();
        let query = query.map(|query| match self.query.masked(query.as_bytes()) {
            Cow::Borrowed(_) => query,
            Cow::Owned(masked) => String::from_utf8_lossy(&masked).into_owned(),
        });
        let body = match self.body.masked(&inbound.body) {
            Cow::Borrowed(_) => inbound.body.clone(),
            Cow::Owned(masked) => masked.into(),
        };
        let head = RequestHead { method, path, query, headers };
        Arc::new(InboundRequest { head, body, redacted: true, ..inbound.clone() })
    }
}

/// A request of which nobody said what must not be kept, without all that may be it.
pub(crate) fn withheld(inbound: &InboundRequest) -> Arc<InboundRequest> {
    let part = |is_there| Asked { spans: Vec::new(), whole: is_there };
    let query = inbound.head.query.as_ref().is_some_and(|query| !query.is_empty());
    Redactions { body: part(!inbound.body.is_empty()), query: part(query) }.masked(inbound)
}

impl Asked {
    fn is_empty(&self) -> bool {
        self.spans.is_empty() && !self.whole
    }

    fn note(&mut self, text: &[u8], mask: Mask, spans: &[(u32, u32)]) -> Result<(), &'static str> {
        if self.spans.len() + spans.len() > text.len().max(SPANS_MIN) {
            return Err("more spans than the part has bytes");
        }
        for (start, end) in spans {
            let span = index(*start)..index(*end);
            match text.get(span.clone()) {
                None => return Err("a span outside the part"),
                Some([] | TEXT | NUMBER) => {}
                Some(_) => self.spans.push((span, mask)),
            }
        }
        Ok(())
    }

    fn masked<'t>(&self, text: &'t [u8]) -> Cow<'t, [u8]> {
        if self.whole {
            return Cow::Owned(TEXT.to_vec());
        }
        if self.spans.is_empty() {
            return Cow::Borrowed(text);
        }
        let mut masked = Vec::with_capacity(text.len());
        let mut kept = 0;
        for (span, mask) in self.merged() {
            masked.extend_from_slice(text.get(kept..span.start).unwrap_or_default());
            masked.extend_from_slice(match mask {
                Mask::Text => TEXT,
                Mask::Number => NUMBER,
            });
            kept = span.end;
        }
        masked.extend_from_slice(text.get(kept..).unwrap_or_default());
        Cow::Owned(masked)
    }

    /// In order and apart; what overlaps or touches is one, and a text if any of it is.
    fn merged(&self) -> Vec<(Range<usize>, Mask)> {
        let mut spans = self.spans.clone();
        spans.sort_by_key(|(span, _)| span.start);
        let mut merged: Vec<(Range<usize>, Mask)> = Vec::with_capacity(spans.len());
        for (span, mask) in spans {
            match merged.last_mut() {
                Some((last, of_last)) if span.start <= last.end => {
                    last.end = last.end.max(span.end);
                    if mask == Mask::Text {
                        *of_last = Mask::Text;
                    }
                }
                Some(_) | None => merged.push((span, mask)),
            }
        }
        merged
    }
}

/// Of a 32-bit machine's last byte and beyond there is no body.
fn index(at: u32) -> usize {
    usize::try_from(at).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use proptest::prelude::*;

    use super::*;
    use crate::model::{RequestId, UnixMillis};

    fn inbound(body: &str, query: Option<&str>) -> InboundRequest {
        let head = RequestHead {
            method: "POST".into(),
            path: "/".to_owned(),
            query: query.map(str::to_owned),
            headers: Vec::new(),
        };
        InboundRequest {
            id: RequestId::from_bytes([7; 16]),
            received_at: UnixMillis(1),
            client: IpAddr::V4(Ipv4Addr::LOCALHOST),
            head,
            body: body.to_owned().into(),
            redacted: false,
        }
    }

    fn masked(body: &str, asked: &[(&str, &[(u32, u32)])]) -> String {
        let inbound = inbound(body, None);
        let mut redactions = Redactions::default();
        for (mask, spans) in asked {
            redactions.ask(&inbound, "body", mask, spans).unwrap();
        }
        String::from_utf8(redactions.masked(&inbound).body.to_vec()).unwrap()
    }

    #[test]
    fn spans_are_masked_in_any_order_and_merge_where_they_meet() {
        assert_eq!(masked("abcdefgh", &[("text", &[(6, 7), (0, 2)])]), "***cdef***h");
        assert_eq!(masked("abcdefgh", &[("text", &[(0, 4)]), ("text", &[(2, 6)])]), "***gh");
        assert_eq!(masked("abcdefgh", &[("text", &[(0, 2), (2, 4)])]), "***efgh");
        assert_eq!(masked("[12,34]", &[("number", &[(1, 3), (4, 6)])]), "[null,null]");
        assert_eq!(masked("12,34", &[("number", &[(0, 2)]), ("text", &[(1, 4)])]), "***4");
        assert_eq!(masked("abc", &[("text", &[(0, 3)])]), "***");
    }

    #[test]
    fn what_reads_as_a_mask_or_is_empty_asks_for_nothing() {
        for (body, spans) in [("a***b", [(1, 4)]), ("[null]", [(1, 5)]), ("abc", [(3, 3)])] {
            let mut redactions = Redactions::default();
            redactions.ask(&inbound(body, None), "body", "text", &spans).unwrap();
            assert!(redactions.is_empty(), "{body}");
        }
    }

    #[test]
    fn a_query_is_masked_apart_from_the_body() {
        let inbound = inbound("body", Some("a=1&b=2"));
        let mut redactions = Redactions::default();
        redactions.ask(&inbound, "query", "text", &[(2, 3)]).unwrap();
        let masked = redactions.masked(&inbound);
        assert_eq!(masked.head.query.as_deref(), Some("a=***&b=2"));
        assert_eq!(&*masked.body, b"body");
        assert!(masked.redacted);
    }

    #[test]
    fn what_cannot_be_done_masks_everything() {
        let many = vec![(0, 1); 2_000];
        for (part, mask, spans) in [
            ("body", "text", vec![(0, 5)]),
            ("body", "text", vec![(3, 1)]),
            ("body", "text", many),
            ("body", "stars", vec![(0, 1)]),
            ("head", "text", vec![(0, 1)]),
            ("query", "text", vec![(0, 9)]),
        ] {
            let inbound = inbound("body", Some("q=1"));
            let mut redactions = Redactions::default();
            assert!(redactions.ask(&inbound, part, mask, &spans).is_err());
            let masked = redactions.masked(&inbound);
            assert_eq!(masked.head.query.as_deref(), Some("***"), "{part} {mask}");
            assert_eq!(&*masked.body, b"***", "{part} {mask}");
        }
    }

    #[test]
    fn of_a_withheld_request_body_and_query_are_masked_where_it_has_them() {
        for (body, query, kept) in [
            ("body", Some("q=1"), ("***", Some("***"))),
            ("body", None, ("***", None)),
            ("", Some(""), ("", Some(""))),
        ] {
            let kept_of = withheld(&inbound(body, query));
            assert_eq!(&*kept_of.body, kept.0.as_bytes());
            assert_eq!(kept_of.head.query.as_deref(), kept.1);
            assert!(kept_of.redacted);
        }
    }

    proptest! {
        #[test]
        fn nothing_of_a_span_is_left_and_everything_else_is(
            body in "[a-z]{0,40}", spans in prop::collection::vec((0_u32..40, 0_u32..40), 0..6),
        ) {
            let length = u32::try_from(body.len()).unwrap();
            let spans: Vec<_> =
                spans.iter().map(|(a, b)| (*a.min(b).min(&length), *a.max(b).min(&length))).collect();
            let covered = |at: usize| spans.iter().any(|(a, b)| (index(*a)..index(*b)).contains(&at));
            let masked = masked(&body, &[("text", &spans)]);
            let kept: String =
                body.char_indices().filter(|(at, _)| !covered(*at)).map(|(_, c)| c).collect();
            prop_assert_eq!(masked.replace("***", ""), kept);
            prop_assert!(masked.len() <= body.len() * 2 + 3);
        }
    }
}
