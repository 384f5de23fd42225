//! `sluice state list | export | import`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

use super::*;

/// Entries in a file that takes many steps to import.
const MANY: usize = 30_000;

/// How long a request may take while state is read and written: each step holds the writer for some
/// milliseconds, and the machine is shared. All of it in one step takes longer.
const SLOWEST_MAX: Duration = Duration::from_secs(2);

const TALLIES: u64 = 8;

fn lines(export: &str) -> Vec<&str> {
    export.lines().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_exported_imported_and_exported_again_is_the_same_to_the_byte() {
    let (home, other) = (home(), home());
    let gateway = home.start_with(&[]).await.unwrap();
    told(&gateway, "first", "put text hello\nput #300 #60000\nput json {\"b\":1.10,\"a\":[2]}")
        .await;
    told(&gateway, "first", "put soon x 1\nput later y 86400000\nput \u{7f}é \u{fffd}").await;
    told(&gateway, "first", "700*put many value").await;
    told(&gateway, "first", "tally apples").await;
    let exported = done(&home, &gateway, &["state", "export", "first"]);
    let all = lines(&exported);
    assert_eq!(all[0], r#"{"sluice_state":1,"adapter":"first","state_version":1}"#);
    assert_eq!(all[all.len() - 1], format!("{{\"entries\":{}}}", all.len() - 2));
    assert_eq!(all.len(), 2 + 5 + 700 + 1, "what has expired is absent");
    for part in [r#""text":"hello""#, r#""json":{"b":1.10,"a":[2]}"#, "\"json\":1}", "T"] {
        assert!(exported.contains(part), "{part}");
    }

    let list = done(&home, &gateway, &["state", "list"]);
    let rows: Vec<Vec<&str>> = list.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[1..], [["first", "1", "707"], ["second", "1", "0"]], "{list}");
    let page = ["state", "list", "first", "--prefix", "many1", "--limit", "2"];
    let page = done(&home, &gateway, &page);
    let rows = lines(&page);
    assert!(rows[1].starts_with("many1 ") && rows[2].starts_with("many10 "), "{page}");
    let next = rows[3].strip_prefix("more: --after ").unwrap();
    let rest = ["state", "list", "first", "--prefix", "many1", "--limit", "500", "--after", next];
    let rest = done(&home, &gateway, &rest);
    assert_eq!(lines(&rest).len(), 1 + 111 - 2, "{rest}");
    assert!(lines(&rest)[1].starts_with("many100 "), "{rest}");

    // Into an empty store, and into another adapter of the plugin.
    let empty = other.start_with(&[]).await.unwrap();
    let file = write(&home, "first.jsonl", &exported);
    let told = done(&other, &empty, &["state", "import", &file]);
    assert!(told.contains("entries: 706"), "{told}");
    assert_eq!(done(&other, &empty, &["state", "export", "first"]), exported);
    let renamed = exported.replace(r#""adapter":"first""#, r#""adapter":"second""#);
    let file = write(&home, "second.jsonl", &renamed);
    done(&home, &gateway, &["state", "import", &file, "--format", "json"]);
    assert_eq!(done(&home, &gateway, &["state", "export", "second"]), renamed);
    assert_eq!(super::told(&gateway, "second", "tally apples").await, "2", "calls go on with it");
    assert!(empty.terminate().await.unwrap().status.success());
    let again = other.start_with(&[]).await.unwrap();
    assert_eq!(done(&other, &again, &["state", "export", "first"]), exported);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_is_refused_says_where_and_changes_nothing() {
    let home = home();
    let gateway = home.start_with(&[]).await.unwrap();
    told(&gateway, "first", "20*put key value").await;
    let good = done(&home, &gateway, &["state", "export", "first"]);
    let all = lines(&good);
    let cut = all[..all.len() - 1].join("\n");
    let missing = [&all[..5], &all[6..]].concat().join("\n");
    let twice = [&all[..7], &[all[3]], &all[7..]].concat().join("\n");
    let wide = good.replacen("value", &"v".repeat(70_000), 1);
    for (what, file, said) in [
        ("version", good.replace("\"state_version\":1", "\"state_version\":2"), "keeps 1"),
        (
            "format",
            good.replace("\"sluice_state\":1", "\"sluice_state\":9"),
            "this gateway reads 1",
        ),
        ("adapter", good.replace(":\"first\"", ":\"third\""), "no adapter `third` keeps state"),
        (
            "line",
            good.replacen("\"text\":\"value\"", "\"text\":value", 1),
            "line 2: this is not an",
        ),
        ("head", all[1..].join("\n"), "line 1: this is not the head"),
        ("size", wide, "line 2: a value has at most 65536 bytes"),
        ("cut", cut, "line 22: the last line is as"),
        ("missing", missing, "says that there are 20 entries, and there are 19"),
        ("twice", twice, "line 8: an earlier line has the same key"),
        ("more", format!("{good}{}\n", all[1]), "line 23: this follows the last line"),
        ("large", format!("{}\n{}", all[0], "x".repeat(20 << 20)), "line 2: a line has at most"),
    ] {
        let file = write(&home, "wrong.jsonl", &file);
        let Ran { code, err, .. } =
            sluice(&home, &gateway, &["state", "import", &file, "--replace"]);
        assert_eq!(code, Some(1), "{what}");
        assert!(err.contains(said), "{what}: {err}");
        assert_eq!(done(&home, &gateway, &["state", "export", "first"]), good, "{what}");
    }
    let file = write(&home, "good.jsonl", &good);
    let Ran { code, err, .. } = sluice(&home, &gateway, &["state", "import", &file]);
    assert_eq!(code, Some(1));
    assert!(err.contains("`--replace`"), "{err}");
    done(&home, &gateway, &["state", "import", &file, "--replace"]);
    assert_eq!(done(&home, &gateway, &["state", "export", "first"]), good);
    let Ran { code, err, .. } = sluice(&home, &gateway, &["state", "export", "nobody"]);
    assert!(code == Some(1) && err.contains("`sluice state list`"), "{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn state_is_exported_and_imported_while_requests_are_served() {
    let home = home();
    let gateway = home.start_with(&[]).await.unwrap();
    told(&gateway, "first", "tally other").await;
    let mut many =
        String::from("{\"sluice_state\":1,\"adapter\":\"second\",\"state_version\":1}\n");
    for n in 0..MANY {
        writeln!(many, "{{\"key\":\"k{n:06}\",\"json\":{{\"n\":{n},\"of\":\"many\"}}}}").unwrap();
    }
    writeln!(many, "{{\"entries\":{MANY}}}").unwrap();
    let file = write(&home, "many.jsonl", &many);
    let clients = Clients::start(&gateway, 8, |client, _| {
        request("first", format!("tally n{}", client % TALLIES))
    });
    let began = Instant::now();
    done(&home, &gateway, &["state", "import", &file]);
    let imported = began.elapsed();
    assert_eq!(done(&home, &gateway, &["state", "export", "second"]), many);
    let exported = began.elapsed() - imported;
    let flow = clients.stop().await;
    println!(
        "{MANY} entries imported in {imported:?}, exported in {exported:?}; {} requests meanwhile, \
         the slowest in {:?}",
        flow.count(),
        flow.slowest
    );
    assert!(flow.slowest < SLOWEST_MAX, "{:?}", flow.slowest);
    assert!(flow.count() > 100, "{}", flow.count());
}

/// A call that read what an import replaced runs again: no count goes on from the state of before.
#[tokio::test(flavor = "multi_thread")]
async fn calls_on_state_that_is_replaced_run_again_on_the_new() {
    const NEW: u64 = 1_000_000;
    let home = home();
    let gateway = home.start_with(&[]).await.unwrap();
    for n in 0..TALLIES {
        assert_eq!(told(&gateway, "first", &format!("tally n{n}")).await, "1");
    }
    let exported = done(&home, &gateway, &["state", "export", "first"]);
    let file = exported.replace("\"json\":1}", &format!("\"json\":{NEW}}}"));
    let file = write(&home, "new.jsonl", &file);
    let clients = Clients::start(&gateway, 16, |client, _| {
        request("first", format!("tally n{}", client % TALLIES))
    });
    done(&home, &gateway, &["state", "import", &file, "--replace"]);
    // Each sees it once more at least.
    let mut probe = Vec::new();
    for n in 0..TALLIES {
        probe.push(told(&gateway, "first", &format!("tally n{n}")).await.parse::<u64>().unwrap());
    }
    let flow = clients.stop().await;
    let mut counts: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for (client, answers) in flow.answers.iter().enumerate() {
        let counts = counts.entry(client as u64 % TALLIES).or_default();
        let answers: Vec<u64> = answers.iter().map(|answer| answer.parse().unwrap()).collect();
        assert!(answers.is_sorted(), "no answer is of the state before once one is of the new");
        counts.extend(answers);
    }
    for (n, probed) in probe.into_iter().enumerate() {
        counts.get_mut(&(n as u64)).unwrap().push(probed);
    }
    let after = done(&home, &gateway, &["state", "export", "first"]);
    for (name, mut counts) in counts {
        counts.sort_unstable();
        let old = counts.iter().filter(|count| **count < NEW).count() as u64;
        let new = counts.len() as u64 - old;
        let expected: Vec<u64> = (2..2 + old).chain(NEW + 1..=NEW + new).collect();
        assert_eq!(counts, expected, "n{name}");
        let now = lines(&after)[1..]
            .iter()
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            .find(|entry| {
                entry["key"].as_str().is_some_and(|key| key.contains(&format!("n{name}")))
            });
        assert_eq!(now.unwrap()["json"], NEW + new, "n{name}: {old} before the import");
    }
}
