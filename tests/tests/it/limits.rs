//! A limit is what it says, on the real program and its own clock.

use std::time::{Duration, Instant};

use sluice_tests::http::Connection;
use sluice_tests::provider::vkyc_payload;
use sluice_tests::{HomeBuilder, vkyc_request};

/// Requests a second that are let in, and at once.
const RATE: f64 = 50.0;
const BURST: f64 = 50.0;

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_is_let_in_at_the_rate_of_the_limit_to_a_hundredth() {
    let took = Duration::from_secs(if sluice_tests::long() { 60 } else { 5 });
    let home = HomeBuilder::new().vkyc(&[]).unwrap().build().unwrap();
    home.edit(
        "plugin = \"vkyc\"",
        "plugin = \"vkyc\"\nlimits = { per_client = { rate = \"50/s\", burst = 50 }, headers = true }",
    )
    .unwrap();
    let gateway = home.start_with(&[]).await.unwrap();
    let mut connection = Connection::open(gateway.ingest()).await.unwrap();
    let (mut let_in, mut turned_away, mut slowest) = (0_u32, 0_u32, Duration::ZERO);
    let began = Instant::now();
    let mut first = None;
    while began.elapsed() < took {
        let payload = vkyc_payload(&format!("n{}", let_in + turned_away));
        let sent = Instant::now();
        let answer = connection.send(vkyc_request(payload)).await.unwrap();
        slowest = slowest.max(sent.elapsed());
        first.get_or_insert_with(Instant::now);
        assert!(answer.header("ratelimit").is_some(), "{answer:?}");
        match answer.status {
            200 => let_in += 1,
            429 => {
                assert_eq!(answer.header("retry-after"), Some("1"));
                turned_away += 1;
            }
            status => panic!("{status}"),
        }
    }
    // Between the first request's arrival and the last one's.
    let [least, most] = [first.unwrap().elapsed() - slowest, began.elapsed()]
        .map(|passed| BURST + RATE * passed.as_secs_f64());
    println!("{let_in} let in, {least:.1} to {most:.1} expected; {turned_away} turned away");
    assert!(f64::from(turned_away) > RATE, "no flood: only {turned_away} turned away");
    assert!(f64::from(let_in) <= most + 1.0, "{let_in} of {most}");
    assert!(f64::from(let_in) >= least * 0.99 - 1.0, "{let_in} of {least}");
    let metrics = gateway.admin_get("/metrics").await.unwrap().text();
    let counted =
        format!("sluice_refused_total{{route=\"vkyc\",diagnosis=\"rate_limited\"}} {turned_away}");
    assert!(metrics.contains(&counted), "{metrics}");
}
