//! The command line, against a running gateway and against wrong configurations.

use std::process::Output;

use sluice_tests::provider::vkyc_payload;
use sluice_tests::{Gateway, Home, HomeBuilder};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn vkyc_home() -> Home {
    HomeBuilder::new().vkyc(&["events"]).unwrap().events_file().build().unwrap()
}

/// Asks a gateway that bound port 0: by address and token instead of by configuration.
fn requests(home: &Home, gateway: &Gateway, arguments: &[&str]) -> Output {
    let admin = format!("http://{}/", gateway.admin());
    let mut all = vec!["requests"];
    all.extend(arguments);
    all.extend(["--admin", &admin, "--token-file", "secrets/admin-token"]);
    home.sluice(&all).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_listed_and_shown_refused_ones_included() {
    let home = vkyc_home();
    let gateway = home.start().await.unwrap();
    gateway.post_vkyc(vkyc_payload("trn:vkyc:cli")).await.unwrap();
    gateway.post_vkyc("{").await.unwrap();

    let listed = requests(&home, &gateway, &["list"]);
    assert!(listed.status.success(), "{}", text(&listed.stderr));
    let table = text(&listed.stdout);
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 3, "{table}");
    assert!(lines[1].contains("rejected") && lines[1].contains("malformed_body"), "{table}");
    assert!(lines[2].contains("accepted") && lines[2].contains("vkyc"), "{table}");

    let id = lines[2].split_whitespace().next().unwrap();
    let shown = requests(&home, &gateway, &["show", id, "--format", "json"]);
    let whole: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(whole["disposition"], "accepted");
    assert_eq!(whole["events"][0]["type"], "co.hyperverge.vkyc.call.completed");
    let outline = text(&requests(&home, &gateway, &["show", id]).stdout);
    assert!(outline.contains("disposition: accepted"), "{outline}");

    let filtered = requests(&home, &gateway, &["list", "--disposition", "ignored"]);
    assert_eq!(text(&filtered.stdout).lines().count(), 1, "the header alone");
    let unknown = requests(&home, &gateway, &["show", "not-an-id"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(text(&unknown.stderr).contains("requests list"), "{}", text(&unknown.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_does_not_run_is_said_so() {
    let home = vkyc_home();
    let gateway = home.start().await.unwrap();
    let admin = format!("http://{}/", gateway.admin());
    gateway.terminate().await.unwrap();
    let arguments = ["requests", "list", "--admin", &admin, "--token-file", "secrets/admin-token"];
    let asked = home.sluice(&arguments).unwrap();
    assert_eq!(asked.status.code(), Some(1));
    assert!(text(&asked.stderr).contains("is it running?"), "{}", text(&asked.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_gateway_on_the_same_store_is_refused_and_harms_nothing() {
    let home = vkyc_home();
    let gateway = home.start().await.unwrap();
    let second = home.sluice(&["run", "--config", "sluice.toml"]).unwrap();
    assert_eq!(second.status.code(), Some(1));
    assert!(text(&second.stderr).contains("sluice.db"), "{}", text(&second.stderr));
    let answer = gateway.post_vkyc(vkyc_payload("trn:vkyc:first")).await.unwrap();
    assert_eq!(answer.status, 200);
}

/// The standard error of a `check` and of a `run`, both of which must refuse.
#[track_caller]
fn refused(home: &Home) -> String {
    let checked = home.sluice(&["check", "--config", "sluice.toml"]).unwrap();
    assert_eq!(checked.status.code(), Some(78), "{}", text(&checked.stdout));
    let run = home.sluice(&["run", "--config", "sluice.toml"]).unwrap();
    assert_eq!(run.status.code(), Some(78));
    let (checked, run) = (text(&checked.stderr), text(&run.stderr));
    assert!(run.ends_with(&checked), "both tell the same:\n{checked}\n{run}");
    checked
}

#[test]
fn an_unknown_secret_role_and_an_empty_secret_are_refused_by_name() {
    let route = "[routes.more]\npath = \"/hooks/more\"\nplugin = \"vkyc\"\n\
                 secrets = { shared_secert = \"vkyc-secret\" }\n";
    let home = HomeBuilder::new().vkyc(&[]).unwrap().toml(route).build().unwrap();
    let told = refused(&home);
    assert!(told.contains("shared_secert") && told.contains("`shared_secret`"), "{told}");

    let home = HomeBuilder::new().vkyc(&[]).unwrap().secret("nothing", "").build().unwrap();
    let told = refused(&home);
    assert!(told.contains("secrets.nothing") && told.contains("empty"), "{told}");
}

#[test]
fn a_good_configuration_is_checked_and_summed_up() {
    let home = vkyc_home();
    let checked = home.sluice(&["check", "--config", "sluice.toml"]).unwrap();
    assert!(checked.status.success(), "{}", text(&checked.stderr));
    let told = text(&checked.stdout);
    assert!(told.starts_with("ok: 1 route, 1 adapter, 1 destination"), "{told}");
}
