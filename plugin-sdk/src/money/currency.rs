/// ISO 4217 codes by the digits of their minor unit, each list sorted; other codes are unknown.
/// Withdrawn codes of the last ten years are kept, because refunds outlive currencies.
const BY_DIGITS: [(u32, &str); 4] = [
    (0, "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"),
    (3, "BHD IQD JOD KWD LYD OMR TND"),
    (4, "CLF UYW"),
    (
        2,
        "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BOV BRL BSD BTN BWP \
         BYN BZD CAD CDF CHE CHF CHW CNY COP COU CRC CUC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR \
         FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HRK HTG HUF IDR ILS INR IRR JMD KES KGS KHR \
         KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR \
         MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK \
         SGD SHP SLE SLL SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN \
         UYU UZS VED VES WST XCD XCG YER ZAR ZMW ZWG ZWL",
    ),
];

/// How many decimal digits the smallest unit of a currency has; `None` for unknown codes.
pub(crate) fn minor_digits(code: &str) -> Option<u32> {
    let [a, b, c] = *code.as_bytes() else { return None };
    let holds = |codes: &str| {
        // Every code but the last has a space after it.
        let (codes, last) = codes.as_bytes().as_chunks::<4>();
        last == [a, b, c] || codes.binary_search(&[a, b, c, b' ']).is_ok()
    };
    BY_DIGITS.into_iter().find(|(_, codes)| holds(codes)).map(|(digits, _)| digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_is_known_and_nothing_else() {
        for (code, digits) in [
            ("JPY", Some(0)),
            ("USD", Some(2)),
            ("ZWL", Some(2)),
            ("KWD", Some(3)),
            ("CLF", Some(4)),
        ] {
            assert_eq!(minor_digits(code), digits, "{code}");
        }
        for unknown in ["", "XYZ", "usd", "US", "USD ", "AED AFN"] {
            assert_eq!(minor_digits(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn no_code_stands_twice() {
        let mut codes: Vec<&str> =
            BY_DIGITS.iter().flat_map(|(_, codes)| codes.split(' ')).collect();
        let all = codes.len();
        for (_, codes) in BY_DIGITS {
            assert!(codes.split(' ').is_sorted(), "{codes}");
        }
        assert!(codes.iter().all(|code| minor_digits(code).is_some()));
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), all);
        assert!(codes.iter().all(|code| code.len() == 3));
    }
}
