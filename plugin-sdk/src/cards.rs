//! Numbers of payment cards in texts.

use std::ops::Range;

/// Digits of a card number, ISO/IEC 7812-1 (12 digits are written by no issuer of today).
const DIGITS: std::ops::RangeInclusive<usize> = 13..=19;

/// Characters between two groups of digits: one, and two more where a dash stands in spaces.
const SEPARATORS_MAX: usize = 3;

/// Fewest digits of a group that another one follows: cards are printed in groups of four, six or
/// three. Lists of small numbers are none.
const GROUP_MIN: usize = 3;

/// First and last prefix (of as many digits) and the lengths of the numbers that have one.
///
/// From ISO/IEC 7812-1 and the issuers' published ranges. Where sources differ the wider one
/// stands: to mask one number too many is the smaller harm.
const ISSUERS: &[(u32, u32, Lengths)] = &[
    // UATP.
    (1, 1, only(15)),
    // JCB, the older ones.
    (1_800, 1_800, only(15)),
    (2_131, 2_131, only(15)),
    // Mir and its neighbours.
    (2_200, 2_205, any(16, 19)),
    // Mastercard.
    (2_221, 2_720, only(16)),
    (51, 55, only(16)),
    // Diners Club.
    (300, 305, any(14, 19)),
    (3_095, 3_095, any(14, 19)),
    (36, 36, any(14, 19)),
    (38, 39, any(14, 19)),
    // American Express.
    (34, 34, only(15)),
    (37, 37, only(15)),
    // JCB, RuPay.
    (3_528, 3_589, any(16, 19)),
    // Visa.
    (4, 4, Lengths { from: 13, to: 19, but: &[14, 15, 17] }),
    // Maestro, Verve, Elo, RuPay.
    (50, 50, any(13, 19)),
    (56, 58, any(13, 19)),
    (63, 63, any(13, 19)),
    (67, 67, any(13, 19)),
    // Discover, RuPay, Troy, Hipercard.
    (60, 60, any(16, 19)),
    (644, 649, any(16, 19)),
    (65, 65, any(16, 19)),
    // UnionPay, Discover.
    (62, 62, any(16, 19)),
    (81, 82, any(16, 19)),
    // Uzcard, Napas, Troy, Humo.
    (8_600, 8_600, only(16)),
    (9_704, 9_704, any(16, 19)),
    (9_792, 9_792, only(16)),
    (9_860, 9_860, only(16)),
];

/// Numbers of digits.
#[derive(Debug)]
struct Lengths {
    from: usize,
    to: usize,
    but: &'static [usize],
}

const fn any(from: usize, to: usize) -> Lengths {
    Lengths { from, to, but: &[] }
}

const fn only(length: usize) -> Lengths {
    any(length, length)
}

/// The card numbers in `text`, in order and apart.
///
/// A card number has 13 to 19 digits, begins as those of a known issuer do, has a length that they
/// have, and its last digit is right (Luhn). It is written without gaps, in groups of three digits
/// or more (the last may be shorter), or digit by digit; between groups stand spaces, dashes or
/// no-break spaces. Other digits may not touch it. Of readings that overlap all are taken.
///
/// One in ten numbers of the right form is right by chance: times, ids and telephone numbers
/// among them. The adapter says where to search.
#[must_use]
pub fn find(text: &str) -> Vec<Range<usize>> {
    // Most texts have no digits to speak of.
    if text.bytes().filter(u8::is_ascii_digit).count() < *DIGITS.start() {
        return Vec::new();
    }
    let mut found = Vec::new();
    let mut run: Vec<Range<usize>> = Vec::new();
    for group in groups(text) {
        let between = run.last().map(|last| text.get(last.end..group.start).unwrap_or_default());
        if !between.is_some_and(is_separator) {
            find_in_run(text, &run, &mut found);
            run.clear();
        }
        run.push(group);
    }
    find_in_run(text, &run, &mut found);
    found
}

/// Maximal sequences of digits.
fn groups(text: &str) -> impl Iterator<Item = Range<usize>> {
    let bytes = text.as_bytes();
    let mut at = 0;
    std::iter::from_fn(move || {
        let digit = |byte: &u8| byte.is_ascii_digit();
        let start = at + bytes.get(at..)?.iter().position(digit)?;
        let rest = bytes.get(start..)?;
        at = start + rest.iter().position(|byte| !digit(byte)).unwrap_or(rest.len());
        Some(start..at)
    })
}

fn is_separator(between: &str) -> bool {
    between.chars().count() <= SEPARATORS_MAX
        && between.chars().all(|c| matches!(c, ' ' | '-' | '\u{a0}' | '\u{2011}'))
}

/// Finds what whole groups of one run make.
fn find_in_run(text: &str, run: &[Range<usize>], found: &mut Vec<Range<usize>>) {
    let mut digits: Vec<u8> = Vec::with_capacity(*DIGITS.end());
    for (from, first) in run.iter().enumerate() {
        digits.clear();
        for group in run.iter().skip(from) {
            let bytes = text.as_bytes().get(group.clone()).unwrap_or_default();
            if digits.len() + bytes.len() > *DIGITS.end() {
                break;
            }
            digits.extend(bytes.iter().map(|byte| byte - b'0'));
            if is_card(&digits) {
                push(found, first.start..group.end);
            }
            if bytes.len() < GROUP_MIN {
                break;
            }
        }
    }
}

/// Adds what was found after all others; what overlaps becomes one.
fn push(found: &mut Vec<Range<usize>>, card: Range<usize>) {
    match found.last_mut() {
        Some(last) if card.start < last.end => last.end = last.end.max(card.end),
        Some(_) | None => found.push(card),
    }
}

fn is_card(digits: &[u8]) -> bool {
    DIGITS.contains(&digits.len()) && is_luhn(digits) && is_issued(digits)
}

/// ISO/IEC 7812-1, annex B.
fn is_luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .zip([1, 2].iter().cycle())
        .map(|(digit, weight)| u32::from(*digit) * weight)
        .map(|product| product / 10 + product % 10)
        .sum();
    sum.is_multiple_of(10)
}

fn is_issued(digits: &[u8]) -> bool {
    ISSUERS.iter().any(|(first, last, lengths)| {
        let width = usize::try_from(first.ilog10() + 1).unwrap_or_default();
        let leading = digits.iter().take(width);
        let prefix = leading.fold(0, |prefix, digit| prefix * 10 + u32::from(*digit));
        (*first..=*last).contains(&prefix)
            && (lengths.from..=lengths.to).contains(&digits.len())
            && !lengths.but.contains(&digits.len())
    })
}

#[cfg(test)]
#[expect(clippy::string_slice, reason = "a range that splits a character fails the test")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(text: &str) -> Vec<&str> {
        find(text).into_iter().map(|range| &text[range]).collect()
    }

    #[test]
    fn numbers_that_issuers_publish_for_tests_are_found() {
        for number in [
            "4111111111111111",
            "4012888888881881",
            "4222222222222",
            "4000056655665556",
            "5555555555554444",
            "5105105105105100",
            "2223003122003222",
            "378282246310005",
            "371449635398431",
            "30569309025904",
            "36227206271667",
            "3566002020360505",
            "3530111333300000",
            "6011111111111117",
            "6011000990139424",
            "6200000000000005",
            "6205500000000000004",
            "6759649826438453",
            "6304000000000000",
            "6521111111111110",
            "2200770239097761",
        ] {
            assert_eq!(found(number), [number]);
            let text = format!("pan={number};");
            assert_eq!(found(&text), [number]);
        }
    }

    #[test]
    fn groups_are_read_as_they_are_printed() {
        for number in [
            "4111 1111 1111 1111",
            "4111-1111-1111-1111",
            "4111 - 1111 - 1111 - 1111",
            "4111\u{a0}1111\u{a0}1111\u{a0}1111",
            "41111111 11111111",
            "3782 822463 10005",
            "4222 2222 2222 2",
            "6205 5000 0000 0000 004",
        ] {
            assert_eq!(found(&format!("card {number}, 12/29")), [number]);
        }
    }

    #[test]
    fn what_is_no_card_number_is_not_found() {
        for text in [
            "",
            // A wrong last digit; a length and a prefix that no issuer has.
            "4111111111111112",
            "41111111111111112",
            "9111111111111111",
            "0000000000000000",
            // Longer numbers, and gaps that are none of a card.
            "41111111111111110000",
            "004111111111111111",
            "4111_1111_1111_1111",
            "4111    1111    1111    1111",
            "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1",
            "41 11 11 11 11 11 11 11",
            "4111,1111,1111,1111",
            // Times and telephone numbers.
            "1767323045 1767323165",
            "1767323045678",
            "1767323045678901",
            "2026-01-02 03:04:05",
            "+44 7700 900123",
            "+447700900123 +441632960001",
        ] {
            assert_eq!(find(text), [], "{text}");
        }
    }

    #[test]
    fn every_reading_that_overlaps_is_taken() {
        // Two side by side; between groups of 4111 and 1111 others are right by chance.
        let text = "4111111111111111 5555555555554444";
        assert_eq!(found(text), ["4111111111111111", "5555555555554444"]);
        let text = "4242 4242 4242 4242 4242 4242";
        assert_eq!(found(text), [text]);
    }

    /// A number with this beginning whose last digit is right.
    fn numbers_of(prefix: &str, length: usize) -> String {
        let mut number = format!("{prefix:0<width$}", width = length - 1);
        let check = ('0'..='9').find(|c| luhn_by_the_book(&format!("{number}{c}"))).unwrap();
        number.push(check);
        number
    }

    /// Written apart from the code, as the standard tells it.
    fn luhn_by_the_book(number: &str) -> bool {
        let digits: Vec<u32> = number.chars().map(|c| c.to_digit(10).unwrap()).collect();
        let mut sum = 0;
        for (index, digit) in digits.iter().enumerate() {
            let from_the_right = digits.len() - index;
            let counted = if from_the_right.is_multiple_of(2) { digit * 2 } else { *digit };
            sum += if counted > 9 { counted - 9 } else { counted };
        }
        sum % 10 == 0
    }

    fn any_card() -> impl Strategy<Value = String> {
        let issuer = prop::sample::select(ISSUERS.iter().collect::<Vec<_>>());
        issuer.prop_flat_map(|(first, last, lengths)| {
            let lengths: Vec<_> =
                (lengths.from..=lengths.to).filter(|n| !lengths.but.contains(n)).collect();
            (*first..=*last, prop::sample::select(lengths), "[0-9]{18}").prop_map(
                |(prefix, length, filling)| {
                    let beginning = format!("{prefix}{filling}");
                    numbers_of(&beginning[..length - 1], length)
                },
            )
        })
    }

    proptest! {
        #[test]
        fn every_issuers_number_is_found_where_it_stands(
            card in any_card(), before in "[a-z:= ]{0,8}[a-z:=]", after in "[a-z;,.]{0,8}",
        ) {
            let text = format!("{before}{card}{after}");
            prop_assert_eq!(found(&text), [card.as_str()]);
        }

        #[test]
        fn gaps_of_a_card_change_nothing(
            card in any_card(), size in 3_usize..8, gap in prop::sample::select(vec![" ", "-", " - "]),
        ) {
            let digits: Vec<char> = card.chars().collect();
            let groups: Vec<String> = digits.chunks(size).map(|g| g.iter().collect()).collect();
            let text = groups.join(gap);
            prop_assert_eq!(found(&text), [text.as_str()]);
        }

        #[test]
        fn a_wrong_digit_makes_it_none(card in any_card(), at in 0_usize..19, by in 1_u32..10) {
            let at = at % card.len();
            let mut digits: Vec<char> = card.chars().collect();
            let other = (digits[at].to_digit(10).unwrap() + by) % 10;
            digits[at] = char::from_digit(other, 10).unwrap();
            prop_assert_eq!(find(&digits.iter().collect::<String>()), []);
        }

        #[test]
        fn what_is_found_is_a_card_number_of_any_text(text in "[0-9a-z \\-]{0,80}|\\PC{0,80}") {
            let mut end = 0;
            for card in find(&text) {
                prop_assert!(card.start >= end && card.end > card.start);
                end = card.end;
                let digits = text[card].chars().filter(char::is_ascii_digit).count();
                prop_assert!(digits >= 13);
            }
        }

        /// From 2000 to 2036; later microseconds begin as Mastercards do.
        #[test]
        fn times_are_no_card_numbers(seconds in 946_684_800_u64..2_100_000_000) {
            for time in [seconds, seconds * 1_000, seconds * 1_000_000] {
                prop_assert_eq!(find(&time.to_string()), []);
            }
        }
    }
}
