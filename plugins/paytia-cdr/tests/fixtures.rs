//! Every fixture, run natively, and every field of the provider's documentation.

use std::path::Path;

use paytia_cdr::PaytiaCdr;
use plugin_sdk::testing::fixture::{self, Case, Native, Runner as _};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures");

#[test]
fn every_fixture_natively() {
    fixture::assert_native::<PaytiaCdr>(FIXTURES);
}

#[test]
fn every_documented_field_is_carried() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/fields.toml");
    plugin_sdk::testing::fields::assert_carried::<PaytiaCdr>(file);
}

#[test]
fn nothing_is_left_of_the_card_numbers_in_the_fixtures() {
    let mut runner = Native::<PaytiaCdr>::new();
    let cases = Case::load_all(Path::new(FIXTURES)).expect("the fixtures can be read");
    let has_cards = |name: &str| name.contains("card") && !name.contains("no-cards");
    let cases: Vec<_> = cases.iter().filter(|case| has_cards(&case.name)).collect();
    assert!(cases.len() >= 16, "{} fixtures with cards", cases.len());
    for case in cases {
        let observed = runner.run(case).expect("the case runs").to_json().to_string();
        let digits: String = observed.chars().filter(|sign| !" -+".contains(*sign)).collect();
        // The middles of the three numbers, which no other field of the fixtures holds.
        for middle in ["1111111111", "5555555555", "8888888888"] {
            assert!(!digits.contains(middle), "{}: {observed}", case.name);
        }
        assert!(observed.contains("***") || observed.contains("null"), "{}", case.name);
    }
}
