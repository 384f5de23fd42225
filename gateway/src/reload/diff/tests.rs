use proptest::prelude::*;

use super::*;

fn open(text: &str) -> Said {
    Said::Open(text.to_owned())
}

fn part(part: Part, name: &str, keys: &[(&str, Said)]) -> ((Part, String), Keys) {
    let keys = keys.iter().map(|(key, said)| ((*key).to_owned(), said.clone())).collect();
    ((part, name.to_owned()), keys)
}

#[track_caller]
fn check(
    before: Option<((Part, String), Keys)>,
    after: Option<((Part, String), Keys)>,
    told: &str,
) {
    let changes = diff(&before.into_iter().collect(), &after.into_iter().collect());
    let words: Vec<String> = changes.iter().map(ToString::to_string).collect();
    assert_eq!(words, [told]);
}

#[test]
fn changes_are_told_in_an_operators_words() {
    let route = |deadline: &str| {
        let keys = [("deadline", open(deadline)), ("path", Said::Closed([1; 32]))];
        part(Part::Route, "a", &keys)
    };
    check(None, Some(route("1s")), "route `a` added");
    check(Some(route("1s")), None, "route `a` removed");
    check(Some(route("1s")), Some(route("2s")), "route `a` changed: `deadline` 1s → 2s");
    let moved = part(Part::Route, "a", &[("path", Said::Closed([2; 32]))]);
    check(Some(route("1s")), Some(moved), "route `a` changed: `deadline` 1s taken out, `path`");

    let plugin = |version: &str, digest: &str| {
        part(Part::Plugin, "ottu", &[(VERSION, open(version)), ("digest", open(digest))])
    };
    check(None, Some(plugin("1.0.2", "a")), "plugin `ottu` 1.0.2 added");
    check(Some(plugin("1.0.2", "a")), None, "plugin `ottu` 1.0.2 removed");
    check(Some(plugin("1.0.2", "a")), Some(plugin("1.0.3", "b")), "plugin `ottu` 1.0.2 → 1.0.3");
    check(
        Some(plugin("1.0.2", "a")),
        Some(plugin("1.0.2", "b")),
        "plugin `ottu` replaced by another build of the same version",
    );

    let secret = |digest| part(Part::Secret, "ringba", &[("values", Said::Closed([digest; 32]))]);
    check(Some(secret(1)), Some(secret(2)), "secret `ringba` changed");

    let log = |keys: &[(&str, Said)]| part(Part::Log, "", keys);
    check(
        Some(log(&[])),
        Some(log(&[("level", open("debug"))])),
        "log changed: `level` set to debug",
    );
}

#[test]
fn a_value_that_is_closed_on_one_side_is_told_on_neither() {
    let route = |said| part(Part::Route, "a", &[("settings.key", said)]);
    let closed = route(Said::Closed([1; 32]));
    check(Some(route(open("1"))), Some(closed.clone()), "route `a` changed: `settings.key`");
    check(Some(closed), Some(route(open("1"))), "route `a` changed: `settings.key`");
}

fn said() -> impl Strategy<Value = Said> {
    prop_oneof!["[a-c]".prop_map(Said::Open), (0_u8..3).prop_map(|n| Said::Closed([n; 32]))]
}

fn outline() -> impl Strategy<Value = Outline> {
    let parts =
        prop_oneof![Just(Part::Route), Just(Part::Plugin), Just(Part::Secret), Just(Part::Ingest)];
    let keys = prop::collection::btree_map("[x-z]", said(), 0..3);
    prop::collection::btree_map((parts, "[a-b]?"), keys, 0..6)
}

proptest! {
    #[test]
    fn nothing_differs_from_itself_and_whatever_differs_is_told(a in outline(), b in outline()) {
        prop_assert!(diff(&a, &a).is_empty());
        prop_assert_eq!(diff(&a, &b).is_empty(), a == b);
    }

    #[test]
    fn each_part_that_differs_is_told_once_and_no_other(a in outline(), b in outline()) {
        let told: Vec<_> =
            diff(&a, &b).into_iter().map(|change| (change.part, change.name)).collect();
        let all: BTreeSet<_> = a.keys().chain(b.keys()).cloned().collect();
        let differing: Vec<_> =
            all.into_iter().filter(|part| a.get(part) != b.get(part)).collect();
        prop_assert_eq!(told, differing);
    }

    #[test]
    fn the_way_back_is_the_mirror_of_the_way_there(a in outline(), b in outline()) {
        let mut back = diff(&b, &a);
        for change in &mut back {
            change.fate = match change.fate {
                Fate::Added => Fate::Removed,
                Fate::Removed => Fate::Added,
                Fate::Changed => Fate::Changed,
            };
            for key in &mut change.keys {
                std::mem::swap(&mut key.from, &mut key.to);
            }
        }
        prop_assert_eq!(diff(&a, &b), back);
    }
}
