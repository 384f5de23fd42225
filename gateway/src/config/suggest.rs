//! Helps of problems: did-you-mean, and lists of what is allowed.

/// Longest list of names told in a help; more would hide the problem.
const NAMES_TOLD_MAX: usize = 12;

/// The candidate that `given` was most likely meant to be, where one is near.
pub(crate) fn nearest<'c>(
    given: &str,
    candidates: impl IntoIterator<Item = &'c str>,
) -> Option<&'c str> {
    // A third of the letters may be wrong, and one always: `url` for `uri`, `adaptor` for `adapter`.
    let distance_max = (given.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(given, candidate), candidate))
        .filter(|(distance, candidate)| {
            // Two words of one or two letters are near each other by chance alone.
            *distance <= distance_max && *distance < candidate.chars().count()
        })
        .min()
        .map(|(_, candidate)| candidate)
}

/// "did you mean" where a name is near, else the names there are, else `none`.
pub(crate) fn name_help<'c>(
    given: &str,
    candidates: impl IntoIterator<Item = &'c str> + Clone,
    none: &str,
) -> String {
    match nearest(given, candidates.clone()) {
        Some(candidate) => format!("did you mean `{candidate}`?"),
        None => list_help(candidates).unwrap_or_else(|| none.to_owned()),
    }
}

/// `one of: …`, or nothing where there is nothing to choose from.
pub(crate) fn list_help<'c>(candidates: impl IntoIterator<Item = &'c str>) -> Option<String> {
    let names: Vec<&str> = candidates.into_iter().collect();
    if names.is_empty() {
        return None;
    }
    let told: Vec<String> =
        names.iter().take(NAMES_TOLD_MAX).map(|name| format!("`{name}`")).collect();
    let more = names.len().saturating_sub(NAMES_TOLD_MAX);
    let rest = if more == 0 { String::new() } else { format!(" and {more} more") };
    Some(format!("one of: {}{rest}", told.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_name_is_suggested_and_a_far_one_is_not() {
        let keys = ["url", "path", "timeout", "signing_secret"];
        for (given, expected) in [
            ("uri", Some("url")),
            ("timeuot", Some("timeout")),
            ("signing-secret", Some("signing_secret")),
            ("colour", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(nearest(given, keys), expected, "{given}");
        }
    }

    #[test]
    fn a_long_list_is_cut() {
        let names: Vec<String> = (0..20).map(|n| format!("n{n}")).collect();
        let help = list_help(names.iter().map(String::as_str)).unwrap();
        assert!(help.ends_with("`n11` and 8 more"), "{help}");
        assert_eq!(list_help([]), None);
    }
}
