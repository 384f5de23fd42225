use std::ffi::OsString;

use proptest::prelude::*;

use super::*;
use crate::config::load_with;

const TEXT: &str = "admin.token_secret = 's'
secrets.s = { env = 'S' }
[ingest]
drain = '5s'
listen = ['127.0.0.1:1', 'unix:/run/a']
listeners.own = { address = 'unix:/run/b', mode = '0600' }
trusted_proxies = ['::1']
forwarded = 'forwarded'
[storage]
retention = '2d'
[plugins]
size_max = '1MiB'
[log]
level = 'warn'
[adapters.a]
plugin = 'p'
settings = { number = 1, text = 'open sesame' }
[routes.r]
path = '/long-path-that-nobody-guesses'
adapter = 'a'
secrets = { key = 's' }
deliver_to = ['h', { destination = 'f', types = ['a.*'] }]
[routes.direct]
path = '/x'
plugin = 'q'
[destinations.h]
type = 'http'
url = 'https://example.com/in?key=query-credential'
signing_secret = 's'
headers = { x-api-key = 'header-credential' }
[destinations.f]
type = 'file'
path = 'events.jsonl'
";

fn outline_of(text: &str, secret: &str) -> Outline {
    config(text, secret).outline()
}

fn config(text: &str, secret: &str) -> Config {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sluice.toml");
    std::fs::write(&path, text).unwrap();
    let config = load_with(&path, &|_| Some(OsString::from(secret)));
    let mut config = config.unwrap_or_else(|problems| panic!("{problems}"));
    // The folder is another one each time.
    config.storage.sqlite_path = "sluice.db".into();
    config.plugins.directory = "plugins".into();
    config.plugins.cache = "cache".into();
    for destination in config.destinations.values_mut() {
        if let DestinationKind::File { path } = &mut destination.kind {
            *path = "events.jsonl".into();
        }
    }
    config
}

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// Every key that differs, as `route r: deadline`.
fn differing(one: &Outline, other: &Outline) -> Vec<String> {
    let all: std::collections::BTreeSet<_> = one.keys().chain(other.keys()).collect();
    let none = Keys::new();
    let mut differing = Vec::new();
    for part in all {
        let [one, other] = [one, other].map(|outline| outline.get(part).unwrap_or(&none));
        let keys: std::collections::BTreeSet<_> = one.keys().chain(other.keys()).collect();
        for key in keys.into_iter().filter(|key| one.get(*key) != other.get(*key)) {
            differing.push(format!("{} {}: {key}", part.0.as_str(), part.1));
        }
    }
    differing
}

#[test]
fn each_key_is_told_apart_under_the_part_that_it_stands_in() {
    let before = outline_of(TEXT, SECRET);
    assert_eq!(differing(&before, &outline_of(TEXT, SECRET)), Vec::<String>::new());
    for (from, to, expected) in [
        ("drain = '5s'", "drain = '6s'", "ingest : drain"),
        ("['::1']", "['::1', '10.0.0.0/8']", "ingest : trusted_proxies"),
        ("'forwarded'", "'proxy-protocol'", "ingest : forwarded"),
        ("retention = '2d'", "retention = '3d'", "storage : retention"),
        ("retention = '2d'", "removed_grace = '1h'\nretention = '2d'", "storage : removed_grace"),
        ("size_max = '1MiB'", "size_max = '2MiB'", "plugins : size_max"),
        ("level = 'warn'", "", "log : level"),
        ("number = 1", "number = 2", "adapter a: settings.number"),
        ("open sesame", "open it", "adapter a: settings.text"),
        ("plugin = 'p'", "plugin = 'other'", "adapter a: plugin"),
        ("'unix:/run/a'", "'unix:/run/c'", "ingest : listen"),
        ("'unix:/run/b'", "'unix:/run/d'", "ingest : listeners.own.address"),
        ("'0600'", "'0660'", "ingest : listeners.own.mode"),
        ("mode = '0600'", "mode = '0600', owner = '5'", "ingest : listeners.own.owner"),
        ("'/x'", "'/y'", "route direct: path"),
        ("plugin = 'q'", "plugin = 'other'", "route direct: adapter"),
        ("'a.*'", "'b.*'", "route r: deliver_to"),
        ("plugin = 'q'", "plugin = 'q'\npaused = true", "route direct: paused"),
        (
            "plugin = 'q'",
            "plugin = 'q'\nlimits.per_client = '5/s'",
            "route direct: limits.per_client",
        ),
        ("plugin = 'q'", "plugin = 'q'\nlimits.headers = true", "route direct: limits.headers"),
        ("plugin = 'q'", "plugin = 'q'\nallow_from = ['10.0.0.0/8']", "route direct: allow_from"),
        ("query-credential", "other", "destination h: url"),
        ("header-credential", "other", "destination h: headers"),
        ("type = 'file'", "type = 'file'\ntimeout = '1s'", "destination f: timeout"),
    ] {
        assert!(TEXT.contains(from), "{from}");
        let after = outline_of(&TEXT.replace(from, to), SECRET);
        assert_eq!(differing(&before, &after), [expected]);
    }
    let rotated = outline_of(TEXT, "another-secret-of-32-bytes-length");
    assert_eq!(differing(&before, &rotated), ["secret s: values"]);
}

#[test]
fn nothing_confidential_can_be_read_from_an_outline() {
    let shown = format!("{:?}", outline_of(TEXT, SECRET));
    for confidential in
        [SECRET, "open sesame", "nobody-guesses", "query-credential", "header-credential"]
    {
        assert!(!shown.contains(confidential), "{confidential} is in {shown}");
    }
}

#[test]
fn a_destination_whose_secret_changed_is_another() {
    let h = |secret: &str| {
        let config = config(TEXT, secret);
        config.destinations.into_values().find(|each| each.name.as_str() == "h").unwrap()
    };
    assert!(h(SECRET).is_same(&h(SECRET)));
    assert!(!h(SECRET).is_same(&h("another-secret-of-32-bytes-length")));
}

proptest! {
    #[test]
    fn digests_of_different_lists_of_parts_differ(
        one in prop::collection::vec("[ab]{0,3}", 0..4),
        other in prop::collection::vec("[ab]{0,3}", 0..4),
    ) {
        prop_assert_eq!(closed(&one) == closed(&other), one == other);
    }
}
