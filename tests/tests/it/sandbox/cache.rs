//! The compilation cache: fast when it is whole, and never believed when it is not.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::{Value, json};
use sluice::adapter::{Adapter, CacheCounts, Sandbox, SandboxLimits};
use tempfile::TempDir;

use super::{answer, configure, hostile, load, receive};

fn start(cache: &Path) -> Sandbox {
    let limits = SandboxLimits { cache: Some(cache.to_owned()), ..SandboxLimits::default() };
    Sandbox::new(limits).unwrap()
}

/// Starts a sandbox with that cache and brings the adapter up.
fn bring_up(cache: &Path, settings: Value) -> (Adapter, CacheCounts) {
    let sandbox = start(cache);
    let plugin = load(&sandbox, &hostile()).unwrap();
    let adapter = configure(&sandbox, &plugin, settings).unwrap();
    (adapter, sandbox.cache_counts())
}

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    (folder, cache)
}

fn entries(cache: &Path) -> Vec<PathBuf> {
    fs::read_dir(cache)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap() != "key")
        .collect()
}

#[test]
fn a_warm_start_neither_compiles_nor_runs_anything() {
    let (_folder, cache) = folder();
    let (cold, counts) = bring_up(&cache, json!({ "a": 1 }));
    assert_eq!(counts, CacheCounts { hits: 0, misses: 2, refused: 0 });
    let cold_says = answer(receive(&cold, "settings").end);

    let start = Instant::now();
    let (warm, counts) = bring_up(&cache, json!({ "a": 1 }));
    let took = start.elapsed();
    assert_eq!(counts, CacheCounts { hits: 2, misses: 0, refused: 0 });
    // Some 5 ms when nothing else runs; compiling takes many times that.
    assert!(took.as_millis() < 150, "{took:?}");
    assert!(warm.is_snapshotted());
    assert_eq!(answer(receive(&warm, "settings").end), cold_says);
    assert_eq!(answer(receive(&warm, "count").end), "1 0 0");
}

#[test]
fn other_settings_another_memory_or_another_component_are_other_entries() {
    let (_folder, cache) = folder();
    bring_up(&cache, json!({ "a": 1 }));
    let (adapter, counts) = bring_up(&cache, json!({ "a": 2 }));
    assert_eq!(counts, CacheCounts { hits: 1, misses: 1, refused: 0 }, "described, not configured");
    assert!(answer(receive(&adapter, "settings").end).contains("\"a\":2"));

    let limits =
        SandboxLimits { cache: Some(cache.clone()), memory: 8 << 20, ..SandboxLimits::default() };
    let sandbox = Sandbox::new(limits).unwrap();
    load(&sandbox, &hostile()).unwrap();
    assert_eq!(sandbox.cache_counts(), CacheCounts { hits: 0, misses: 1, refused: 0 });

    // A custom section more: the same code in another file.
    let mut other = hostile();
    other.extend([0, 2, 1, b'x']);
    let sandbox = start(&cache);
    load(&sandbox, &other).unwrap();
    assert_eq!(sandbox.cache_counts(), CacheCounts { hits: 0, misses: 1, refused: 0 });
}

#[test]
fn tampered_code_is_never_loaded_and_the_adapter_comes_up_all_the_same() {
    let (_folder, cache) = folder();
    bring_up(&cache, json!({}));
    let entries = entries(&cache);
    assert_eq!(entries.len(), 2);
    let originals: Vec<Vec<u8>> = entries.iter().map(|path| fs::read(path).unwrap()).collect();

    // Every entry damaged at once; a start must compile, serve, and mend both.
    for (path, original) in entries.iter().zip(&originals) {
        let mut forged = original.clone();
        let middle = forged.len() / 2;
        forged[middle] ^= 1;
        fs::write(path, forged).unwrap();
    }
    let (adapter, counts) = bring_up(&cache, json!({}));
    assert_eq!(counts, CacheCounts { hits: 0, misses: 0, refused: 2 });
    assert_eq!(answer(receive(&adapter, "count").end), "1 0 0");
    let (_, counts) = bring_up(&cache, json!({}));
    assert_eq!(counts, CacheCounts { hits: 2, misses: 0, refused: 0 }, "mended");
}

/// Raw, the engine loads most files with a flipped bit. Every bit of an entry is tried where the
/// cache is tested by itself; these are the places that matter to whoever loads it.
#[test]
fn a_flipped_bit_anywhere_is_refused_and_compiled_anew() {
    let (_folder, cache) = folder();
    bring_up(&cache, json!({}));
    let is_code = |path: &&PathBuf| fs::metadata(path).unwrap().len() > 100_000;
    let code = entries(&cache).iter().find(is_code).unwrap().clone();
    let original = fs::read(&code).unwrap();
    // Magic, authentication code, kind, header and text of the compiled code, its end.
    for place in [0, 8, 40, 41, 60, original.len() / 2, original.len() - 1] {
        let mut forged = original.clone();
        forged[place] ^= 0x10;
        fs::write(&code, &forged).unwrap();
        let (adapter, counts) = bring_up(&cache, json!({}));
        assert_eq!(counts, CacheCounts { hits: 1, misses: 0, refused: 1 }, "byte {place}");
        assert_eq!(answer(receive(&adapter, "count").end), "1 0 0");
        assert_ne!(fs::read(&code).unwrap(), forged, "it was mended");
    }
}
