//! What an adapter asks to have masked, as the gateway does it.

use std::ops::Range;

use super::Request;

const TEXT: &str = "***";
const NUMBER: &str = "null";

/// Spans that any part may be asked to have masked; more only where it has as many bytes.
const SPANS_MIN: usize = 1_024;

/// Everything that one run asked to have masked.
#[derive(Debug, Default)]
pub(super) struct Redactions {
    body: Vec<Asked>,
    query: Vec<Asked>,
}

type Asked = (Range<usize>, &'static str);

impl Redactions {
    pub(super) const fn is_empty(&self) -> bool {
        self.body.is_empty() && self.query.is_empty()
    }

    /// `text`: the part as the asking run reads it.
    pub(super) fn ask(
        &mut self,
        text: &[u8],
        part: &str,
        mask: &str,
        spans: &[(u32, u32)],
    ) -> Result<(), String> {
        let asked = match part {
            "body" => &mut self.body,
            "query" => &mut self.query,
            other => return Err(format!("a part is `body` or `query`, not `{other}`")),
        };
        let mask = match mask {
            "text" => TEXT,
            "number" => NUMBER,
            other => return Err(format!("a mask is `text` or `number`, not `{other}`")),
        };
        if asked.len() + spans.len() > text.len().max(SPANS_MIN) {
            return Err(format!("asks to mask more spans of the {part} than it has bytes"));
        }
        for (start, end) in spans {
            let span = usize::try_from(*start).unwrap_or(usize::MAX)
                ..usize::try_from(*end).unwrap_or(usize::MAX);
            match text.get(span.clone()) {
                None => return Err(format!("asks to mask {span:?}, which is outside the {part}")),
                Some(masked) if [b"", TEXT.as_bytes(), NUMBER.as_bytes()].contains(&masked) => {}
                Some(_) => asked.push((span, mask)),
            }
        }
        Ok(())
    }

    /// The request as it may be kept.
    pub(super) fn masked(&self, request: &Request, query: Option<&str>) -> Request {
        let query = query.map(|query| masked(query.as_bytes(), &self.query));
        Request {
            query: query.map(|query| String::from_utf8_lossy(&query).into_owned()),
            body: masked(&request.body, &self.body),
            ..request.clone()
        }
    }
}

fn masked(text: &[u8], asked: &[Asked]) -> Vec<u8> {
    let mut asked = asked.to_vec();
    asked.sort_by_key(|(span, _)| span.start);
    let mut merged: Vec<Asked> = Vec::new();
    for (span, mask) in asked {
        match merged.last_mut() {
            Some((last, of_last)) if span.start <= last.end => {
                last.end = last.end.max(span.end);
                if mask == TEXT {
                    *of_last = TEXT;
                }
            }
            Some(_) | None => merged.push((span, mask)),
        }
    }
    let mut masked = text.to_vec();
    for (span, mask) in merged.into_iter().rev() {
        masked.splice(span, mask.bytes());
    }
    masked
}
