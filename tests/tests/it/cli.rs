//! The command line, against a running gateway and against wrong configurations.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use sluice::adapter::{Sandbox, SandboxLimits};
use sluice::config;
use sluice::model::UnixMillis;
use sluice::snapshot::{self, OnBrokenAdapter};
use sluice_tests::provider::vkyc_payload;
use sluice_tests::{Gateway, Home, HomeBuilder, artifacts};

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
    assert_eq!(requests(&home, &gateway, &["lits"]).status.code(), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_gateway_answers_is_told_once() {
    let home = vkyc_home();
    let gateway = home.start().await.unwrap();
    let admin = format!("http://{}/", gateway.admin());
    let asked = ["pause", "nope", "--admin", &admin, "--token-file", "secrets/admin-token"];
    let told = text(&home.sluice(&asked).unwrap().stderr);
    let expected = "sluice: the gateway answered 404 Not Found: there is no route `nope`; \
                    `sluice routes` lists them\n";
    assert_eq!(told, expected);
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
async fn a_healthy_gateway_can_be_asked_while_its_files_are_wrong() {
    let home = vkyc_home();
    let gateway = home.start_with(&[]).await.unwrap();
    let listen = format!("[admin]\nlisten = \"{}\"", gateway.admin());
    let right = home.config_text().unwrap();
    let found = right.replace("[admin]\nlisten = \"127.0.0.1:0\"", &listen);
    let secret = "[secrets]\nlost = { file = \"secrets/lost\" }";
    for (part, wrong) in [
        ("[secrets]", secret),
        ("[routes.vkyc]", "[routes.vkyc]\nno_such_key = 1"),
        ("[routes.vkyc]", "[routes.vkyc]\nbody_max = "),
        ("[routes.vkyc]", "[routes.vkyc"),
    ] {
        std::fs::write(home.folder().join("wrong.toml"), found.replace(part, wrong)).unwrap();
        let checked = home.sluice(&["check", "--config", "wrong.toml"]).unwrap();
        assert_eq!(checked.status.code(), Some(78), "{wrong}");
        for asked in [&["routes"][..], &["requests", "list"], &["state", "list"]] {
            let answer = home.sluice(&[asked, &["--config", "wrong.toml"]].concat()).unwrap();
            assert!(answer.status.success(), "{wrong}: {asked:?}: {}", text(&answer.stderr));
        }
    }
    // What is wrong is then told by the gateway, which reads its own files.
    home.replace("sluice.toml", right.replace("[secrets]", secret)).unwrap();
    let answer = home.sluice(&["reload", "--config", "wrong.toml"]).unwrap();
    let told = text(&answer.stderr);
    assert_eq!(answer.status.code(), Some(78), "{told}");
    assert!(told.contains("secrets.lost.file: there is no file"), "{told}");
    assert!(told.ends_with("refused: generation 1 serves on\n"), "{told}");
    // Nor does it take up a new token then; the one before is presented for as long as it is good.
    let rotated = home.sluice(&["secret", "rotate", "admin-token"]).unwrap();
    assert!(rotated.status.success(), "{}", text(&rotated.stderr));
    for _ in 0..2 {
        let answer = home.sluice(&["reload", "--config", "wrong.toml"]).unwrap();
        assert_eq!(answer.status.code(), Some(78), "{}", text(&answer.stderr));
    }

    // Where the admin side itself cannot be found, that is told and nothing else.
    for (part, wrong, said) in [
        ("\"admin-token\"\n", "\"admin-tokem\"\n", "admin.token_secret: there is no secret"),
        ("\"secrets/admin-token\"", "\"secrets/lost\"", "secrets.admin-token.file: there is no"),
    ] {
        let text_of = found.replace(part, wrong).replace("[routes.vkyc]", "[routes.vkyc]\nx = 1");
        std::fs::write(home.folder().join("wrong.toml"), text_of).unwrap();
        let answer = home.sluice(&["routes", "--config", "wrong.toml"]).unwrap();
        let told = text(&answer.stderr);
        assert_eq!(answer.status.code(), Some(78), "{told}");
        assert!(told.contains(said) && told.ends_with("\n1 problem\n"), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_file_is_read_as_a_secret_is_whoever_else_may_read_it() {
    let home = vkyc_home();
    let gateway = home.start_with(&[]).await.unwrap();
    let admin = format!("http://{}/", gateway.admin());
    let rotated = home.sluice(&["secret", "rotate", "admin-token"]).unwrap();
    assert!(rotated.status.success(), "{}", text(&rotated.stderr));
    let secret = std::fs::read(home.folder().join("secrets/admin-token")).unwrap();
    assert!(secret.starts_with(b"#sluice-secrets 1\n"));
    std::fs::write(home.folder().join("copy"), &secret).unwrap();
    std::fs::write(home.folder().join("plain"), rotated.stdout).unwrap();
    let ask =
        |file: &str| home.sluice(&["routes", "--admin", &admin, "--token-file", file]).unwrap();
    // Whether or not the gateway has seen the new value.
    for file in ["secrets/admin-token", "copy"] {
        let answer = ask(file);
        assert!(answer.status.success(), "{file}: {}", text(&answer.stderr));
    }
    // The new value alone is accepted once it has.
    sluice_tests::wait_until("the new token", Duration::from_secs(60), || async {
        let answer = ask("plain");
        let told = text(&answer.stderr);
        assert!(answer.status.success() || told.contains("401"), "{told}");
        answer.status.success().then_some(())
    })
    .await
    .unwrap();
    std::fs::write(home.folder().join("wrong"), "0123456789abcdef\n\n").unwrap();
    let told = text(&ask("wrong").stderr);
    assert!(told.contains("the admin token cannot be sent in a header"), "{told}");
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

/// What stands in quotes after each `key = ` of a text.
fn values<'t>(text: &'t str, key: &str) -> Vec<&'t str> {
    let begin = format!("{key} = \"");
    text.split(&begin).skip(1).filter_map(|rest| rest.split('"').next()).collect()
}

/// A copy of a configuration of `config/`, in a folder that has all that it names; and its main file.
fn example(main: &Path, change: impl Fn(&str) -> String) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let plugins = artifacts::plugin("vkyc").unwrap();
    std::os::unix::fs::symlink(plugins.parent().unwrap(), at("plugins")).unwrap();
    std::fs::create_dir(at("routes")).unwrap();
    let put = |name: &str, content: &str| {
        std::fs::create_dir_all(at(name).parent().unwrap()).unwrap();
        std::fs::write(at(name), content).unwrap();
        std::fs::set_permissions(at(name), Permissions::from_mode(0o600)).unwrap();
    };
    let source = main.parent().unwrap();
    let included = std::fs::read_dir(source.join("routes")).into_iter().flatten();
    let included = included.map(|entry| entry.unwrap().path());
    let included = included.filter(|path| path.extension().is_some_and(|name| name == "toml"));
    for file in included.chain([main.to_owned()]) {
        let text = change(&std::fs::read_to_string(&file).unwrap());
        // The digest is that of no component.
        let lines = text.lines().filter(|line| !line.starts_with("digest"));
        put(
            file.strip_prefix(source).unwrap().to_str().unwrap(),
            &lines.collect::<Vec<_>>().join("\n"),
        );
        for secret in values(&text, "file") {
            // A path in an included file is taken from its folder.
            let beside = file.strip_prefix(source).unwrap().with_file_name(secret);
            put(beside.to_str().unwrap(), "0123456789abcdef0123456789abcdef");
        }
        let pair = sluice_tests::tls::Pair::new().unwrap();
        for (key, pem) in [("certificate", &pair.certificate), ("key", &pair.key)] {
            for name in values(&text, key) {
                put(name, pem);
            }
        }
    }
    let main = at(main.file_name().unwrap().to_str().unwrap());
    (folder, main)
}

#[test]
fn every_example_is_right_with_its_plugins_and_its_filters_match_their_events() {
    const UNMATCHED: &str = "matches no event of plugin";
    let shipped = artifacts::workspace().join("config");
    let entries = std::fs::read_dir(shipped.join("examples")).unwrap();
    let mut mains: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    for path in &mut mains {
        if path.is_dir() {
            path.push("sluice.toml");
        }
    }
    mains.push(shipped.join("sluice.toml"));
    // As `check` does it, but that each plugin is compiled once for all of them.
    let cache = tempfile::tempdir().unwrap();
    let limits = SandboxLimits { cache: Some(cache.path().to_owned()), ..SandboxLimits::default() };
    let sandbox = Sandbox::new(limits).unwrap();
    let digest_key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &[0; 32]);
    for main in &mains {
        let (_folder, copy) = example(main, str::to_owned);
        let config = config::load_with(&copy, &|_| Some("Bearer 1".into()));
        let built = config.and_then(|config| {
            snapshot::build(0, Arc::new(config), &sandbox, &digest_key, OnBrokenAdapter::Refuse)
        });
        let built = built.unwrap_or_else(|problems| panic!("{}: {problems}", main.display()));
        for hint in built.hints(UnixMillis(0)) {
            assert!(!hint.message.contains(UNMATCHED), "{}: {hint}", main.display());
        }
    }
    // The control, and what an operator is told.
    let main = shipped.join("examples/http-destination.toml");
    let wrong = |text: &str| text.replace("co.hyperverge.vkyc.*", "sluice.vkyc.*");
    let (_folder, copy) = example(&main, wrong);
    let mut check = Command::new(artifacts::gateway().unwrap());
    check.args(["check", "--config"]).arg(copy).env("LEDGER_LOGIN", "Bearer 1");
    let told = text(&check.output().unwrap().stdout);
    let line = told.lines().position(|line| line.contains(UNMATCHED)).expect(&told);
    let lines: Vec<&str> = told.lines().skip(line).take(2).collect();
    let at = "routes.vkyc.deliver_to.1.types.0: matches no event of plugin `vkyc`";
    assert!(lines[0].starts_with("hint: ") && lines[0].ends_with(at), "{told}");
    assert!(lines[1].contains("one of: `co.hyperverge.vkyc."), "{told}");
}

#[test]
fn a_good_configuration_is_checked_and_summed_up() {
    let home = vkyc_home();
    let checked = home.sluice(&["check", "--config", "sluice.toml"]).unwrap();
    assert!(checked.status.success(), "{}", text(&checked.stderr));
    let told = text(&checked.stdout);
    assert!(told.starts_with("ok: 1 route, 1 adapter, 1 destination"), "{told}");
}
