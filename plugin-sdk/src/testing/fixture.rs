//! Fixtures: a request in a file, and what must become of it.
//!
//! A case is a folder `fixtures/<case>/` with `case.toml` and `expected.json`. The same cases run
//! natively ([`Native`]), in the sandbox and against a running gateway: whoever can do one of
//! these implements [`Runner`]. The formats are described in the SDK's README.

mod case;
mod native;
mod observed;
#[cfg(test)]
mod tests;

use std::any::Any;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use serde_json::Value;

pub use case::{Case, FixtureError, Step};
pub use native::Native;
pub use observed::{Masked, Observed};

use super::differences;
use crate::Adapter;

/// Something that can run a case.
pub trait Runner {
    /// Runs `case` once; where [`Case::repeated`], twice, and tells of the second time.
    ///
    /// # Errors
    ///
    /// Where it could not be run, or broke the contract; not where the request was refused.
    fn run(&mut self, case: &Case) -> Result<Observed, String>;
}

/// Runs all cases in `folder` natively and panics with every difference.
///
/// With `BLESS=1` in the environment it writes `expected.json` instead: read the result before
/// you commit it.
///
/// # Panics
///
/// Where a case cannot be read or does not do what it should, or there are none.
pub fn assert_native<A: Adapter>(folder: impl AsRef<Path>) {
    let mut runner = Native::<A>::new();
    let bless = std::env::var_os("BLESS").is_some();
    let mut report = String::new();
    let names = case::names(folder.as_ref());
    let unread = names.as_ref().err().map(ToString::to_string).unwrap_or_default();
    assert!(unread.is_empty(), "{}: {unread}", folder.as_ref().display());
    let names = names.unwrap_or_default();
    assert!(!names.is_empty(), "no fixtures in {}", folder.as_ref().display());
    for name in names {
        let folder = folder.as_ref().join(&name);
        let result = Case::load(&folder).map_err(|error| error.to_string()).and_then(|case| {
            let run = || if bless { write(&case, &mut runner) } else { check(&case, &mut runner) };
            // One case that panics hides no other.
            catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| Err(panicked(&*panic)))
        });
        if let Err(what) = result {
            report.push_str(&format!("{name}:\n{what}\n"));
        }
    }
    assert!(report.is_empty(), "\n{report}");
}

/// What a panic said; where it was stands above the report.
fn panicked(panic: &(dyn Any + Send)) -> String {
    let literal = panic.downcast_ref::<&'static str>().copied();
    let text = literal.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("  it panicked, which is a trap in the sandbox: {}", text.unwrap_or("of no text"))
}

/// Runs `case` and compares with its `expected.json`.
///
/// # Errors
///
/// Every difference, one line each: the JSON path, what was expected, what was got.
pub fn check(case: &Case, runner: &mut impl Runner) -> Result<(), String> {
    let expected = case.expected().map_err(|error| error.to_string())?;
    let observed = runner.run(case)?;
    let (expected, got) = observed.comparable(expected);
    let mut found = differences(&expected, &got);
    if found.is_empty() {
        return Ok(());
    }
    found.extend(observed.detail.map(|detail| format!("it was refused: {detail}")));
    Err(format!("  {}", found.join("\n  ")))
}

fn write(case: &Case, runner: &mut impl Runner) -> Result<(), String> {
    let got = runner.run(case)?.to_json();
    let text = serde_json::to_string_pretty::<Value>(&got).map_err(|error| error.to_string())?;
    fs::write(case.folder.join("expected.json"), text + "\n").map_err(|error| error.to_string())
}
