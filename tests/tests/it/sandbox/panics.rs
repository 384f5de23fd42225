//! A panic of an adapter, told by its place.

use std::sync::Arc;

use sluice::adapter::Receive as _;
use sluice_tests::sandbox::Kept;

use super::state::{adapter, call};
use super::trap;

fn panicked(body: &str) -> String {
    trap(adapter().receive(call(Arc::new(Kept::default()), body)).end)
}

#[test]
fn a_panic_is_a_trap_that_says_where_it_was_and_nothing_that_was_received() {
    let asked = panicked("panic");
    assert!(asked.contains("wasm `unreachable` instruction executed; its last error: "), "{asked}");
    let (_, place) = asked.split_once("panicked at ").unwrap_or_else(|| panic!("{asked}"));
    let (file, place) = place.split_once(".rs:").unwrap_or_else(|| panic!("{asked}"));
    assert!(file.ends_with("keeper/src/lib"), "{asked}");
    assert!(place.ends_with(": as asked"), "{asked}");

    // A message that is put together may hold what the provider sent.
    let quoting = panicked("panic 4711");
    assert!(quoting.contains("keeper/src/lib.rs:"), "{quoting}");
    assert!(!quoting.contains("4711"), "{quoting}");
}
