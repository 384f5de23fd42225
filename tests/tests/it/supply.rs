//! What the gateway is built from.

use sluice_tests::artifacts::workspace;

/// What must be in no program of this workspace, and why.
const BANNED: [(&str, &str); 8] = [
    ("wasmtime-wasi", "adapters get no WASI"),
    ("wasmtime-wasi-http", "adapters get no WASI"),
    ("wasmtime-wasi-io", "adapters get no WASI"),
    ("wasi-common", "adapters get no WASI"),
    ("wasmtime-internal-winch", "one compiler, the one that is tested"),
    ("openssl-sys", "TLS is rustls"),
    ("native-tls", "TLS is rustls"),
    ("aws-lc-rs", "ring is the one cryptography provider"),
];

#[test]
fn nothing_banned_is_in_the_lock_file() {
    let lock = std::fs::read_to_string(workspace().join("Cargo.lock")).unwrap();
    let locked = |name: &str| lock.contains(&format!("name = \"{name}\"\n"));
    // The control: a name that is there is found.
    assert!(locked("wasmtime"));
    for (name, reason) in BANNED {
        assert!(!locked(name), "`{name}` is in Cargo.lock: {reason}");
    }
}
