use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use tempfile::TempDir;

use super::*;

fn name(text: &str) -> Name {
    Name(hex::encode(digest::digest(&digest::SHA256, text.as_bytes())))
}

fn opened(folder: &TempDir) -> Cache {
    Cache::open(Some(&folder.path().join("cache"))).unwrap()
}

fn path(folder: &TempDir, name: &Name) -> std::path::PathBuf {
    folder.path().join("cache").join(&name.0)
}

fn read(cache: &Cache, name: &Name) -> Option<Vec<u8>> {
    cache.read(name).map(|entry| entry.bytes().to_vec())
}

#[test]
fn what_was_written_is_read_again_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let name = name("a");
    let cache = opened(&folder);
    assert_eq!(read(&cache, &name), None);
    cache.write(&name, b"payload");
    assert_eq!(read(&cache, &name).unwrap(), b"payload");
    assert_eq!(cache.counts(), CacheCounts { hits: 1, misses: 1, refused: 0 });
    assert_eq!(read(&opened(&folder), &name).unwrap(), b"payload");
}

#[test]
fn every_flipped_bit_and_every_cut_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let name = name("a");
    let cache = opened(&folder);
    cache.write(&name, b"some compiled code");
    let path = path(&folder, &name);
    let written = fs::read(&path).unwrap();
    for bit in 0..written.len() * 8 {
        let mut forged = written.clone();
        forged[bit / 8] ^= 1 << (bit % 8);
        fs::write(&path, forged).unwrap();
        assert_eq!(read(&cache, &name), None, "bit {bit}");
    }
    for length in 0..written.len() {
        fs::write(&path, &written[..length]).unwrap();
        assert_eq!(read(&cache, &name), None, "length {length}");
    }
    let refused = u64::try_from(written.len() * 9).unwrap();
    assert_eq!(cache.counts(), CacheCounts { hits: 0, misses: 0, refused });
    fs::write(&path, written).unwrap();
    assert!(read(&cache, &name).is_some(), "the control: unchanged, it is believed");
}

#[test]
fn an_entry_under_another_name_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let cache = opened(&folder);
    let (one, other) = (name("a"), name("b"));
    cache.write(&one, b"payload");
    fs::rename(path(&folder, &one), path(&folder, &other)).unwrap();
    assert_eq!(read(&cache, &other), None);
    assert_eq!(cache.counts().refused, 1);
}

#[test]
fn an_entry_of_another_installation_is_refused() {
    let (mine, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let name = name("a");
    opened(&theirs).write(&name, b"payload");
    let cache = opened(&mine);
    fs::copy(path(&theirs, &name), path(&mine, &name)).unwrap();
    assert_eq!(read(&cache, &name), None);
    assert_eq!(cache.counts().refused, 1);
}

#[test]
fn links_folders_fifos_and_files_open_to_others_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let name = name("a");
    let cache = opened(&folder);
    cache.write(&name, b"payload");
    let path = path(&folder, &name);

    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    assert_eq!(read(&cache, &name), None, "readable by the group");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    assert!(read(&cache, &name).is_some());

    let aside = folder.path().join("aside");
    fs::rename(&path, &aside).unwrap();
    symlink(&aside, &path).unwrap();
    assert_eq!(read(&cache, &name), None, "a link to the very file");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert_eq!(read(&cache, &name), None, "a folder");
    assert_eq!(cache.counts().refused, 3);
}

#[test]
fn folder_and_files_are_the_owners_alone() {
    let folder = tempfile::tempdir().unwrap();
    let cache_folder = folder.path().join("cache");
    fs::create_dir(&cache_folder).unwrap();
    fs::set_permissions(&cache_folder, fs::Permissions::from_mode(0o755)).unwrap();
    let name = name("a");
    opened(&folder).write(&name, b"payload");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&cache_folder), 0o700);
    assert_eq!(mode(&cache_folder.join("key")), 0o600);
    assert_eq!(mode(&path(&folder, &name)), 0o600);
}

#[test]
fn a_key_that_others_could_read_is_replaced_and_its_entries_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let name = name("a");
    opened(&folder).write(&name, b"payload");
    let key = folder.path().join("cache/key");
    let before = fs::read(&key).unwrap();
    for spoil in ["mode", "length"] {
        match spoil {
            "mode" => fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap(),
            _ => fs::write(&key, b"short").unwrap(),
        }
        let cache = opened(&folder);
        assert_ne!(fs::read(&key).unwrap(), before, "{spoil}");
        assert_eq!(read(&cache, &name), None, "{spoil}");
        assert_eq!(cache.counts().refused, 1, "{spoil}");
    }
}

/// Names that an interrupted write leaves.
fn left(folder: &Path) -> [std::path::PathBuf; 3] {
    [name("a").0.as_str(), "key", "probe"]
        .map(|name| folder.join(format!("{name}.0123456789abcdef.partial")))
}

#[test]
fn what_an_interrupted_write_left_is_removed_at_the_next_start_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    drop(opened(&folder));
    let cache = folder.path().join("cache");
    let others = ["film.mkv.partial", "film.0123456789abcdef.partial", "0011.partial"];
    let others = others.map(|name| cache.join(name));
    for file in left(&cache).iter().chain(&others) {
        fs::write(file, b"half").unwrap();
    }
    drop(opened(&folder));
    assert_eq!(left(&cache).map(|file| file.exists()), [false; 3]);
    assert_eq!(others.map(|file| file.exists()), [true; 3]);
}

#[test]
fn nothing_is_removed_from_a_folder_that_cannot_be_used() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    fs::create_dir(&cache).unwrap();
    for file in left(&cache) {
        fs::write(file, b"half").unwrap();
    }
    // No key can be made where a folder has its name.
    fs::create_dir(cache.join("key")).unwrap();
    assert!(Cache::open(Some(&cache)).is_err());
    assert_eq!(left(&cache).map(|file| file.exists()), [true; 3]);
}

#[test]
fn the_folder_is_bounded_and_the_oldest_goes_first() {
    let folder = tempfile::tempdir().unwrap();
    let cache = opened(&folder);
    let first = name("first");
    cache.write(&first, b"x");
    let old = std::time::SystemTime::UNIX_EPOCH;
    let strange = folder.path().join("cache/strange");
    fs::write(&strange, b"not ours").unwrap();
    fs::File::open(&strange).unwrap().set_modified(old).unwrap();
    fs::File::open(path(&folder, &first)).unwrap().set_modified(old).unwrap();
    for index in 0..256 {
        cache.write(&name(&index.to_string()), b"x");
    }
    assert_eq!(read(&cache, &first), None);
    assert!(read(&cache, &name("255")).is_some());
    let files = fs::read_dir(folder.path().join("cache")).unwrap().count();
    assert_eq!(files, 258, "256 entries, the key, and what is not ours");
    assert!(strange.exists());
}

#[test]
fn a_cache_that_cannot_be_used_is_an_error_and_none_at_all_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, b"").unwrap();
    let error = Cache::open(Some(&file)).unwrap_err();
    assert!(error.to_string().contains("cannot be used"), "{error:#}");
    let none = Cache::open(None).unwrap();
    none.write(&name("a"), b"payload");
    assert!(none.read(&name("a")).is_none() && !none.is_kept());
}
