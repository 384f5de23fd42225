//! From a text to its digits.

use super::Unfit;

/// Longest number that is looked at: an international prefix before an E.164 number.
const DIGITS_MAX: usize = 24;

/// First characters of the digit blocks in which telephone numbers are written: Arabic-Indic,
/// Persian, N'Ko, ten scripts of South and South-East Asia, full width.
const ZEROS: [u32; 15] = [
    0x0660, 0x06f0, 0x07c0, 0x0966, 0x09e6, 0x0a66, 0x0ae6, 0x0b66, 0x0be6, 0x0c66, 0x0ce6, 0x0d66,
    0x0e50, 0x0ed0, 0xff10,
];

/// Words that stand before an extension, the longer ones first.
const EXTENSIONS: [&str; 4] = ["extension", "extn", "ext", "x"];

/// Schemes whose addresses hold a number.
const SCHEMES: [&str; 4] = ["tel:", "sip:", "sips:", "callto:"];

/// What a text says as a telephone number.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) digits: String,
    /// A `+` stands before them.
    pub(super) plus: bool,
    /// The text began with a space: perhaps a `+` that a form turned into one.
    pub(super) spaced: bool,
    /// Where among the digits a `0` in brackets stands, as in `+44 (0)20`.
    pub(super) zero: Option<usize>,
}

impl Written {
    /// Digits and nothing else.
    pub(super) const fn of_digits(digits: String) -> Self {
        Self { digits, plus: false, spaced: false, zero: None }
    }

    pub(super) fn scan(text: &str) -> Result<Self, Unfit> {
        let spaced = text.trim_start_matches(is_mark).starts_with(' ');
        let (number, plus) = address(text)?;
        // A spreadsheet's number that became a text: the fraction is no digits of a number.
        if is_spreadsheets(number)
            && let Some(digits) = whole_number(number)
        {
            return Ok(Self { plus, spaced, ..Self::of_digits(digits) });
        }
        let digits = String::with_capacity(DIGITS_MAX);
        let mut written = Self { plus, spaced, ..Self::of_digits(digits) };
        written.read(number)?;
        match written.digits.len() {
            0 => Err(Unfit::Signs),
            1..=DIGITS_MAX => Ok(written),
            _ => Err(Unfit::Impossible),
        }
    }

    fn read(&mut self, number: &str) -> Result<(), Unfit> {
        let mut bracket = None;
        for (at, sign) in number.char_indices() {
            let before = self.digits.len();
            match sign {
                _ if digit(sign).is_some_and(|digit| self.push(digit)) => {}
                '+' | '\u{ff0b}' if before == 0 => self.plus = true,
                '(' | '\u{ff08}' => bracket = Some(before),
                ')' | '\u{ff09}' => {
                    if bracket.take().is_some_and(|from| from > 0 && self.is_zero_from(from)) {
                        self.zero = Some(before - 1);
                    }
                }
                _ if is_between(sign) || is_mark(sign) => {}
                // A pause: what follows is dialled when the call is answered.
                ',' if before > 0 => return Ok(()),
                _ if before > 0 && is_extension(number.get(at..).unwrap_or_default()) => {
                    return Ok(());
                }
                _ if sign.is_alphabetic() => return Err(Unfit::Letters),
                _ => return Err(Unfit::Signs),
            }
        }
        Ok(())
    }

    /// Always `true`, for a pattern's guard. A hostile text does not grow it for ever.
    fn push(&mut self, digit: char) -> bool {
        if self.digits.len() <= DIGITS_MAX {
            self.digits.push(digit);
        }
        true
    }

    fn is_zero_from(&self, from: usize) -> bool {
        self.digits.get(from..) == Some("0")
    }
}

/// Whether a text says nothing at all.
pub(super) fn is_blank(text: &str) -> bool {
    text.chars().all(|sign| sign.is_whitespace() || is_mark(sign))
}

/// The number in an address, and whether it began with a `+`: `"Name" <sip:+4420…@host;user=phone>`
/// holds `4420…` and did.
fn address(text: &str) -> Result<(&str, bool), Unfit> {
    let text = match text.split_once('<') {
        Some((_, inner)) => inner.split_once('>').map_or(inner, |(inner, _)| inner),
        None => text,
    };
    let text = text.trim_matches(|sign: char| sign.is_whitespace() || is_mark(sign));
    let scheme = SCHEMES.iter().find(|scheme| {
        text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    });
    let text = scheme.map_or(text, |scheme| text.get(scheme.len()..).unwrap_or_default());
    let (text, parameters) = text.split_once(';').unwrap_or((text, ""));
    let (text, _) = text.split_once('@').unwrap_or((text, ""));
    // `+` as some write it in an address. Nothing else of a number needs escaping.
    let escaped = scheme.and_then(|_| text.strip_prefix("%2B").or(text.strip_prefix("%2b")));
    let number = escaped.unwrap_or_else(|| text.trim_start_matches('+'));
    let plus = number.len() < text.len();
    // Digits that mean something only in a context which is not the default country.
    let local = parameters.contains("phone-context") && !plus;
    if local { Err(Unfit::Signs) } else { Ok((number, plus)) }
}

/// Whether a text of digits has the form that spreadsheets give to numbers: `13055551234.0`,
/// `1.3055551234E+10`. A dot between the digits of a number is not meant.
fn is_spreadsheets(text: &str) -> bool {
    let (whole, rest) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let exponent = text.contains(['e', 'E']);
    digits(whole) && (exponent || (whole.len() >= 7 && matches!(rest, "0" | "00")))
}

/// The digits of a JSON number, or a number with an exponent `E+10`, that is whole and not
/// negative.
pub(super) fn whole_number(literal: &str) -> Option<String> {
    let (mantissa, exponent) = literal.split_once(['e', 'E']).unwrap_or((literal, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let shift: usize = exponent.parse().ok().filter(|shift| *shift <= DIGITS_MAX)?;
    let fits = !whole.is_empty() && whole.len() + fraction.len() <= DIGITS_MAX;
    if !fits || !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (shifted, rest) = fraction.split_at(shift.min(fraction.len()));
    let zeros = std::iter::repeat_n('0', shift - shifted.len());
    rest.bytes().all(|byte| byte == b'0').then(|| {
        let digits = whole.chars().chain(shifted.chars()).chain(zeros);
        // `0.13e2` is 13.
        digits.skip_while(|digit| shift > 0 && *digit == '0').collect()
    })
}

fn digit(sign: char) -> Option<char> {
    if sign.is_ascii() {
        return sign.is_ascii_digit().then_some(sign);
    }
    let zero = ZEROS.into_iter().rfind(|zero| u32::from(sign) >= *zero)?;
    char::from_digit(u32::from(sign) - zero, 10)
}

/// What may stand between the digits.
fn is_between(sign: char) -> bool {
    sign.is_whitespace()
        || matches!(sign, '-' | '.' | '/' | '[' | ']' | '~')
        || matches!(
            sign,
            '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{30fc}' | '\u{ff0d}'..='\u{ff0f}'
        )
}

/// What nobody sees: zero-width signs and those that turn the direction of writing.
fn is_mark(sign: char) -> bool {
    matches!(
        sign,
        '\u{ad}'
            | '\u{61c}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{2064}'
            | '\u{2066}'..='\u{2069}'
            | '\u{feff}'
    )
}

/// Whether the rest of a text is an extension: `x123`, `ext. 123`, `#123`.
fn is_extension(rest: &str) -> bool {
    let after = EXTENSIONS
        .iter()
        .find_map(|word| {
            let start = rest.get(..word.len())?;
            start.eq_ignore_ascii_case(word).then(|| rest.get(word.len()..))?
        })
        .or_else(|| rest.strip_prefix('#'));
    after.is_some_and(|after| {
        let number = after.trim_matches(|sign: char| sign.is_whitespace() || ".:=".contains(sign));
        !number.is_empty() && number.chars().all(|sign| digit(sign).is_some())
    })
}
