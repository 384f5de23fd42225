use std::borrow::Cow;

use plugin_sdk::{Country, Telephone};

use super::{Field, Report};
use crate::settings::{Fields, Names};

const REF_ID: [&str; 8] = [
    "ref_id",
    "external_id",
    "external_ref",
    "click_id",
    "pub_id",
    "subid",
    "tid",
    "transaction_id",
];
const CALL_ID: [&str; 5] = ["call_id", "callid", "reference_id", "our_call_id", "internal_id"];
const CALLER: [&str; 9] = [
    "caller_id",
    "caller",
    "callerid",
    "from",
    "from_number",
    "phone",
    "caller_phone",
    "caller_number",
    "ani",
];
const DURATION: [&str; 7] = [
    "duration",
    "duration_seconds",
    "talk_duration",
    "talk_time",
    "call_duration",
    "length",
    "seconds",
];
const PAYOUT: [&str; 9] = [
    "payout",
    "payout_or_blank",
    "revenue",
    "amount",
    "value",
    "bid",
    "bid_amount",
    "price",
    "earnings",
];
/// What the payout is in, where the report says it beside the amount. Not among the names of the
/// source document: a payout without it is in the currency of the settings.
const CURRENCY: [&str; 3] = ["currency", "currency_code", "payout_currency"];

/// One thing that a report may tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Slot<'a> {
    /// As sent.
    pub(crate) value: Option<Cow<'a, str>>,
    /// Name of the field that held it, as sent.
    pub(crate) field: Option<Cow<'a, str>>,
    /// It is the literal of a JSON number.
    pub(crate) is_number: bool,
    /// A field was there, and all that it held was blank or an unresolved token.
    pub(crate) unresolved: bool,
}

/// All that a report may tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Slots<'a> {
    pub(crate) ref_id: Slot<'a>,
    pub(crate) call_id: Slot<'a>,
    pub(crate) caller: Slot<'a>,
    pub(crate) duration: Slot<'a>,
    pub(crate) payout: Slot<'a>,
    /// Of the payout.
    pub(crate) currency: Slot<'a>,
}

impl<'a> Slots<'a> {
    /// Each slot is filled by the first usable value: of its configured names, then of the known
    /// ones in their order. A configured name belongs to its slot alone.
    pub(crate) fn of(report: &Report<'a>, configured: &Fields) -> Self {
        let taken = |name: &str| {
            let slots = configured.slots();
            slots.iter().any(|(_, names)| names.iter().any(|own| own.eq_ignore_ascii_case(name)))
        };
        let slot = |own: &Names, known: &[&'static str]| {
            let known = known.iter().copied().filter(|name| !taken(name));
            Slot::find(&report.fields, own.iter().chain(known))
        };
        Self {
            ref_id: slot(&configured.ref_id, &REF_ID),
            call_id: slot(&configured.call_id, &CALL_ID),
            caller: slot(&configured.caller, &CALLER),
            duration: slot(&configured.duration, &DURATION),
            payout: slot(&configured.payout, &PAYOUT),
            currency: slot(&Names::default(), &CURRENCY),
        }
    }

    /// Name of each slot that is filled, with its field.
    pub(crate) fn fields_used(&self) -> impl Iterator<Item = (&'static str, &str)> {
        [
            ("ref_id", &self.ref_id),
            ("call_id", &self.call_id),
            ("caller", &self.caller),
            ("duration", &self.duration),
            ("payout", &self.payout),
        ]
        .into_iter()
        .filter_map(|(name, slot)| Some((name, slot.field.as_deref()?)))
    }
}

impl<'a> Slot<'a> {
    fn find<'n>(fields: &[Field<'a>], names: impl Iterator<Item = &'n str>) -> Self {
        let mut unresolved = false;
        for name in names {
            for of_name in fields.iter().filter(|field| field.name.eq_ignore_ascii_case(name)) {
                match &of_name.value {
                    Some(value) if says_something(value) => {
                        let (value, field) = (Some(value.clone()), Some(of_name.name.clone()));
                        let is_number = of_name.is_number;
                        return Self { value, field, is_number, unresolved: false };
                    }
                    _ => unresolved = true,
                }
            }
        }
        Self { unresolved, ..Self::default() }
    }

    /// It as a telephone number; `home` is the country of those that name none.
    pub(crate) fn telephone(&self, home: Option<Country>) -> Option<Telephone<'_>> {
        let text = self.value.as_deref()?;
        if self.is_number {
            Some(Telephone::read_number(text, home))
        } else {
            Telephone::read(text, home)
        }
    }
}

/// Neither blank nor a token that the sender's system left unresolved: `[tag:…]`, `{x}`, `{{x}}`,
/// `${x}`, `%FIELD%`.
fn says_something(value: &str) -> bool {
    let text = value.trim();
    let within = |open: &str, close: char| text.starts_with(open) && text.ends_with(close);
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | ':' | '-');
    let percent = text
        .strip_prefix('%')
        .and_then(|rest| rest.strip_suffix('%'))
        .is_some_and(|name| !name.is_empty() && name.chars().all(is_word));
    !(text.is_empty() || within("[", ']') || within("{", '}') || within("${", '}') || percent)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report<'a>(pairs: &[(&'a str, &'a str)]) -> Report<'a> {
        let field = |&(name, value): &(&'a str, &'a str)| Field {
            name: Cow::Borrowed(name),
            value: Some(Cow::Borrowed(value)),
            is_number: false,
        };
        Report {
            fields: pairs.iter().map(field).collect(),
            original: Cow::Borrowed("{}"),
            warnings: Vec::new(),
        }
    }

    /// The source document's lists, word for word.
    const DOCUMENTED: [(&str, &str); 5] = [
        (
            "ref_id",
            "ref_id, external_id, external_ref, click_id, pub_id, subid, tid, transaction_id",
        ),
        ("call_id", "call_id, callid, reference_id, our_call_id, internal_id"),
        (
            "caller",
            "caller_id, caller, callerid, from, from_number, phone, caller_phone, caller_number, ani",
        ),
        (
            "duration",
            "duration, duration_seconds, talk_duration, talk_time, call_duration, length, seconds",
        ),
        (
            "payout",
            "payout, payout_or_blank, revenue, amount, value, bid, bid_amount, price, earnings",
        ),
    ];

    fn slot<'s, 'a>(slots: &'s Slots<'a>, name: &str) -> &'s Slot<'a> {
        match name {
            "ref_id" => &slots.ref_id,
            "call_id" => &slots.call_id,
            "caller" => &slots.caller,
            "duration" => &slots.duration,
            _ => &slots.payout,
        }
    }

    #[test]
    fn every_documented_name_fills_its_slot_and_no_other_in_its_order_and_any_case() {
        for (name, list) in DOCUMENTED {
            let aliases: Vec<&str> = list.split(", ").collect();
            for (index, alias) in aliases.iter().enumerate() {
                // Against the order of the list, and with all that comes before it blank.
                let shouted = alias.to_ascii_uppercase();
                let later = aliases.iter().skip(index + 1).rev().map(|later| (*later, "later"));
                let before = aliases.iter().take(index).map(|before| (*before, " "));
                let pairs: Vec<_> =
                    later.chain([(shouted.as_str(), "mine")]).chain(before).collect();
                let slots = Slots::of(&report(&pairs), &Fields::default());
                assert_eq!(slot(&slots, name).value.as_deref(), Some("mine"), "{alias}");
                assert_eq!(slots.fields_used().collect::<Vec<_>>(), [(name, shouted.as_str())]);
            }
        }
    }

    #[test]
    fn a_configured_name_wins_and_belongs_to_its_slot_alone() {
        let configured: Fields =
            serde_json::from_str(r#"{"ref_id": "Reference_ID", "caller": ["cid", "ani2"]}"#)
                .unwrap();
        let pairs = [("ref_id", "a"), ("reference_id", "b"), ("caller", "c"), ("ANI2", "d")];
        let slots = Slots::of(&report(&pairs), &configured);
        assert_eq!(slots.ref_id.value.as_deref(), Some("b"));
        assert_eq!(slots.call_id, Slot::default());
        assert_eq!(slots.caller.value.as_deref(), Some("d"));
        // Where it says nothing, the known names do.
        let pairs = [("ref_id", "a"), ("reference_id", "{ref}"), ("caller", "c"), ("cid", "")];
        let slots = Slots::of(&report(&pairs), &configured);
        assert_eq!(slots.ref_id.value.as_deref(), Some("a"));
        assert_eq!(slots.caller.value.as_deref(), Some("c"));
    }

    #[test]
    fn blanks_and_tokens_say_nothing() {
        for text in [
            "",
            " ",
            "\u{a0}",
            "[tag:InboundNumber:Number]",
            "[Call:ConversionPayout]",
            " [payout|0] ",
            "{payout}",
            "{{payout}}",
            "${payout}",
            "%PAYOUT%",
            "%call.payout%",
        ] {
            let report = report(&[("payout", text)]);
            let slots = Slots::of(&report, &Fields::default());
            assert_eq!((slots.payout.value, slots.payout.unresolved), (None, true), "{text}");
        }
        for text in ["0", "[", "a]", "5%", "%", "%%", "100 % of it %", "{"] {
            assert!(says_something(text), "{text}");
        }
    }

    #[test]
    fn of_a_name_that_repeats_the_first_usable_value_counts() {
        let pairs = [("payout", ""), ("Payout", "5"), ("PAYOUT", "6"), ("amount", "7")];
        let slots = Slots::of(&report(&pairs), &Fields::default());
        assert_eq!(slots.payout.value.as_deref(), Some("5"));
        assert_eq!(slots.payout.field.as_deref(), Some("Payout"));
    }
}
