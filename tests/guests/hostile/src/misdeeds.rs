//! Things that a guest can do with memory, time and imports.

use std::hint::black_box;

use crate::bindings::sluice::adapter::call::{self, IdempotencyKey};
use crate::bindings::sluice::adapter::{inbound, log, state, verification};

/// Does what `word` says. `None`: no such word.
pub(crate) fn commit(word: &str) -> Option<String> {
    match word {
        "spin" => spin(),
        "allocate" => allocate(),
        "allocate-and-return" => return Some(allocate_until_refused().to_string()),
        "recurse" => return Some(recurse(u64::MAX).to_string()),
        "trap" => std::process::abort(),
        "log-flood" => (0..2_000).for_each(|_| log::write("info", "again")),
        "log-volume" => (0..100).for_each(|_| log::write("info", &"x".repeat(16 << 10))),
        "log-controls" => log::write("warn", "a\u{1b}[31mred\r\nforged line\0\u{202e}"),
        "log-level" => log::write("shout", "hello"),
        "call-flood" => (0..1_000_000).for_each(|_| drop(black_box(call::id()))),
        "verdict-flood" => {
            (0..17).for_each(|_| drop(verification::verify_equal("inner", "guess")));
        }
        "verdict-flood-and-hash" => {
            (0..16).for_each(|_| drop(verification::verify_equal("inner", "guess")));
            hash_flood();
        }
        "seen-flood" => (0..2_000).for_each(|n| {
            black_box(call::seen(&key(&n.to_string())));
        }),
        "seen-twice" => {
            let key = key("the same");
            return Some(format!("{} {}", call::seen(&key), call::seen(&key)));
        }
        "hash-flood" => hash_flood(),
        "join-flood" => join_flood("key", "00"),
        "join-flood-unknown" => join_flood("nobody", "00"),
        "join-flood-nothing" => join_flood("key", ""),
        "equal-flood" => {
            let large = "x".repeat(2 << 20);
            (0..15).for_each(|_| drop(verification::verify_equal("inner", &large)));
        }
        "body-flood" => (0..20_000).for_each(|_| drop(black_box(inbound::body()))),
        "ask-inbound" => return Some(inbound::method()),
        "ask-verification" => return Some(verification::verify_header("shared").found),
        "ask-call" => return Some(call::now().to_string()),
        "ask-state" => return Some(ask_state()),
        other if other.starts_with("misask-") => misask(other)?,
        "unknown-algorithm" => {
            verification::verify_mac("key", "crc32", "utf8", &[], "00", "hex");
        }
        "huge-arguments" => {
            verification::verify_equal("inner", &"x".repeat(3 << 20));
        }
        "large-message" => large_message(),
        "cwd" => return Some(format!("{:?}", std::env::current_dir().is_ok())),
        _ => return None,
    }
    Some("survived".to_owned())
}

fn spin() {
    let mut n = 0_u64;
    loop {
        n = black_box(n.wrapping_add(1));
    }
}

/// Takes memory and writes to it, so that it is really there.
fn allocate() {
    let mut taken = Vec::new();
    loop {
        taken.push(black_box(vec![0xa5_u8; 1 << 20]));
    }
}

fn allocate_until_refused() -> usize {
    let mut taken: Vec<Vec<u8>> = Vec::new();
    loop {
        let mut more = Vec::new();
        if more.try_reserve_exact(1 << 20).is_err() {
            return taken.len();
        }
        more.resize(1 << 20, 1);
        taken.push(more);
    }
}

#[expect(unconditional_recursion, reason = "exhausting the stack is the point")]
fn recurse(depth: u64) -> u64 {
    let frame = black_box([depth; 64]);
    recurse(black_box(depth - 1)) + frame.iter().sum::<u64>()
}

/// Asks for a verdict that `describe` does not allow.
fn misask(word: &str) -> Option<()> {
    let verdict = match word {
        "misask-header" => verification::verify_header("nobody"),
        "misask-query" => verification::verify_query("nobody"),
        "misask-equal" => verification::verify_equal("nobody", "x"),
        "misask-mac" => verify_mac("nobody", &[]),
        "misask-signature" => verify_signature("nobody", &[], "00"),
        "misask-header-of-key" => verification::verify_header("key"),
        "misask-query-of-header" => verification::verify_query("shared"),
        "misask-equal-of-header" => verification::verify_equal("shared", "x"),
        "misask-equal-of-key" => verification::verify_equal("key", "x"),
        "misask-mac-of-header" => verify_mac("shared", &[]),
        "misask-mac-of-query" => verify_mac("asked", &[]),
        "misask-signature-of-body" => verify_signature("inner", &[], "00"),
        _ => return None,
    };
    drop(verdict);
    Some(())
}

fn verify_mac(secret: &str, message: &[verification::Part]) -> verification::Verdict {
    verification::verify_mac(secret, "hmac-sha256", "utf8", message, "00", "hex")
}

fn verify_signature(
    secret: &str,
    message: &[verification::Part],
    presented: &str,
) -> verification::Verdict {
    verification::verify_signature(secret, "ed25519", message, presented, "hex")
}

pub(crate) fn body_part() -> verification::Part {
    verification::Part { kind: "body".to_owned(), bytes: Vec::new(), extra: Vec::new() }
}

/// A message that names the body tens of thousands of times, to be put together by the host.
fn join_flood(secret: &str, presented: &str) {
    let message: Vec<_> = (0..20_000).map(|_| body_part()).collect();
    verify_signature(secret, &message, presented);
}

/// A few bytes of message named many times: little memory here, much work there.
fn hash_flood() {
    let message: Vec<_> = (0..2_000).map(|_| body_part()).collect();
    verify_mac("key", &message);
}

/// A message of 3 MiB in pieces, each of which is small.
fn large_message() {
    let part = || {
        let (kind, bytes) = ("bytes".to_owned(), vec![0; 1 << 10]);
        verification::Part { kind, bytes, extra: Vec::new() }
    };
    let message: Vec<_> = (0..3_000).map(|_| part()).collect();
    verify_mac("key", &message);
}

fn ask_state() -> String {
    let told = [
        state::get(b"key").err(),
        state::put(b"key", b"value", None).err(),
        state::delete(b"key").err(),
        state::scan(b"", None, 10, false).err(),
    ];
    let codes: Vec<String> =
        told.into_iter().map(|refusal| refusal.map_or_else(String::new, |r| r.code)).collect();
    codes.join(" ")
}

pub(crate) fn key(value: &str) -> IdempotencyKey {
    IdempotencyKey {
        value: value.to_owned(),
        scope: "route".to_owned(),
        window_seconds: 3_600,
        extra: Vec::new(),
    }
}
