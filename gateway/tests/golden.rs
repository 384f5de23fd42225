//! Texts that operators read, compared with files under `golden/`.
//!
//! `SLUICE_ACCEPT=1 cargo test -p sluice --test golden` accepts what is printed now.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use sluice::config;

/// What no message may hold: every value in the golden configuration that is, or could be, a
/// secret has it in it.
const CANARY: &str = "canary";

fn environment(variable: &str) -> Option<OsString> {
    match variable {
        "SLUICE_GOLDEN_GOOD" => Some("a-canary-value-of-32-bytes-length".into()),
        "SLUICE_GOLDEN_SHORT" => Some("canary".into()),
        _ => None,
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/problems")
}

#[test]
fn all_problems_are_told_at_once_in_these_words() {
    let folder = folder();
    let problems = config::load_with(&folder.join("sluice.toml"), &environment).unwrap_err();
    let text = format!("{problems}\n").replace(&format!("{}/", folder.display()), "");
    assert!(!text.contains(CANARY), "a secret is told:\n{text}");
    assert!(problems.0.len() >= 20, "only {} problems", problems.0.len());
    check_golden(&folder.join("expected.txt"), &text);
}

fn check_golden(path: &Path, actual: &str) {
    if std::env::var_os("SLUICE_ACCEPT").is_some() {
        std::fs::write(path, actual).expect("the golden file can be written");
        return;
    }
    let expected = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        expected == actual,
        "{} differs; SLUICE_ACCEPT=1 accepts this:\n{actual}",
        path.display()
    );
}
