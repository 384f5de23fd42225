//! What is not loaded, and the sentence that says why.

use sluice::adapter::{Sandbox, SandboxLimits};

use super::{hostile, load, shared};

#[track_caller]
fn check(bytes: &[u8], said: &str) {
    let error = load(&shared().sandbox, bytes).unwrap_err().to_string();
    assert!(error.starts_with("plugin `hostile`: "), "{error}");
    assert!(error.contains(said), "{error}");
    assert!(error.len() < 1_024 && !error.contains('\n'), "{error}");
}

fn component(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}

/// The hostile guest with every `from` in it replaced by a `to` of the same length.
fn replaced(from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut bytes = hostile();
    let places: Vec<usize> = bytes
        .windows(from.len())
        .enumerate()
        .filter(|(_, window)| *window == from.as_bytes())
        .map(|(place, _)| place)
        .collect();
    assert!(!places.is_empty(), "`{from}` is not in the guest");
    for place in places {
        bytes[place..place + to.len()].copy_from_slice(to.as_bytes());
    }
    bytes
}

#[test]
fn what_is_no_component_is_refused_for_what_it_is() {
    check(b"", "it is not WebAssembly");
    check(b"PK\x03\x04 a zip", "it is not WebAssembly");
    check(b"\x7fELF", "it is not WebAssembly; a Rust plugin is built for wasm32-unknown-unknown");
    check(&component("(module)"), "it is a core module without its WIT: a Rust plugin");
    check(&component("(module)"), "from `register_adapter!`, which may be missing");
    check(&component("(component)"), "it does not export the function `describe`");
    let cut = hostile();
    check(&cut[..cut.len() / 2], "it is not valid WebAssembly");
}

#[test]
fn an_import_outside_the_contract_is_refused_by_name_with_what_to_do() {
    check(
        &component(r#"(component (import "wasi:cli/environment@0.2.6" (instance)))"#),
        "it imports `wasi:cli/environment@0.2.6`, and an adapter has no system to call; build Rust \
         for wasm32-unknown-unknown",
    );
    check(
        &component(r#"(component (import "acme:cache/store@2.0.0" (instance)))"#),
        "it imports `acme:cache/store@2.0.0`; an adapter imports nothing but",
    );
    check(
        &component(r#"(component (import "sluice:adapter/network@1.0.0" (instance)))"#),
        "it imports `sluice:adapter/network@1.0.0`, which adapter API 1.0 does not have",
    );
    check(&component(r#"(component (import "print" (func)))"#), "it imports `print`;");
    // As cargo leaves it for `wasm32-wasip1`.
    check(
        &component(
            r#"(module
                (import "wasi_snapshot_preview1" "random_get" (func (param i32 i32) (result i32)))
                (@custom "component-type" "of the SDK"))"#,
        ),
        "it was built for a system (WASI), and an adapter has none to call; build Rust for \
         wasm32-unknown-unknown",
    );
    // A function that the interface does not have.
    check(&replaced("client-address", "client-addresz"), "client-addresz");
}

#[test]
fn a_missing_export_is_named() {
    check(
        &component(r#"(component (import "sluice:adapter/types@1.0.0" (instance)))"#),
        "it does not export the function `describe`; an adapter exports `describe`, `configure`, \
         `receive`, `consume`, `view`",
    );
}

#[test]
fn another_version_of_the_contract_is_refused_with_both_versions() {
    for (version, said) in [
        ("@1.2.0", "built for adapter API 1.2; this gateway supports 1.0 to 1.0"),
        ("@2.0.0", "built for adapter API 2.0; this gateway supports 1.0 to 1.0"),
        ("@0.9.0", "built for adapter API 0.9; this gateway supports 1.0 to 1.0"),
    ] {
        check(&replaced("@1.0.0", version), said);
    }
    // The control: another patch of the same version is the same contract.
    load(&shared().sandbox, &replaced("@1.0.0", "@1.0.7")).unwrap();
}

#[test]
fn a_file_beyond_the_size_cap_is_refused_before_it_is_read() {
    let limits = SandboxLimits { component_bytes_max: 1_000, ..SandboxLimits::default() };
    let sandbox = Sandbox::new(limits).unwrap();
    let error = load(&sandbox, &vec![0; 1_001]).unwrap_err().to_string();
    assert_eq!(error, "plugin `hostile`: 1001 bytes; at most 1000 are loaded (`plugins.size_max`)");
    assert!(load(&sandbox, &[0; 1_000]).unwrap_err().to_string().contains("not WebAssembly"));
}

/// A component that arrives as one, not as a core module, is the same plugin.
#[test]
fn a_ready_component_loads_and_is_the_same_plugin() {
    let component = wit_component::ComponentEncoder::default()
        .module(&hostile())
        .and_then(|mut encoder| encoder.encode())
        .unwrap();
    let plugin = load(&shared().sandbox, &component).unwrap();
    assert_eq!(plugin.version.version, "1.2.3");
    assert_eq!(plugin.description.name, shared().plugin.description.name);
    assert_ne!(plugin.version.digest, shared().plugin.version.digest, "another file");
}

/// Whatever a damaged file becomes, it is refused or runs in the sandbox: nothing panics.
#[test]
fn damaged_files_are_refused_or_contained() {
    let whole = hostile();
    let mut refused = 0;
    for step in 0..150 {
        // Spread over the file, every bit of a byte in turn.
        let mut damaged = whole.clone();
        damaged[step * (whole.len() / 150)] ^= 1 << (step % 8);
        refused += usize::from(load(&shared().sandbox, &damaged).is_err());
    }
    assert!(refused > 0);
}
