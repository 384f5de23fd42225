use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use proptest::prelude::*;

use super::*;

fn file(content: &[u8], mode: u32) -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    (folder, path)
}

fn values(versions: &[SecretVersion]) -> Vec<(&[u8], Option<u64>)> {
    versions.iter().map(|v| (v.value.expose(), v.expires_at.map(|at| at.0))).collect()
}

#[test]
fn one_value_loses_one_final_newline() {
    for (content, expected) in [
        (&b"abc"[..], &b"abc"[..]),
        (b"abc\n", b"abc"),
        (b"abc\r\n", b"abc"),
        (b"abc\n\n", b"abc\n"),
        (b" abc ", b" abc "),
        (b"\xff\x00\xfe\n", b"\xff\x00\xfe"),
        (b"#comment\n", b"#comment"),
    ] {
        let (_folder, path) = file(content, 0o600);
        let versions = from_file(&path).unwrap();
        assert_eq!(values(&versions), [(expected, None)], "{content:?}");
    }
}

#[test]
fn several_values_have_their_expiry() {
    let content = b"#sluice-secrets 1\n- bmV3\n\n2024-06-15T11:51:35Z b2xk\r\n1970-01-01T01:00:00+01:00 b2xkZXI=\n";
    let (_folder, path) = file(content, 0o400);
    let versions = from_file(&path).unwrap();
    assert_eq!(
        values(&versions),
        [(&b"new"[..], None), (b"old", Some(1_718_452_295_000)), (b"older", Some(0))]
    );
}

#[test]
fn what_is_wrong_is_named_without_the_value() {
    let canary = "c2VjcmV0LWNhbmFyeQ";
    for (content, expected) in [
        (String::new(), "is empty"),
        ("\n".to_owned(), "is empty"),
        ("#sluice-secrets 1\n".to_owned(), "holds no value"),
        (format!("#sluice-secrets 2\n- {canary}\n"), "a format that this version does not know"),
        (format!("#sluice-secrets\n- {canary}\n"), "a format that this version does not know"),
        (format!("#sluice-secrets 1\n- {canary}\n- \n"), "line 3 has an empty value"),
        (format!("#sluice-secrets 1\n{canary}\n"), "line 2 has no space"),
        (format!("#sluice-secrets 1\n{canary} {canary}\n"), "line 2 has no valid expiry"),
        (format!("#sluice-secrets 1\n- {canary}!\n"), "line 2 is not base64"),
        (format!("#sluice-secrets 1\n{}", format!("- {canary}\n").repeat(17)), "more than 16"),
        ("x".repeat(FILE_BYTES_MAX + 1), "larger than 64KiB"),
    ] {
        let (_folder, path) = file(content.as_bytes(), 0o600);
        let Unreadable { message, help } = from_file(&path).unwrap_err();
        assert!(message.contains(expected), "{expected}: {message}");
        assert!(!format!("{message} {help:?}").contains(canary), "{message}");
    }
}

#[test]
fn a_file_of_the_largest_size_is_read() {
    let (_folder, path) = file(&vec![b'x'; FILE_BYTES_MAX], 0o600);
    assert_eq!(from_file(&path).unwrap().len(), 1);
}

#[test]
fn what_is_not_a_private_file_is_refused() {
    let (folder, path) = file(b"abc", 0o640);
    let open = from_file(&path).unwrap_err();
    assert!(open.message.contains("mode 0640"), "{open:?}");
    assert!(open.help.unwrap().starts_with("run `chmod 600 "));
    assert!(from_file(folder.path()).unwrap_err().message.contains("is a folder"));
    let missing = from_file(&folder.path().join("none")).unwrap_err();
    assert!(missing.message.starts_with("there is no file"), "{missing:?}");
}

/// A link that is turned, again and again, from a private file to one that is open to all: what
/// was checked is what is read.
#[test]
fn another_file_put_in_its_place_is_never_read_unchecked() {
    let (folder, private) = file(b"private", 0o600);
    let open = folder.path().join("open");
    fs::write(&open, b"open to all").unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o644)).unwrap();
    let (link, other) = (folder.path().join("link"), folder.path().join("other"));
    let stop = AtomicBool::new(false);
    std::os::unix::fs::symlink(&private, &link).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for target in [&open, &private].into_iter().cycle() {
                std::os::unix::fs::symlink(target, &other).unwrap();
                fs::rename(&other, &link).unwrap();
                if stop.load(Ordering::Relaxed) {
                    break;
                }
            }
        });
        let (mut read, mut refused) = (0, 0);
        while read < 5_000 || refused < 5_000 {
            match from_file(&link) {
                Ok(versions) if values(&versions) == [(&b"private"[..], None)] => read += 1,
                Ok(_) => break,
                Err(_) => refused += 1,
            }
        }
        stop.store(true, Ordering::Relaxed);
        assert!(read >= 5_000 && refused >= 5_000, "unchecked, after {read} and {refused}");
    });
}

#[test]
fn a_pipe_is_refused_and_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    assert!(from_file(&path).unwrap_err().message.contains("is not a file"));
}

#[test]
fn a_link_is_followed_to_the_file_it_names() {
    let (folder, path) = file(b"abc", 0o600);
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    assert_eq!(values(&from_file(&link).unwrap()), [(&b"abc"[..], None)]);
}

#[test]
fn a_variable_is_one_value_as_it_is() {
    let versions = from_environment("KEY", Some("abc\n".into())).unwrap();
    assert_eq!(values(&versions), [(&b"abc\n"[..], None)]);
    assert!(from_environment("KEY", None).unwrap_err().message.contains("is not set"));
    assert!(from_environment("KEY", Some("".into())).unwrap_err().message.contains("is empty"));
}

proptest! {
    #[test]
    fn any_content_is_read_or_refused(content in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(versions) = parse(&content) {
            prop_assert!(versions.iter().all(|version| !version.value.expose().is_empty()));
        }
        let marked = [b"#sluice-secrets 1\n", &content[..]].concat();
        if let Ok(versions) = parse(&marked) {
            prop_assert!(versions.iter().all(|version| !version.value.expose().is_empty()));
        }
    }

    #[test]
    fn what_is_written_is_read_back(
        written in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..80), 1..16),
    ) {
        let lines = written.iter().map(|value| format!("- {}\n", BASE64.encode(value)));
        let content: String = std::iter::once("#sluice-secrets 1\n".to_owned()).chain(lines).collect();
        let versions = parse(content.as_bytes()).unwrap();
        let read: Vec<&[u8]> = versions.iter().map(|version| version.value.expose()).collect();
        prop_assert_eq!(read, written);
    }
}
