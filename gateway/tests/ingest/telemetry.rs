//! What is told of requests: enough for operators, and nothing of what they carry.

use std::io;
use std::sync::{Arc, Mutex};

use metrics_exporter_prometheus::PrometheusBuilder;
use sluice::adapter::End;
use sluice::model::{Diagnosis, Found};
use tracing_subscriber::fmt::MakeWriter;

use super::double::{after, matched, rejected};
use super::gateway::{Gateway, Plan, token_route};

/// Stands in everything that a sender and an adapter can put somewhere.
const CANARY: &str = "canary7f3a";

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// Everything a sender can say, with the canary in all of it.
fn request(path: &str, more: &str) -> String {
    format!(
        "POST {path}?q={CANARY} HTTP/1.1\r\nHost: {CANARY}\r\nX-Webhook-Secret: {CANARY}\r\n\
         X-{CANARY}: {CANARY}\r\n{more}Content-Length: 10\r\n\r\n{CANARY}"
    )
}

#[tokio::test]
async fn nothing_that_a_request_carries_is_in_a_log_line_or_a_metric() {
    let lines = Lines::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(lines.clone())
        .finish();
    // For the whole process: with one for this thread only, what is first logged on another one
    // would be switched off here as well. The other tests' lines do not disturb.
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let recorder = PrometheusBuilder::new().build_recorder();
    let _counting = metrics::set_default_local_recorder(&recorder);

    let mut plan = Plan::default();
    plan.routes.push(token_route("secretive", &[("right", None)]));
    let gateway = Gateway::start(&plan);
    let mut statuses = Vec::new();
    for (path, more) in [
        ("/hook", ""),
        ("/hook", "X-Forwarded_For: canary7f3a\r\n"),
        ("/hook", "Expect: canary7f3a\r\n"),
        ("/canary7f3a", ""),
        ("/in/canary7f3a", ""),
        ("/in/right", ""),
    ] {
        statuses.push(gateway.exchange(request(path, more)).await.status);
    }
    gateway.adapter.does(|_| after(Found::Mismatched, rejected(401, Diagnosis::SECRET_MISMATCH)));
    statuses.push(gateway.exchange(request("/hook", "")).await.status);
    gateway
        .adapter
        .does(|_| after(Found::Mismatched, rejected(400, Diagnosis::from_guest(CANARY))));
    let answer = gateway.exchange(request("/hook", "")).await;
    statuses.push(answer.status);
    gateway.adapter.does(|_| matched(End::Trap(format!("said {CANARY}"))));
    let trapped = gateway.exchange(request("/hook", "")).await;
    statuses.push(trapped.status);
    assert_eq!(statuses, [200, 400, 417, 404, 404, 200, 401, 400, 503]);

    let told = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let metrics = recorder.handle().render();
    assert!(!metrics.contains(CANARY), "{metrics}");
    // An adapter's own diagnosis is its word for the operator, and the only one that is passed on.
    let others: Vec<_> = told.lines().filter(|line| line.contains(CANARY)).collect();
    assert_eq!(others.len(), 1, "{told}");
    assert!(others[0].contains("diagnosis"), "{others:?}");
    assert!(!told.contains("127.0.0.1"), "{told}");
    assert!(!told.contains("right"), "{told}");

    for counted in [
        r#"sluice_requests_total{route="hook",disposition="accepted"} 1"#,
        r#"sluice_requests_total{route="hook",disposition="rejected"} 2"#,
        r#"sluice_requests_total{route="hook",disposition="quarantined"} 1"#,
        r#"sluice_requests_total{route="secretive",disposition="accepted"} 1"#,
        r#"sluice_requests_total{route="-",disposition="not_found"} 1"#,
        r#"sluice_refused_total{route="hook",diagnosis="secret_mismatch"} 1"#,
        r#"sluice_refused_total{route="hook",diagnosis="other"} 1"#,
        r#"sluice_refused_total{route="-",diagnosis="malformed_request"} 2"#,
        "sluice_requests_in_flight 0",
    ] {
        assert!(metrics.contains(counted), "{counted} is not in\n{metrics}");
    }
    assert!(told.contains("Request refused."));
    assert!(told.contains("Request answered."));
}
