//! Makes `src/telephone/table.rs`. `BLESS=1` writes it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use phonenumber::metadata::{DATABASE, Descriptor};
use regex::RegexBuilder;

/// Longer international prefixes choose a carrier; nobody writes a number with one.
const EXIT_DIGITS_MAX: usize = 4;
const TRUNK_DIGITS_MAX: usize = 2;
/// E.164 has no longer numbers.
const NATIONAL_DIGITS_MAX: u16 = 15;

const HEAD: &str = "\
//! Country codes, prefixes and lengths of national numbers: made by `tests/telephone/table.rs` from
//! the metadata of the `phonenumber` crate. Do not edit; `BLESS=1 cargo test -p plugin-sdk --test
//! telephone` writes it.

use super::row::{Plan, Row, plan, row};

";

#[test]
fn the_committed_table_is_what_the_metadata_says() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/src/telephone/table.rs");
    let made = table();
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(file, &made).unwrap();
    }
    let committed = std::fs::read_to_string(file).unwrap();
    assert!(committed == made, "BLESS=1 writes the table anew");
}

fn table() -> String {
    let (mut countries, mut plans) = (BTreeMap::new(), String::new());
    let mut words = Words::default();
    let mut codes = 0;
    for code in 1..1000_u16 {
        let Some(all) = DATABASE.by_code(&code) else { continue };
        let mut lengths = 0;
        // The first is the main country of the code.
        let trunks = words.trunks(all.first().unwrap());
        for meta in &all {
            let (own, local) = (possible(meta, false), possible(meta, true));
            lengths |= own;
            if meta.id() != "001" {
                let (id, exits, trunks) = (meta.id(), words.exits(meta), words.trunks(meta));
                let bare = own & !local;
                let row = format!(
                    "    row(\"{id}\", plan({code}, \"{trunks}\", {own:#06x}), \"{exits}\", {bare:#06x}),\n"
                );
                countries.insert(id.to_owned(), row);
            }
        }
        codes += 1;
        writeln!(plans, "    plan({code}, \"{trunks}\", {lengths:#06x}),").unwrap();
    }
    let (count, rows) = (countries.len(), countries.into_values().collect::<String>());
    format!(
        "{HEAD}/// By code of ISO 3166-1: its plan, international prefixes, and the lengths of numbers that may\n\
         /// stand without a trunk prefix.\n\
         #[rustfmt::skip]\n\
         pub(super) static COUNTRIES: [Row; {count}] = [\n{rows}];\n\n\
         /// By country code: trunk prefixes of its main country, lengths of national numbers.\n\
         #[rustfmt::skip]\n\
         pub(super) static PLANS: [Plan; {codes}] = [\n{plans}];\n"
    )
}

/// Bit `n`: there are national numbers of `n` digits; or local ones.
fn possible(meta: &phonenumber::Metadata, local: bool) -> u16 {
    let all = meta.descriptors();
    let kinds = [
        all.fixed_line(),
        all.mobile(),
        all.toll_free(),
        all.premium_rate(),
        all.shared_cost(),
        all.personal_number(),
        all.voip(),
        all.pager(),
        all.uan(),
        all.voicemail(),
    ];
    let lengths = |kind: &Descriptor| {
        if local { kind.possible_local_length() } else { kind.possible_length() }.to_vec()
    };
    kinds
        .into_iter()
        .flatten()
        .flat_map(lengths)
        .filter(|length| *length <= NATIONAL_DIGITS_MAX)
        .fold(0, |mask, length| mask | 1 << length)
}

/// Every word of digits that a pattern of the metadata means, by pattern: many are the same.
#[derive(Default)]
struct Words(BTreeMap<String, String>);

impl Words {
    fn exits(&mut self, meta: &phonenumber::Metadata) -> String {
        meta.international_prefix()
            .map(|pattern| self.all(pattern.as_str(), EXIT_DIGITS_MAX))
            .unwrap_or_default()
    }

    fn trunks(&mut self, meta: &phonenumber::Metadata) -> String {
        match (meta.national_prefix_for_parsing(), meta.national_prefix()) {
            (Some(pattern), _) => self.all(pattern.as_str(), TRUNK_DIGITS_MAX),
            (None, prefix) => prefix.unwrap_or_default().to_owned(),
        }
    }

    /// The longest first, separated by spaces.
    fn all(&mut self, pattern: &str, digits_max: usize) -> String {
        let make = || {
            // Long patterns are broken into lines.
            let whole = RegexBuilder::new(&format!("^(?:{pattern})$"))
                .ignore_whitespace(true)
                .build()
                .unwrap();
            let digits = (1..=digits_max).flat_map(|digits| {
                (0..10_usize.pow(u32::try_from(digits).unwrap()))
                    .map(move |number| format!("{number:0digits$}"))
            });
            let words: BTreeSet<(usize, String)> = digits
                .filter(|word| whole.is_match(word))
                .map(|word| (digits_max - word.len(), word))
                .collect();
            words.into_iter().map(|(_, word)| word).collect::<Vec<_>>().join(" ")
        };
        self.0.entry(format!("{digits_max} {pattern}")).or_insert_with(make).clone()
    }
}
