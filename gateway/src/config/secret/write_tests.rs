use std::os::unix::fs::PermissionsExt as _;

use super::*;

const NOW: UnixMillis = UnixMillis(1_750_000_000_000);
const DAY: Duration = Duration::from_secs(86_400);

/// Rotates a secret that any value is fit for.
fn rotate(
    path: &Path,
    value: &SecretValue,
    overlap: Duration,
    now: UnixMillis,
) -> Result<Rotated, SecretFileError> {
    super::rotate(path, value, overlap, now, |_| true)
}

fn value(text: &str) -> SecretValue {
    SecretValue::new(text.as_bytes().to_vec())
}

fn read(path: &Path) -> Vec<(String, Option<UnixMillis>)> {
    let versions = from_file(path).unwrap();
    let text = |value: &SecretValue| String::from_utf8(value.expose().to_vec()).unwrap();
    versions.iter().map(|version| (text(&version.value), version.expires_at)).collect()
}

fn pair(text: &str, until: Option<u64>) -> (String, Option<UnixMillis>) {
    (text.to_owned(), until.map(|after| UnixMillis(NOW.0 + after)))
}

#[test]
fn a_first_value_is_written_for_its_owner_alone_and_never_over_another() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new").join("secret");
    create(&path, &value("first")).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"first\n");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(matches!(create(&path, &value("second")), Err(SecretFileError::Exists(_))));
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(folder.path().join("nowhere"), &link).unwrap();
    assert!(matches!(create(&link, &value("second")), Err(SecretFileError::Exists(_))));
    assert_eq!(read(&path), [pair("first", None)]);
}

#[test]
fn the_old_value_stays_good_for_the_overlap_and_expired_ones_go() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    create(&path, &value("first")).unwrap();
    let day = 86_400_000;
    let rotated = rotate(&path, &value("second"), DAY, NOW).unwrap();
    let until = UnixMillis(NOW.0 + day);
    assert_eq!(rotated, Rotated { still_good: 1, old_until: Some(until) });
    assert_eq!(read(&path), [pair("second", None), pair("first", Some(day))]);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    // A longer overlap does not make the first good for longer again.
    rotate(&path, &value("third"), 2 * DAY, NOW).unwrap();
    let expected = [pair("third", None), pair("second", Some(2 * day)), pair("first", Some(day))];
    assert_eq!(read(&path), expected);
    // By then the first has expired. Taken back, the second is the newest once.
    let later = UnixMillis(NOW.0 + day);
    rotate(&path, &value("second"), DAY, later).unwrap();
    assert_eq!(read(&path), [pair("second", None), pair("third", Some(2 * day))]);
    // Without an overlap there is one value, in the plain form.
    let rotated = rotate(&path, &value("fourth"), Duration::ZERO, later).unwrap();
    assert_eq!(rotated, Rotated { still_good: 0, old_until: None });
    assert_eq!(fs::read(&path).unwrap(), b"fourth\n");
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

#[test]
fn a_value_that_is_not_fit_does_not_stay_beside_the_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    create(&path, &value("first")).unwrap();
    rotate(&path, &value("no"), DAY, NOW).unwrap();
    let is_fit = |value: &SecretValue| value.expose() != b"no";
    let rotated = super::rotate(&path, &value("third"), DAY, NOW, is_fit).unwrap();
    assert_eq!(rotated, Rotated { still_good: 1, old_until: None });
    assert_eq!(read(&path), [pair("third", None), pair("first", Some(86_400_000))]);
}

#[test]
fn what_cannot_be_rotated_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    let to = |text: &str| rotate(&path, &value(text), DAY, NOW);
    assert!(matches!(to("a"), Err(SecretFileError::Write { .. })), "it is not there");
    create(&path, &value("0")).unwrap();
    assert!(matches!(to(""), Err(SecretFileError::Empty)));
    assert!(matches!(to("0"), Err(SecretFileError::Same)));
    for number in 1..VERSIONS_MAX {
        rotate(&path, &value(&number.to_string()), DAY, NOW).unwrap();
    }
    assert!(matches!(to("one more"), Err(SecretFileError::TooMany)));
    assert!(matches!(to(&"x".repeat(70_000)), Err(SecretFileError::TooMany)));
    assert_eq!(read(&path).len(), VERSIONS_MAX);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(to("open"), Err(SecretFileError::Unreadable(_))));
}

#[test]
fn any_bytes_are_read_back_as_they_were_written() {
    for bytes in [&b"#comment"[..], b"#sluice-secrets 1", b"line\r", b"line\n", b"\xff\x00", b" a "]
    {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        let value = SecretValue::new(bytes.to_vec());
        create(&path, &value).unwrap();
        assert_eq!(from_file(&path).unwrap()[0].value.expose(), bytes, "{bytes:?}");
    }
}

#[test]
fn rotations_at_once_lose_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    create(&path, &value("0")).unwrap();
    std::thread::scope(|scope| {
        for number in 1..=8 {
            let path = &path;
            scope.spawn(move || rotate(path, &value(&number.to_string()), DAY, NOW).unwrap());
        }
    });
    let mut values: Vec<_> = read(&path).into_iter().map(|(value, _)| value).collect();
    values.sort();
    assert_eq!(values, ["0", "1", "2", "3", "4", "5", "6", "7", "8"]);
}
