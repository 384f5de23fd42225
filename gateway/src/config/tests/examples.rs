//! What `config/` ships is right.

use super::*;

/// Copies a configuration, makes the secret files that it names, and loads it.
fn load_example(example: &Path) -> (tempfile::TempDir, Result<Config, Problems>) {
    let folder = tempfile::tempdir().unwrap();
    let source = example.parent().unwrap();
    // A folder whose files are included may have none yet.
    for entry in fs::read_dir(source).unwrap().map(Result::unwrap) {
        if entry.path().is_dir() {
            fs::create_dir_all(folder.path().join(entry.file_name())).unwrap();
        }
    }
    let mut texts = Vec::new();
    for file in toml_files(source) {
        let text = fs::read_to_string(&file).unwrap();
        let copy = folder.path().join(file.strip_prefix(source).unwrap());
        fs::create_dir_all(copy.parent().unwrap()).unwrap();
        fs::write(&copy, &text).unwrap();
        texts.push((copy, text));
    }
    for (copy, text) in texts {
        let table: toml::Table = text.parse().unwrap();
        let listeners = table.get("ingest").and_then(|ingest| ingest.get("listeners"));
        let listeners = listeners.and_then(toml::Value::as_table).into_iter().flatten();
        for (_, listener) in listeners.filter(|(_, each)| each.get("certificate").is_some()) {
            let made = rcgen::generate_simple_self_signed(["a.example".to_owned()]).unwrap();
            for (key, pem) in
                [("certificate", made.cert.pem()), ("key", made.signing_key.serialize_pem())]
            {
                let path = copy.parent().unwrap().join(listener[key].as_str().unwrap());
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(&path, pem).unwrap();
                fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            }
        }
        let secrets = table.get("secrets").and_then(toml::Value::as_table).into_iter().flatten();
        for file in secrets.filter_map(|(_, secret)| secret.get("file")?.as_str()) {
            let path = copy.parent().unwrap().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, VALUE).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        }
    }
    let config = load_with(&folder.path().join(example.file_name().unwrap()), &environment);
    (folder, config)
}

fn toml_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(toml_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "toml") {
            files.push(path);
        }
    }
    files.sort();
    files
}

#[test]
fn every_example_loads() {
    let config_folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config");
    let examples = toml_files(&config_folder.join("examples"));
    let is_included = |path: &&PathBuf| path.parent().unwrap().ends_with("routes");
    let mains = examples.iter().filter(|path| !is_included(path));
    let mut count = 0;
    for main in mains.chain([&config_folder.join("sluice.toml")]) {
        let (_folder, config) = load_example(main);
        let config = config.unwrap_or_else(|problems| panic!("{}:\n{problems}", main.display()));
        assert!(!config.routes.is_empty(), "{}", main.display());
        count += config.files.len();
    }
    assert_eq!(count, examples.len() + 1, "a file under config/ is in no configuration");
}
