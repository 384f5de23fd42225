//! What the guide tells an author to write is what works: its Rust is compiled and run as examples of
//! the documentation, the rest is held to what it stands for here.

use std::fs;

use toml::{Table, Value};

use super::fields;
use super::fixture::Case;
use crate::{
    Adapter, Answer, Description, Event, Inbound, Loose, Money, Outcome, Reader, Rejection,
};

const README: &str = include_str!("../../README.md");
const FOLDER: &str = env!("CARGO_MANIFEST_DIR");

/// The block of TOML with this line in it.
fn block(line: &str) -> &'static str {
    let blocks = README.split("```toml\n").skip(1).filter_map(|rest| rest.split_once("```"));
    let mut found = blocks.map(|(block, _)| block).filter(|block| block.lines().any(|l| l == line));
    found.next().unwrap_or_else(|| panic!("no block has the line `{line}`"))
}

fn workspace() -> Table {
    fs::read_to_string(format!("{FOLDER}/../Cargo.toml")).unwrap().parse().unwrap()
}

#[test]
fn the_guides_crate_is_built_as_the_bundled_ones_are() {
    let manifest: Table = block("[package]").parse().unwrap();
    let (own, workspace) = (&manifest["profile"]["plugin"], workspace());
    let ours = workspace["profile"]["plugin"].as_table().unwrap();
    let of_packages = |(key, _): &(&String, &Value)| key.as_str() != "package";
    let ours: Table =
        ours.iter().filter(of_packages).map(|(key, value)| (key.clone(), value.clone())).collect();
    assert_eq!(own.as_table(), Some(&ours));
    assert_eq!(manifest["package"]["edition"], workspace["workspace"]["package"]["edition"]);

    // Nothing of it is inherited: it lies outside of the workspace.
    assert!(!block("[package]").contains("workspace"));
    let versions = &workspace["workspace"]["dependencies"];
    for name in ["schemars", "serde"] {
        let version = |of: &Value| of.get("version").unwrap_or(of).clone();
        let (own, ours) = (&manifest["dependencies"][name], &versions[name]);
        assert_eq!(version(own), version(ours), "{name}");
    }
    let path = manifest["dependencies"]["plugin-sdk"]["path"].as_str().unwrap();
    assert!(path.ends_with("/plugin-sdk"), "{path}");
    let rust = workspace["workspace"]["package"]["rust-version"].as_str().unwrap();
    assert!(README.contains(&format!("Rust {rust} or newer")), "{rust}");
}

#[test]
fn the_guides_case_is_one() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("case.toml"), block("summary = \"An order is paid\"")).unwrap();
    let case = Case::load(folder.path()).unwrap();
    assert_eq!(case.request.header("x-shop-secret").collect::<Vec<_>>(), ["s3cret"]);
    assert_eq!(case.secrets["secret"], ["s3cret"]);
    assert!(case.is_portable());
}

/// What the guide's shop does with an amount.
struct Shop;

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct NoSettings {}

#[derive(serde::Deserialize)]
struct Payload<'a> {
    #[serde(borrow)]
    amount: Loose<'a>,
}

#[derive(serde::Serialize, schemars::JsonSchema)]
struct Data<'a> {
    amount: Option<Money<'a>>,
}

impl Adapter for Shop {
    type Settings = NoSettings;

    fn describe() -> Description {
        Description::new("shop", "1.0.0", "").event::<Data<'static>>("com.example.shop.paid", "")
    }

    fn receive(_: &NoSettings, inbound: &Inbound) -> Result<Outcome, Rejection> {
        let document = inbound.json::<Payload<'_>>()?;
        let amount = Reader::new().money("amount", document.value.amount, Some("EUR"));
        let event = Event::new("com.example.shop.paid", &Data { amount })?;
        Ok(Outcome::accepted(Answer::empty(200)).event(event))
    }
}

#[test]
fn the_guides_fields_are_carried() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("fields.toml");
    let text = block("[[fields]]");
    fs::write(&file, text).unwrap();
    fields::assert_carried::<Shop>(&file);
    // It can fail.
    fs::write(&file, text.replace("325", "326")).unwrap();
    assert!(std::panic::catch_unwind(|| fields::assert_carried::<Shop>(&file)).is_err());
}

/// Every key of a case is in its table.
#[test]
fn every_key_of_a_case_is_documented() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("case.toml"), "no_such_key = 1").unwrap();
    let told = Case::load(folder.path()).unwrap_err().to_string();
    let (_, keys) = told.split_once("expected one of ").unwrap();
    let (_, table) = README.split_once("`case.toml`:\n\n| key |").unwrap();
    let (table, _) = table.split_once("\n\n").unwrap();
    for key in keys.trim().split(", ") {
        let key = key.trim_matches('`');
        let written = [format!("`{key}`"), format!("`[{key}]`"), format!("`[[{key}]]`")];
        let assigned = format!("`{key} = ");
        let is_there = written.iter().any(|each| table.contains(each)) || table.contains(&assigned);
        assert!(is_there, "`{key}` is not in the table");
    }
}
