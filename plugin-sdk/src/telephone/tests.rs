use proptest::prelude::*;

use super::*;

fn country(id: &str) -> Option<Country> {
    (!id.is_empty()).then(|| Country::find(id).unwrap())
}

/// Default country (`""`: none), text, number (`""`: none).
#[track_caller]
fn check(cases: &[(&str, &str, &str)]) {
    for (home, text, expected) in cases {
        let read = Telephone::read(*text, country(home)).unwrap();
        let number = read.e164().map(|number| number.to_string()).unwrap_or_default();
        assert_eq!(number, *expected, "{text:?}, default {home:?}: {:?}", read.read);
        assert_eq!(read.raw(), *text);
    }
}

#[test]
fn a_plus_that_became_a_space_is_found_again() {
    check(&[
        ("", " 13055551234", "+13055551234"),
        ("GB", " 13055551234", "+13055551234"),
        ("US", " 44 20 7946 0018", "+442079460018"),
        ("", "\u{200e} 442079460018", "+442079460018"),
        // Ten digits may be a national number after a stray space; sixteen are none.
        ("US", " 3055551234", "+13055551234"),
        ("", " 3055551234", ""),
        ("", " 1234567890123456", ""),
        ("GB", " 02079460018", "+442079460018"),
        ("", "13055551234", ""),
        ("", "\u{a0}13055551234", ""),
    ]);
}

#[test]
fn national_numbers_need_a_default_country() {
    check(&[
        ("US", "3055551234", "+13055551234"),
        ("US", "13055551234", "+13055551234"),
        ("US", "(305) 555-1234", "+13055551234"),
        ("US", "1-305-555-1234", "+13055551234"),
        ("CA", "416.555.0123", "+14165550123"),
        ("GB", "020 7946 0018", "+442079460018"),
        ("GB", "01632 960001", "+441632960001"),
        ("GB", "2079460018", "+442079460018"),
        ("GB", "442079460018", "+442079460018"),
        ("DE", "030 901820", "+4930901820"),
        // With its country code or without a trunk prefix: both are possible.
        ("DE", "4930901820", ""),
        ("DE", "493090182000", "+493090182000"),
        ("RU", "8 (495) 123-45-67", "+74951234567"),
        ("RU", "8005553535", "+78005553535"),
        ("HU", "06 1 123 4567", "+3611234567"),
        ("BY", "80 29 491 19 11", "+375294911911"),
        ("DK", "32 12 34 56", "+4532123456"),
        ("DK", "4532123456", "+4532123456"),
        ("BR", "0 21 11 91234 5678", ""),
        ("BR", "011 91234 5678", "+5511912345678"),
        ("", "3055551234", ""),
        ("", "020 7946 0018", ""),
        // No area code of North America begins so.
        ("US", "0207946001", ""),
        ("US", "1234567890", ""),
        ("GB", "13055551234", ""),
    ]);
}

#[test]
fn international_prefixes_are_a_plus() {
    check(&[
        ("", "0044 20 7946 0018", "+442079460018"),
        ("", "011 44 20 7946 0018", "+442079460018"),
        ("US", "01144 20 7946 0018", "+442079460018"),
        ("US", "0044 20 7946 0018", "+442079460018"),
        ("GB", "00 1 305 555 1234", "+13055551234"),
        ("AU", "0011 44 20 7946 0018", "+442079460018"),
        ("JP", "010 44 20 7946 0018", "+442079460018"),
        ("RU", "8~10 44 20 7946 0018", "+442079460018"),
        ("HK", "001 44 20 7946 0018", "+442079460018"),
        ("HK", "00 1 212 555 1234", "+12125551234"),
        ("", "+0044 20 7946 0018", "+442079460018"),
        ("", "0044 (0)20 7946 0018", "+442079460018"),
        // A number of Leeds, of Turin: not a prefix and a number of France, of nobody.
        ("GB", "0113 320 6847", "+441133206847"),
        ("IT", "011 562 1234", "+390115621234"),
        ("", "01133206847", ""),
        ("", "00 999 123 4567", ""),
        ("", "+0 44 20 7946 0018", ""),
    ]);
}

#[test]
fn the_national_zero_goes_where_it_is_not_part_of_the_number() {
    check(&[
        ("", "+44 (0)20 7946 0018", "+442079460018"),
        ("", "+44 ( 0 ) 20 7946 0018", "+442079460018"),
        ("", "+4402079460018", "+442079460018"),
        ("", "+49 (0)30 901820", "+4930901820"),
        ("", "+49030901820", "+4930901820"),
        ("", "+34 (0)91 123 45 67", "+34911234567"),
        ("", "+39 06 6982", "+39066982"),
        ("", "+39 (0)6 6982 1234", "+390669821234"),
        ("IT", "06 6982 1234", "+390669821234"),
        ("IT", "335 123 4567", "+393351234567"),
        ("IT", "391 123 4567", "+393911234567"),
        ("IT", "39 335 123 4567", "+393351234567"),
        ("", "+378 0549 886377", "+3780549886377"),
        ("SM", "0549 886377", "+3780549886377"),
        ("", "+379 06 698 12345", "+3790669812345"),
        // Ivory Coast: numbers of ten digits, the first of them a 0.
        ("", "+225 (0)7 07 12 34 56", "+2250707123456"),
        ("", "+1 1 305 555 1234", "+13055551234"),
        ("", "+7 8 495 123 45 67", "+74951234567"),
    ]);
}

#[test]
fn extensions_and_addresses_are_unwrapped() {
    for text in [
        "+1 305 555 1234 x123",
        "+1 305 555 1234x123",
        "+1 305 555 1234 ext. 123",
        "+1 305 555 1234 Extension: 123",
        "+1 305 555 1234;ext=123",
        "+1 305 555 1234,,123#",
        "+1 305 555 1234 #123",
        "tel:+1-305-555-1234",
        "TEL:+1-305-555-1234;isub=5",
        "tel:%2B13055551234",
        "sip:+13055551234@10.0.0.1:5060;user=phone",
        "sips:+13055551234@example.com",
        "\"Reception\" <sip:+13055551234@example.com>;tag=1",
        "<tel:+13055551234>",
        "callto:+13055551234",
    ] {
        check(&[("", text, "+13055551234")]);
    }
    check(&[
        ("US", "sip:3055551234@example.com", "+13055551234"),
        ("GB", "tel:7946-0018;phone-context=+4420", ""),
        ("US", "30555xxxxx", ""),
        ("US", "305555123x", ""),
        ("US", "x123", ""),
        ("US", "*67 305 555 1234", ""),
        ("GB", "#31#07700900123", ""),
        ("US", "sip:reception@example.com", ""),
    ]);
}

#[test]
fn signs_that_nobody_sees_and_other_digits_are_read() {
    check(&[
        ("", "+1\u{a0}305\u{202f}555\u{2011}1234", "+13055551234"),
        ("", "\u{202a}+13055551234\u{202c}", "+13055551234"),
        ("", "\u{feff}+1\u{200b}3055551234\u{200e}", "+13055551234"),
        ("", "\u{ff0b}\u{ff11}３０５\u{ff0d}５５５\u{ff0d}１２３４", "+13055551234"),
        ("", "+١٣٠٥٥٥٥١٢٣٤", "+13055551234"),
        ("US", "۳۰۵۵۵۵۱۲۳۴", "+13055551234"),
        ("", "+४४ २० ७९४६ ००१८", "+442079460018"),
        ("", "+44（０）20 7946 0018", "+442079460018"),
    ]);
}

#[test]
fn withheld_callers_are_known_in_every_spelling_and_never_equal() {
    let spellings = [
        "anonymous",
        "ANONYMOUS",
        "Restricted",
        "unavailable",
        "unknown",
        "Private Number",
        "blocked",
        "Caller ID withheld",
        "sip:anonymous@anonymous.invalid",
        "266696687",
        "+266696687",
        " 266696687",
        "7378742833",
        "+7378742833",
        "737-874-2833",
        "86282452253",
        "+86282452253",
        " 86282452253",
        "+2562533",
        "+8656696",
        "+7748483",
        "+94844353",
    ];
    for home in ["", "US", "GB", "DE"] {
        for text in spellings {
            let read = Telephone::read(text, country(home)).unwrap();
            assert!(read.is_withheld(), "{text}, default {home:?}");
            assert!(read.e164().is_none());
            assert!(!read.is_same_as(&read), "{text}");
            let [first, second] = [text; 2].map(|text| Telephone::read(text, country(home)));
            assert!(!first.unwrap().is_same_as(&second.unwrap()), "{text}");
        }
    }
    // A number of Iceland; as a number after `+` there is none.
    check(&[("IS", "7748483", "+3547748483")]);
    for blank in ["", " ", "\u{a0}\u{200b}", "\t\n"] {
        assert!(Telephone::read(blank, country("US")).is_none(), "{blank:?}");
    }
}

#[test]
fn what_is_no_number_is_no_number() {
    check(&[
        ("US", "1-800-FLOWERS", ""),
        ("US", "1800FLOWERS", ""),
        ("US", "911", ""),
        ("US", "+911", ""),
        ("GB", "999", ""),
        ("DE", "116117", ""),
        ("US", "62000", ""),
        ("US", "5551234", ""),
        ("US", "0000000000", ""),
        ("US", "10000000000", ""),
        ("", "+10000000000", ""),
        ("", "+1234567890123456", ""),
        ("", "+123456", ""),
        ("", "+1234567", "+1234567"),
        ("", "+123456789012345", "+123456789012345"),
        ("", "+44 20 7946 0018 / +44 20 7946 0019", ""),
        ("US", "N/A", ""),
        ("US", "-", ""),
        ("US", "null", ""),
        ("US", "[tag:InboundNumber:Number]", ""),
        ("US", "305%20555%201234", ""),
    ]);
    let read = Telephone::read("1-800-FLOWERS", None).unwrap();
    assert!(!read.is_same_as(&read));
    assert!(!read.is_withheld());
}

#[test]
fn json_numbers_are_read_where_they_are_whole() {
    for (literal, expected) in [
        ("13055551234", "+13055551234"),
        ("13055551234.0", "+13055551234"),
        ("1.3055551234e10", "+13055551234"),
        ("1.3055551234E+10", "+13055551234"),
        ("0.13055551234e11", "+13055551234"),
        ("3055551234", "+13055551234"),
        ("13055551234.5", ""),
        ("1.30555512345e10", ""),
        ("130555512340e-1", ""),
        ("-13055551234", ""),
        ("1e400", ""),
        ("266696687", ""),
        ("true", ""),
    ] {
        let read = Telephone::read_number(literal, country("US"));
        let number = read.e164().map(|number| number.to_string()).unwrap_or_default();
        assert_eq!(number, expected, "{literal}");
    }
    assert!(Telephone::read_number("13055551234", None).e164().is_none());
    // The same, made a text by a spreadsheet.
    check(&[
        ("US", "13055551234.0", "+13055551234"),
        ("", "+13055551234.00", "+13055551234"),
        ("US", "1.3055551234E+10", "+13055551234"),
        ("GB", "02079460018.0", "+442079460018"),
        ("", "+44.2079460018", "+442079460018"),
    ]);
}

#[test]
fn numbers_are_compared_whole() {
    let read = |text| Telephone::read(text, country("US")).unwrap();
    assert!(read("(305) 555-1234").is_same_as(&read("+13055551234")));
    // The last ten digits agree.
    assert!(!read("+13055551234").is_same_as(&read("+443055551234")));
    assert!(!read("+13055551234").is_same_as(&read("anonymous")));
    let number = read("+13055551234").e164().unwrap();
    assert!(number.is(E164::parse("+13055551234").unwrap()));
    assert!(!number.is(E164::parse("+13055551235").unwrap()));
    for text in ["13055551234", "+0305555123", "+1 3055551234", "+123456", "+1234567890123456", "+"]
    {
        assert!(E164::parse(text).is_none(), "{text}");
    }
}

#[test]
fn it_is_written_as_the_shape_of_events() {
    let json =
        |text, home| serde_json::to_string(&Telephone::read(text, country(home)).unwrap()).unwrap();
    assert_eq!(json("(305) 555-1234", "US"), r#"{"e164":"+13055551234","raw":"(305) 555-1234"}"#);
    assert_eq!(json("anonymous", "US"), r#"{"raw":"anonymous"}"#);
    let schema = crate::event_schema::output_schema::<Telephone<'_>>();
    assert_eq!(schema.get("required").unwrap(), &serde_json::json!(["raw"]));
}

#[test]
fn countries_are_settings() {
    let read = |text| serde_json::from_str::<Country>(text);
    assert_eq!(read("\"gb\"").unwrap().id(), "GB");
    assert_eq!(serde_json::to_string(&read("\"GB\"").unwrap()).unwrap(), "\"GB\"");
    let error = read("\"UK\"").unwrap_err().to_string();
    assert!(error.starts_with("no country `UK`; a code of two letters, as `GB`"), "{error}");
    assert!(read("44").is_err());
}

#[test]
fn a_reader_warns_of_what_it_cannot_read_and_not_of_what_is_withheld() {
    let mut read = crate::Reader::new();
    for (text, number, warned) in [
        ("\"+13055551234\"", true, false),
        ("13055551234", false, true),
        ("\"anonymous\"", false, false),
        ("\"1-800-FLOWERS\"", false, true),
        ("\" \"", false, false),
        ("\"\"", false, false),
        ("[1]", false, true),
    ] {
        let before = std::mem::take(&mut read).into_warnings().len();
        assert!(before <= 1);
        let value = serde_json::from_str(text).unwrap();
        let telephone = read.telephone("f", value, None);
        assert_eq!(telephone.and_then(|read| read.e164()).is_some(), number, "{text}");
        let warnings = std::mem::take(&mut read).into_warnings();
        assert_eq!(!warnings.is_empty(), warned, "{text}");
    }
}

proptest! {
    #[test]
    fn any_text_is_read_or_not_and_what_is_read_reads_the_same(
        text in "[ +0-9a-zA-Z().,;:@<>#*/\u{a0}\u{200e}\u{660}-\u{669}-]{0,40}", home in 0_usize..4,
    ) {
        let home = country(["", "US", "GB", "IT"].get(home).copied().unwrap_or_default());
        if let Some(number) = Telephone::read(text, home).and_then(|read| read.e164()) {
            let written = number.to_string();
            prop_assert!(E164::parse(&written).is_some_and(|parsed| parsed.is(number)));
        }
    }

    #[test]
    fn any_literal_is_read_or_not(literal in "-?[0-9]{1,30}(\\.[0-9]{0,20})?([eE][+-]?[0-9]{1,6})?") {
        let number = Telephone::read_number(literal, country("US")).e164();
        prop_assert!(number.is_none_or(|number| E164::parse(&number.to_string()).is_some()));
    }
}
