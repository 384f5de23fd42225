//! Reasons for which calls end, as SIP has them.

/// Response codes of SIP (RFC 3261 and the registry of IANA) and their names.
const NAMES: [(u16, &str); 75] = [
    (100, "Trying"),
    (180, "Ringing"),
    (181, "Call Is Being Forwarded"),
    (182, "Queued"),
    (183, "Session Progress"),
    (199, "Early Dialog Terminated"),
    (200, "OK"),
    (202, "Accepted"),
    (204, "No Notification"),
    (300, "Multiple Choices"),
    (301, "Moved Permanently"),
    (302, "Moved Temporarily"),
    (305, "Use Proxy"),
    (380, "Alternative Service"),
    (400, "Bad Request"),
    (401, "Unauthorized"),
    (402, "Payment Required"),
    (403, "Forbidden"),
    (404, "Not Found"),
    (405, "Method Not Allowed"),
    (406, "Not Acceptable"),
    (407, "Proxy Authentication Required"),
    (408, "Request Timeout"),
    (410, "Gone"),
    (412, "Conditional Request Failed"),
    (413, "Request Entity Too Large"),
    (414, "Request-URI Too Long"),
    (415, "Unsupported Media Type"),
    (416, "Unsupported URI Scheme"),
    (417, "Unknown Resource-Priority"),
    (420, "Bad Extension"),
    (421, "Extension Required"),
    (422, "Session Interval Too Small"),
    (423, "Interval Too Brief"),
    (424, "Bad Location Information"),
    (425, "Bad Alert Message"),
    (428, "Use Identity Header"),
    (429, "Provide Referrer Identity"),
    (430, "Flow Failed"),
    (433, "Anonymity Disallowed"),
    (436, "Bad Identity Info"),
    (437, "Unsupported Credential"),
    (438, "Invalid Identity Header"),
    (439, "First Hop Lacks Outbound Support"),
    (440, "Max-Breadth Exceeded"),
    (469, "Bad Info Package"),
    (470, "Consent Needed"),
    (480, "Temporarily Unavailable"),
    (481, "Call/Transaction Does Not Exist"),
    (482, "Loop Detected"),
    (483, "Too Many Hops"),
    (484, "Address Incomplete"),
    (485, "Ambiguous"),
    (486, "Busy Here"),
    (487, "Request Terminated"),
    (488, "Not Acceptable Here"),
    (489, "Bad Event"),
    (491, "Request Pending"),
    (493, "Undecipherable"),
    (494, "Security Agreement Required"),
    (500, "Server Internal Error"),
    (501, "Not Implemented"),
    (502, "Bad Gateway"),
    (503, "Service Unavailable"),
    (504, "Server Time-out"),
    (505, "Version Not Supported"),
    (513, "Message Too Large"),
    (555, "Push Notification Service Not Supported"),
    (580, "Precondition Failure"),
    (600, "Busy Everywhere"),
    (603, "Decline"),
    (604, "Does Not Exist Anywhere"),
    (606, "Not Acceptable"),
    (607, "Unwanted"),
    (608, "Rejected"),
];

/// The response code in a text: `SIP 487`, `SIP/2.0 487 Request Terminated`, `487`,
/// `SIP;cause=487;text="…"`. Causes of other protocols, as `Q.850;cause=16`, have none.
pub(crate) fn code(text: &str) -> Option<u16> {
    let text = text.trim_ascii();
    let rest = match text.get(..3) {
        Some(start) if start.eq_ignore_ascii_case("sip") => text.get(3..).unwrap_or_default(),
        _ if text.starts_with(|first: char| first.is_ascii_digit()) => text,
        _ => return None,
    };
    let rest = rest.strip_prefix("/2.0").unwrap_or(rest);
    let start = rest.find(|letter: char| letter.is_ascii_digit())?;
    let word = |letter: char| letter.is_alphanumeric();
    let (before, digits) = rest.split_at(start);
    let end = digits.find(|letter: char| !word(letter)).unwrap_or(digits.len());
    // A word before the code, but for `cause`, is something else's number.
    let words = before.trim_matches(|letter: char| !word(letter));
    let known = words.is_empty() || words.eq_ignore_ascii_case("cause");
    let code: u16 = digits.get(..end).filter(|digits| digits.len() == 3)?.parse().ok()?;
    (known && (100..700).contains(&code)).then_some(code)
}

/// Its name, where it has one.
pub(crate) fn name(code: u16) -> Option<&'static str> {
    let at = NAMES.binary_search_by_key(&code, |(code, _)| *code).ok()?;
    NAMES.get(at).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_found_in_every_form() {
        for (text, expected) in [
            ("SIP 487", Some(487)),
            ("sip487", Some(487)),
            ("SIP:487", Some(487)),
            ("SIP-487", Some(487)),
            ("487", Some(487)),
            (" 487 Request Terminated ", Some(487)),
            ("SIP/2.0 486 Busy Here", Some(486)),
            ("SIP;cause=200;text=\"Call completed elsewhere\"", Some(200)),
            ("SIP 499", Some(499)),
            ("Q.850;cause=16", None),
            ("SIP", None),
            ("SIP/2.0", None),
            ("SIP 48", None),
            ("SIP 4870", None),
            ("SIP 700", None),
            ("SIP 099", None),
            ("SIP call 487", None),
            ("sipgate 487", None),
            ("NORMAL_CLEARING", None),
            ("16", None),
            ("487ms", None),
            ("", None),
            ("é", None),
        ] {
            assert_eq!(code(text), expected, "{text}");
        }
    }

    #[test]
    fn names_are_those_of_the_standard() {
        assert!(NAMES.is_sorted_by_key(|(code, _)| *code));
        assert_eq!(name(487), Some("Request Terminated"));
        assert_eq!(name(100), Some("Trying"));
        assert_eq!(name(608), Some("Rejected"));
        assert_eq!(name(499), None);
    }
}
