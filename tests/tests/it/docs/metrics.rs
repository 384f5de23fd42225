//! The metrics that `docs/operating.md` lists are those that the gateway has.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

use sluice_tests::artifacts::workspace;
use sluice_tests::http::Request;
use sluice_tests::provider::vkyc_payload;
use sluice_tests::{HomeBuilder, wait_until};

/// A metric's type and the names of its labels.
type Shape = (String, BTreeSet<String>);

/// What the table in the documentation says.
fn documented() -> BTreeMap<String, Shape> {
    let text = fs::read_to_string(workspace().join("docs/operating.md")).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| `sluice_"));
    let rows = rows.map(|row| row.split('|').map(str::trim).collect::<Vec<_>>());
    let words = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    let shapes = rows.map(|cells| {
        let [_, name, kind, labels, meaning, _] = cells.as_slice() else { panic!("{cells:?}") };
        assert!(!meaning.is_empty(), "{name}");
        (name.trim_matches('`').to_owned(), ((*kind).to_owned(), words(labels)))
    });
    let shapes: Vec<_> = shapes.collect();
    let by_name: BTreeMap<_, _> = shapes.iter().cloned().collect();
    assert_eq!(by_name.len(), shapes.len(), "a metric is listed twice");
    by_name
}

/// Every text in the code below `path` that is the name of a metric.
fn named_in(path: &Path, names: &mut BTreeSet<String>) {
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            named_in(&entry.unwrap().path(), names);
        }
        return;
    }
    let text = fs::read_to_string(path).unwrap();
    let is_plain = |name: &&str| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    let is_metric = |text: &&str| text.len() > "sluice_".len() && text.starts_with("sluice_");
    let texts = text.split('"').filter(is_metric);
    names.extend(texts.filter(is_plain).map(str::to_owned));
}

/// The types and labels in an answer of `/metrics`.
fn exposed(text: &str) -> BTreeMap<String, Shape> {
    let mut shapes = BTreeMap::<String, Shape>::new();
    for line in text.lines() {
        if let Some(declared) = line.strip_prefix("# TYPE ") {
            let (name, kind) = declared.split_once(' ').unwrap();
            shapes.insert(name.to_owned(), (kind.to_owned(), BTreeSet::new()));
        } else if let Some((series, labels)) = line.split_once('{') {
            let of_histogram = ["_bucket", "_sum", "_count"].iter();
            let mut names = of_histogram.filter_map(|part| series.strip_suffix(part));
            let name = names.find(|name| shapes.contains_key(*name)).unwrap_or(series);
            let (labels, _) = labels.split_once('}').unwrap();
            let labels = labels.split(',').filter_map(|label| Some(label.split_once('=')?.0));
            let labels = labels.filter(|label| *label != "le").map(str::to_owned);
            shapes.get_mut(name).expect(line).1.extend(labels);
        }
    }
    shapes
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_is_documented_with_its_type_and_labels() {
    let documented = documented();
    let mut in_code = BTreeSet::new();
    for part in ["telemetry", "admin.rs"] {
        named_in(&workspace().join("gateway/src").join(part), &mut in_code);
    }
    assert_eq!(documented.keys().cloned().collect::<BTreeSet<_>>(), in_code);

    let home = HomeBuilder::new().vkyc(&["events"]).unwrap().events_file().build().unwrap();
    let gateway = home.start_with(&[]).await.unwrap();
    assert_eq!(gateway.post_vkyc(vkyc_payload("trn:vkyc:seen")).await.unwrap().status, 200);
    assert_eq!(gateway.post_vkyc("{").await.unwrap().status, 400);
    assert_eq!(gateway.send(Request::get("/nowhere")).await.unwrap().status, 404);
    gateway.reload().await.unwrap();
    let gateway = &gateway;
    let shapes = wait_until("the metrics of a delivery", Duration::from_secs(60), || async move {
        let shapes = exposed(&gateway.admin_get("/metrics").await.ok()?.text());
        shapes.contains_key("sluice_delivery_seconds").then_some(shapes)
    });
    let shapes = shapes.await.unwrap();
    for (name, shape) in &shapes {
        assert_eq!(documented.get(name), Some(shape), "{name}");
    }
    println!("{} of {} metrics exposed", shapes.len(), documented.len());
    for name in [
        "sluice_requests_total",
        "sluice_refused_total",
        "sluice_attempts_total",
        "sluice_deliveries_pending",
        "sluice_destination_pending",
        "sluice_dead_letters",
        "sluice_reload_refused",
        "sluice_connections_open",
    ] {
        assert!(shapes.contains_key(name), "{name}: {shapes:?}");
    }
}
