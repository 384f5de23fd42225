//! The unit for systemd: how much it exposes, and that the gateway can live with what it forbids.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use sluice_tests::HomeBuilder;
use sluice_tests::provider::vkyc_payload;

/// The most that systemd's own judgement may come to, of 10.
const EXPOSURE_MAX: f64 = 2.0;

fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../config").join(name)
}

fn systemd_analyze(arguments: &[&str]) -> Output {
    let analyzed = Command::new("systemd-analyze").args(arguments).arg("--no-pager").output();
    analyzed.expect("systemd-analyze: `cargo xtask test` installs it")
}

/// What systemd makes of the exposure of a service.
fn exposure(unit: &Path) -> f64 {
    let analyzed = systemd_analyze(&["security", "--offline=true", unit.to_str().unwrap()]);
    let text = String::from_utf8_lossy(&analyzed.stdout).into_owned();
    let (_, overall) = text.split_once("Overall exposure level for").unwrap_or_else(|| {
        panic!("{text}{}", String::from_utf8_lossy(&analyzed.stderr));
    });
    let number = overall.split_once(": ").unwrap().1.split(' ').next().unwrap();
    number.parse().unwrap()
}

#[test]
fn the_unit_exposes_little() {
    let unit = shipped("sluice.service");
    let exposed = exposure(&unit);
    println!("exposure {exposed} of 10");
    assert!(exposed <= EXPOSURE_MAX, "{exposed}");
    // The control: without what it forbids.
    let text = std::fs::read_to_string(&unit).unwrap();
    let open =
        text.lines().filter(|line| !line.starts_with("SystemCall") && !line.starts_with("Cap"));
    let folder = tempfile::tempdir().unwrap();
    let bare = folder.path().join("sluice.service");
    std::fs::write(&bare, open.collect::<Vec<_>>().join("\n")).unwrap();
    assert!(exposure(&bare) > EXPOSURE_MAX);
}

#[test]
fn both_units_are_understood() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = sluice_tests::artifacts::gateway().unwrap();
    for name in ["sluice.service", "sluice.socket"] {
        let text = std::fs::read_to_string(shipped(name)).unwrap();
        // It looks whether the program is there.
        let text = text.replace("/usr/local/bin/sluice", gateway.to_str().unwrap());
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    for name in ["sluice.service", "sluice.socket"] {
        let unit = folder.path().join(name);
        let verified = systemd_analyze(&["verify", "--man=no", unit.to_str().unwrap()]);
        let told = String::from_utf8_lossy(&verified.stderr).into_owned();
        assert!(verified.status.success() && !told.contains(name), "{told}");
    }
}

/// The values of a key in one section of the unit.
fn set_in(unit: &str, section: &str, key: &str) -> Vec<String> {
    let (_, rest) = unit.split_once(&format!("[{section}]\n")).unwrap();
    let lines = rest.lines().take_while(|line| !line.starts_with('['));
    let values = lines.filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    values.map(str::to_owned).collect()
}

#[test]
fn the_gateway_is_started_again_unless_its_configuration_is_wrong() {
    let unit = std::fs::read_to_string(shipped("sluice.service")).unwrap();
    let home = HomeBuilder::new().toml("no_such_key = 1\n").build().unwrap();
    let run = home.sluice(&["run", "--config", "sluice.toml"]).unwrap();
    let code = run.status.code().unwrap().to_string();
    assert_eq!(set_in(&unit, "Service", "RestartPreventExitStatus"), [code]);
    assert_eq!(set_in(&unit, "Service", "Restart"), ["on-failure"]);
    assert_eq!(set_in(&unit, "Unit", "StartLimitIntervalSec"), ["0"]);
}

#[test]
fn what_the_unit_says_prepares_a_machine() {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(root.path().join("bin")).unwrap();
    let at = |name: &str| root.path().join(name).to_str().unwrap().to_owned();
    let unit = std::fs::read_to_string(shipped("sluice.service")).unwrap();
    let commands = unit.lines().filter_map(|line| line.strip_prefix("#     "));
    // Users and services are the machine's; all else is done below another root, by whoever runs this.
    let commands =
        commands.filter(|line| !line.starts_with("useradd") && !line.starts_with("systemctl"));
    let mut script = commands.collect::<Vec<_>>().join("\n");
    let plugins = sluice_tests::artifacts::plugin("vkyc").unwrap();
    for (theirs, ours) in [
        ("/etc/sluice", at("etc").as_str()),
        ("/usr/local/bin", &at("bin")),
        ("-o root -g sluice ", ""),
        ("-o sluice -g sluice ", ""),
        ("target/release/sluice", sluice_tests::artifacts::gateway().unwrap().to_str().unwrap()),
        ("target/plugins", plugins.parent().unwrap().to_str().unwrap()),
        ("config/sluice.toml", shipped("sluice.toml").to_str().unwrap()),
    ] {
        assert!(script.contains(theirs), "{theirs}: {script}");
        script = script.replace(theirs, ours);
    }
    let path = format!("{}:{}", at("bin"), std::env::var("PATH").unwrap());
    let done = Command::new("sh").args(["-euc", &script]).env("PATH", path).output().unwrap();
    let told = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success(), "{script}\n{}", String::from_utf8_lossy(&done.stderr));
    assert!(told.starts_with("ok: 3 routes, 3 adapters, 1 destination"), "{told}");
}

/// The system calls of each of systemd's sets, sets within sets resolved.
fn sets() -> BTreeMap<String, BTreeSet<String>> {
    let text = String::from_utf8(systemd_analyze(&["syscall-filter"]).stdout).unwrap();
    let mut sets = BTreeMap::<String, BTreeSet<String>>::new();
    let mut current = String::new();
    for line in text.lines().filter(|line| !line.trim_start().starts_with('#')) {
        if line.starts_with('@') {
            current = line.trim().to_owned();
        } else if line.starts_with(' ') {
            sets.entry(current.clone()).or_default().insert(line.trim().to_owned());
        }
    }
    sets
}

fn calls_of(set: &str, sets: &BTreeMap<String, BTreeSet<String>>, into: &mut BTreeSet<String>) {
    for member in sets.get(set).unwrap_or_else(|| panic!("no set {set}")) {
        if member.starts_with('@') {
            calls_of(member, sets, into);
        } else {
            into.insert(member.clone());
        }
    }
}

/// What the unit lets through, as systemd reads its lines one after the other.
fn allowed(unit: &str) -> BTreeSet<String> {
    let sets = sets();
    // What systemd always lets through.
    let mut allowed = BTreeSet::new();
    calls_of("@default", &sets, &mut allowed);
    for line in unit.lines().filter_map(|line| line.strip_prefix("SystemCallFilter=")) {
        let (denies, names) = match line.strip_prefix('~') {
            Some(names) => (true, names),
            None => (false, line),
        };
        let mut calls = BTreeSet::new();
        for name in names.split(' ') {
            calls_of(name, &sets, &mut calls);
        }
        if denies {
            allowed.retain(|call| !calls.contains(call));
        } else {
            allowed.extend(calls);
        }
    }
    allowed
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_needs_no_system_call_that_the_unit_forbids() {
    let home = HomeBuilder::new().vkyc(&["events"]).unwrap().events_file().build().unwrap();
    let report = home.folder().join("calls.txt");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-c", "-o"]).arg(&report).arg(sluice_tests::artifacts::gateway().unwrap());
    let gateway = home.start_by(strace, &[("SLUICE_LOG", "info")]).await.unwrap();
    for number in 0..10 {
        let body = vkyc_payload(&format!("event-{number}"));
        assert_eq!(gateway.post_vkyc(body).await.unwrap().status, 200);
    }
    gateway.reload().await.unwrap();
    gateway.admin_get("/metrics").await.unwrap();
    // The signal is for the gateway, which strace has started; strace ends after it.
    let pid = gateway.pid();
    let child = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    let status = Command::new("kill").args(["-TERM", child.trim()]).status().unwrap();
    assert!(status.success());
    let used = sluice_tests::wait_until("the list of calls", Duration::from_secs(45), || async {
        let text = std::fs::read_to_string(&report).ok()?;
        text.lines().any(|line| line.ends_with(" total")).then_some(text)
    });
    let used = used.await.unwrap();
    let used: BTreeSet<&str> = used
        .lines()
        .filter(|line| line.trim_start().starts_with(|first: char| first.is_ascii_digit()))
        .filter_map(|line| line.split_whitespace().last())
        .filter(|call| *call != "total")
        .collect();
    println!("{} system calls, of which the unit forbids none", used.len());
    assert!(used.len() > 40, "{used:?}");
    let allowed = allowed(&std::fs::read_to_string(shipped("sluice.service")).unwrap());
    let forbidden: Vec<_> = used.iter().filter(|call| !allowed.contains(**call)).collect();
    assert!(forbidden.is_empty(), "{forbidden:?}");
    for never in ["ptrace", "mount", "init_module", "reboot", "bpf", "setuid", "keyctl"] {
        assert!(!allowed.contains(never), "{never} is let through");
    }
}
