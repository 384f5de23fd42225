//! Guests that no compiler writes: made of text, with the contract's WIT put into them.

use std::time::Instant;

use serde_json::json;
use sluice::adapter::{Adapter, End, LoadError, Sandbox, SandboxLimits};
use wasmparser::{Parser, Payload};

use super::{configure, hostile, load, receive, trap};

/// The description of these guests, and where it lies in their memory.
const DESCRIPTION: &str = r#"{"name":"low","version":"0.0.1","methods":["POST"]}"#;

/// What a guest is made of; each test changes what it is about.
struct Guest {
    memory: &'static str,
    fields: &'static str,
    realloc: &'static str,
    describe: &'static str,
    configure: &'static str,
    receive: &'static str,
}

impl Default for Guest {
    fn default() -> Self {
        Self {
            memory: "(memory (export \"memory\") 4)",
            fields: "",
            // Hands out memory above 64 KiB, aligned, and never takes any back.
            realloc: "(global.set $top (i32.and (i32.add (global.get $top) (i32.const 7)) \
                        (i32.const -8))) \
                      (global.get $top) \
                      (global.set $top (i32.add (global.get $top) (local.get 3)))",
            describe: "(i32.const 16)",
            configure: "(global.set $configured (i32.add (global.get $configured) (i32.const 1))) \
                        (i32.const 32)",
            // `Err(rejection)` whose status is 400 and the number of times it was configured.
            receive: "(i32.store8 (i32.const 48) (i32.const 1)) \
                      (i32.store16 (i32.const 52) \
                        (i32.add (i32.const 400) (global.get $configured))) \
                      (i32.const 48)",
        }
    }
}

impl Guest {
    fn module(&self) -> Vec<u8> {
        let Self { memory, fields, realloc, describe, configure, receive } = self;
        let text = format!(
            r#"(module
                (import "sluice:adapter/verification@1.0.0" "verify-mac" (func $verify
                    (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))
                {memory}
                (global $top (mut i32) (i32.const 65536))
                (global $configured (mut i32) (i32.const 0))
                (data (i32.const 16) "\00\04\00\00\{length:02x}\00\00\00")
                (data (i32.const 1024) "{description}")
                {fields}
                (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) {realloc})
                (func (export "describe") (result i32) {describe})
                (func (export "configure") (param i32 i32 i32 i32) (result i32) {configure})
                (func (export "receive") (result i32) {receive})
                (func (export "consume") (param i32) (result i32) unreachable)
                (func (export "view") (param i32 i32 i32 i32) (result i32) unreachable))"#,
            length = DESCRIPTION.len(),
            description = DESCRIPTION.replace('"', "\\\""),
        );
        let mut module = wat::parse_str(text).unwrap();
        module.extend(wit_section());
        module
    }

    fn load(&self) -> Result<Adapter, LoadError> {
        let sandbox = Sandbox::new(SandboxLimits::default()).unwrap();
        let plugin = load(&sandbox, &self.module())?;
        configure(&sandbox, &plugin, json!({})).map_err(|error| match error {
            sluice::adapter::ConfigureError::Load(error) => error,
            sluice::adapter::ConfigureError::Problems(problems) => panic!("{problems:?}"),
        })
    }

    #[track_caller]
    fn check_refused(&self, said: &str) {
        let error = self.load().unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }

    /// Runs `receive`, which must trap with a sentence that holds `said`.
    #[track_caller]
    fn check_trap(&self, said: &str) {
        let message = trap(receive(&self.load().unwrap(), "").end);
        assert!(message.contains(said), "{message}");
    }
}

/// The custom section in which the hostile guest carries its WIT, whole.
fn wit_section() -> Vec<u8> {
    let module = hostile();
    for payload in Parser::new(0).parse_all(&module) {
        if let Payload::CustomSection(section) = payload.unwrap()
            && section.name().starts_with("component-type")
        {
            let range = section.range();
            // From the section's id to its end. The reader's range starts after id and length,
            // and the length takes at most five bytes.
            let start = (1..=6)
                .map(|back| range.start - back)
                .find(|start| {
                    module[*start] == 0
                        && leb128(&module[start + 1..range.start]) == Some(range.len())
                })
                .unwrap();
            return module[start..range.end].to_vec();
        }
    }
    panic!("the hostile guest carries no WIT")
}

/// The number that these bytes are, if they are one and no more.
fn leb128(bytes: &[u8]) -> Option<usize> {
    let (last, before) = bytes.split_last()?;
    let whole = last & 0x80 == 0 && before.iter().all(|byte| byte & 0x80 != 0);
    whole.then(|| bytes.iter().rev().fold(0, |sum, byte| sum << 7 | usize::from(byte & 0x7f)))
}

#[track_caller]
fn status(end: End) -> u16 {
    match end {
        End::Rejection(rejection) => rejection.status,
        End::Outcome(_) | End::Trap(_) | End::Deadline => panic!("no rejection: {end:?}"),
    }
}

#[test]
fn an_honest_guest_of_this_make_works() {
    let adapter = Guest::default().load().unwrap();
    assert!(adapter.is_snapshotted());
    for _ in 0..3 {
        assert_eq!(status(receive(&adapter, "").end), 401, "configured once");
    }
}

/// Whoever writes to a table cannot be snapshotted; its calls are configured one by one.
#[test]
fn a_guest_that_cannot_be_snapshotted_is_configured_in_every_call() {
    let guest = Guest {
        fields: "(table 1 funcref) (func $set (table.set (i32.const 0) (ref.null func)))",
        ..Guest::default()
    };
    let adapter = guest.load().unwrap();
    assert!(!adapter.is_snapshotted());
    for _ in 0..3 {
        assert_eq!(status(receive(&adapter, "").end), 401, "once, and from the start");
    }
}

#[test]
fn code_that_spins_before_it_is_called_is_stopped() {
    let spin = "(loop $forever (br $forever)) unreachable";
    let started = Guest {
        fields: "(func $spin (loop $forever (br $forever))) (start $spin)",
        ..Guest::default()
    };
    let reallocating = Guest { realloc: spin, ..Guest::default() };
    let describing = Guest { describe: spin, ..Guest::default() };
    let start = Instant::now();
    started.check_refused("`describe` took too long");
    describing.check_refused("`describe` took too long");
    reallocating.check_refused("`configure` took too long");
    assert!(start.elapsed().as_secs() < 10, "{:?}", start.elapsed());
    let trapping = Guest { fields: "(func $no unreachable) (start $no)", ..Guest::default() };
    trapping.check_refused("`describe` trapped: wasm trap: wasm `unreachable`");
}

#[test]
fn more_memory_or_table_than_there_is_is_refused_before_it_is_taken() {
    let gigabytes = Guest { memory: "(memory (export \"memory\") 65536)", ..Guest::default() };
    gigabytes.check_refused("memory");
    let table = Guest { fields: "(table 10000000 funcref)", ..Guest::default() };
    table.check_refused("table");
    let shared = Guest { memory: "(memory (export \"memory\") 1 1 shared)", ..Guest::default() };
    shared.check_refused("");
    let wide = Guest { fields: "(memory i64 1)", ..Guest::default() };
    wide.check_refused("");
}

#[test]
fn a_table_that_grows_is_stopped_at_its_bound() {
    let guest = Guest {
        fields: "(table $t 1 funcref)",
        receive: "(loop $more \
                    (br_if $more (i32.ne (i32.const -1) \
                      (table.grow $t (ref.null func) (i32.const 1000))))) \
                  (if (i32.gt_u (table.size $t) (i32.const 10000)) (then (loop $no (br $no)))) \
                  unreachable",
        ..Guest::default()
    };
    guest.check_trap("it had been refused more memory");
}

#[test]
fn pointers_that_lead_nowhere_are_traps() {
    for (receive, said) in [
        ("(i32.const -16)", "out of bounds"),
        ("(i32.const 17)", "not aligned"),
        ("(i32.const 262143)", ""),
        // `Err` whose code is 4 GiB long.
        (
            "(i32.store8 (i32.const 48) (i32.const 1)) (i32.store (i32.const 60) (i32.const -1)) \
             (i32.const 48)",
            "out of bounds",
        ),
        // `Err` whose code is not UTF-8.
        (
            "(i32.store8 (i32.const 48) (i32.const 1)) (i32.store (i32.const 56) (i32.const 128)) \
             (i32.store (i32.const 60) (i32.const 4)) (i32.store (i32.const 128) (i32.const -1)) \
             (i32.const 48)",
            "utf-8",
        ),
        // Neither `Ok` nor `Err`.
        ("(i32.store8 (i32.const 48) (i32.const 7)) (i32.const 48)", ""),
        // `Ok` with ten million events.
        ("(i32.store (i32.const 64) (i32.const 10000000)) (i32.const 48)", "out of bounds"),
    ] {
        Guest { receive, ..Guest::default() }.check_trap(said);
    }
    let reallocating = Guest { realloc: "(i32.const -16)", ..Guest::default() };
    reallocating.check_refused("`configure` trapped: ");
}

/// 3,000 parts of one message that are all the same 40 KB: a host that believed them would hold
/// 120 MB.
#[test]
fn one_region_named_many_times_is_charged_every_time() {
    let guest = Guest {
        receive: "(local $at i32) (local.set $at (i32.const 131072)) \
                  (loop $more \
                    (i32.store (local.get $at) (i32.const 256)) \
                    (i32.store offset=4 (local.get $at) (i32.const 5)) \
                    (i32.store offset=8 (local.get $at) (i32.const 65536)) \
                    (i32.store offset=12 (local.get $at) (i32.const 40000)) \
                    (local.set $at (i32.add (local.get $at) (i32.const 24))) \
                    (br_if $more (i32.lt_u (local.get $at) (i32.const 203072)))) \
                  (call $verify (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) \
                    (i32.const 0) (i32.const 0) (i32.const 131072) (i32.const 3000) \
                    (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 512)) \
                  unreachable",
        ..Guest::default()
    };
    guest.check_trap("fuel");
}

#[test]
fn a_description_that_is_none_is_refused() {
    for (describe, said) in [
        ("(i32.const 40)", "`describe` did not return a description: EOF"),
        ("(i32.const -16)", "`describe` trapped"),
        (
            "(i32.store (i32.const 1024) (i32.const 0)) (i32.const 16)",
            "did not return a description",
        ),
        // 2 MiB of what is there.
        (
            "(drop (memory.grow (i32.const 40))) (i32.store (i32.const 20) (i32.const 1500000)) \
             (i32.const 16)",
            "`describe` returned 1500000 bytes; at most 1048576",
        ),
    ] {
        Guest { describe, ..Guest::default() }.check_refused(said);
    }
}
