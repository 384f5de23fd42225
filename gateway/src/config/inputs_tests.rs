use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::*;

struct Bench {
    folder: tempfile::TempDir,
    inputs: Inputs,
}

impl Bench {
    /// A main file, a secret that is not there yet, and a folder of included files.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("routes")).unwrap();
        fs::write(at("sluice.toml"), "a").unwrap();
        let mut inputs = Inputs::of_main(&at("sluice.toml"));
        inputs.add_file(&at("secret"));
        inputs.add_pattern(&at("routes"), "*.toml");
        Self { folder, inputs }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Whether `change` changes what each look sees.
    fn sees(&self, change: impl FnOnce(&Self)) -> [bool; 2] {
        let look = || [Look::Bytes, Look::Stamps].map(|look| self.inputs.fingerprint(look));
        let before = look();
        assert_eq!(before, look(), "looking changes nothing");
        change(self);
        let after = look();
        [before[0] != after[0], before[1] != after[1]]
    }
}

#[test]
fn every_kind_of_change_to_an_input_is_seen_and_nothing_else() {
    let bench = Bench::new();
    let write = |name: &'static str, text: &'static str| {
        move |bench: &Bench| fs::write(bench.at(name), text).unwrap()
    };
    assert_eq!(bench.sees(|_| ()), [false, false]);
    assert_eq!(bench.sees(write("sluice.toml", "longer")), [true, true]);
    assert_eq!(bench.sees(write("secret", "s")), [true, true], "a missing file appears");
    assert_eq!(bench.sees(write("routes/a.toml", "")), [true, true], "a file of the pattern");
    assert_eq!(bench.sees(write("routes/a.txt", "")), [false, false], "another file");
    assert_eq!(bench.sees(write("routes/.a.toml", "")), [false, false], "a hidden file");
    assert_eq!(bench.sees(write("other.toml", "")), [false, false], "another folder's file");
    let remove = |bench: &Bench| fs::remove_file(bench.at("routes/a.toml")).unwrap();
    assert_eq!(bench.sees(remove), [true, true]);
    let rename = |bench: &Bench| {
        fs::write(bench.at("new"), "other!").unwrap();
        fs::rename(bench.at("new"), bench.at("sluice.toml")).unwrap();
    };
    assert_eq!(bench.sees(rename), [true, true], "replaced by a file of equal length");
}

#[test]
fn who_may_read_a_file_counts_and_when_it_was_touched_does_not() {
    let bench = Bench::new();
    let mode = |mode: u32| {
        move |bench: &Bench| {
            let mode = fs::Permissions::from_mode(mode);
            fs::set_permissions(bench.at("sluice.toml"), mode).unwrap();
        }
    };
    assert!(bench.sees(mode(0o600))[0]);
    let touch = |bench: &Bench| {
        let file = OpenOptions::new().write(true).open(bench.at("sluice.toml")).unwrap();
        file.set_modified(std::time::UNIX_EPOCH).unwrap();
    };
    assert_eq!(bench.sees(touch), [false, true]);
}

#[test]
fn a_pipe_and_a_folder_in_a_files_place_are_looked_at_without_waiting() {
    let bench = Bench::new();
    let secret = bench.at("secret");
    let made = std::process::Command::new("mkfifo").arg(&secret).status().unwrap();
    assert!(made.success());
    let piped = bench.inputs.fingerprint(Look::Bytes);
    assert_eq!(piped, bench.inputs.fingerprint(Look::Bytes));
    fs::remove_file(&secret).unwrap();
    assert!(bench.sees(|bench| fs::create_dir(bench.at("secret")).unwrap())[0]);
}

#[test]
fn the_links_of_a_mounted_config_map_are_followed_and_watched() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for (version, text) in [("..1", "one"), ("..2", "two")] {
        fs::create_dir(at(version)).unwrap();
        fs::write(at(version).join("sluice.toml"), text).unwrap();
    }
    symlink("..1", at("..data")).unwrap();
    symlink("..data/sluice.toml", at("sluice.toml")).unwrap();
    let inputs = Inputs::of_main(&at("sluice.toml"));
    let before = inputs.fingerprint(Look::Bytes);
    let watched = inputs.watched();
    for entry in ["sluice.toml", "..data", "..1/sluice.toml"] {
        assert!(watched.concerns(&at(entry)), "{entry}");
    }
    assert!(!watched.concerns(&at("..2/sluice.toml")));
    let folders = watched.folders();
    assert!(
        folders.contains(folder.path()) && folders.iter().any(|folder| folder.ends_with("..1"))
    );

    symlink("..2", at("..data_tmp")).unwrap();
    fs::rename(at("..data_tmp"), at("..data")).unwrap();
    assert_ne!(inputs.fingerprint(Look::Bytes), before);
    assert!(inputs.watched().concerns(&at("..2/sluice.toml")));
}

#[test]
fn an_entry_that_a_pattern_may_name_is_watched_before_it_is_there() {
    let bench = Bench::new();
    let watched = bench.inputs.watched();
    for (name, expected) in [
        ("sluice.toml", true),
        ("secret", true),
        ("routes", true),
        ("routes/new.toml", true),
        ("routes/.new.toml", false),
        ("routes/new.txt", false),
        ("new.toml", false),
        ("sluice.db", false),
    ] {
        assert_eq!(watched.concerns(&bench.at(name)), expected, "{name}");
    }
    let folders = BTreeSet::from([bench.folder.path().to_owned(), bench.at("routes")]);
    assert_eq!(watched.folders(), folders);
}

#[test]
fn a_loop_of_links_ends() {
    let folder = tempfile::tempdir().unwrap();
    symlink("b", folder.path().join("a")).unwrap();
    symlink("a", folder.path().join("b")).unwrap();
    let inputs = Inputs::of_main(&folder.path().join("a"));
    assert_eq!(inputs.fingerprint(Look::Bytes), inputs.fingerprint(Look::Bytes));
    assert!(inputs.watched().concerns(&folder.path().join("b")));
}

#[test]
fn a_folder_that_a_link_leads_to_is_watched_by_one_name() {
    let bench = Bench::new();
    fs::write(bench.at("routes/a.toml"), "").unwrap();
    symlink("routes", bench.at("linked")).unwrap();
    let mut inputs = Inputs::default();
    inputs.add_pattern(&bench.at("linked"), "*.toml");
    let watched = inputs.watched();
    let folders = BTreeSet::from([bench.folder.path().to_owned(), bench.at("routes")]);
    assert_eq!(watched.folders(), folders);
    for name in ["linked", "routes/a.toml", "routes/new.toml"] {
        assert!(watched.concerns(&bench.at(name)), "{name}");
    }
}

#[test]
fn a_relative_path_is_watched_by_its_absolute_name() {
    let here = std::env::current_dir().unwrap();
    for main in ["no-such-file.toml", "./no-such-file.toml", "no-folder/no-such-file.toml"] {
        let mut inputs = Inputs::of_main(Path::new(main));
        let folder = Path::new(main).parent().unwrap();
        inputs.add_pattern(folder, "*.wasm");
        let watched = inputs.watched();
        assert!(watched.folders().contains(&here.join(folder)), "{main}: {watched:?}");
        assert!(watched.folders().iter().all(|folder| folder.is_absolute()), "{watched:?}");
        assert!(watched.concerns(&here.join(main)), "{main}: {watched:?}");
        assert!(watched.concerns(&here.join(folder).join("new.wasm")), "{main}: {watched:?}");
    }
}
