//! Limits and allow-lists go by the client's address, not by the proxy's, and not by what the
//! client says.

use std::net::Ipv4Addr;

use sluice_tests::http::Request;
use sluice_tests::provider::{VKYC_SECRET_HEADER, vkyc_payload};
use sluice_tests::{HomeBuilder, VKYC_SECRET, vkyc_request};

use super::front::{Front, Kind};

const GREEDY: Ipv4Addr = Ipv4Addr::new(127, 7, 7, 7);
const MODEST: Ipv4Addr = Ipv4Addr::new(127, 7, 7, 8);
const PARTNER: Ipv4Addr = Ipv4Addr::new(127, 8, 0, 1);

#[tokio::test(flavor = "multi_thread")]
async fn a_client_behind_a_proxy_is_limited_by_itself() {
    let limits = "limits = { per_client = \"3/min\" }\n";
    let private = "[routes.private]\npath = \"/hooks/private\"\nplugin = \"vkyc\"\n\
                   secrets = { shared_secret = \"vkyc-secret\" }\ndeliver_to = []\n\
                   allow_from = [\"127.8.0.0/16\"]\n";
    let home = HomeBuilder::new()
        .vkyc(&["events"])
        .unwrap()
        .toml(limits)
        .events_file()
        .toml(private)
        .ingest("trusted_proxies = [\"127.0.0.1\"]\nforwarded = \"x-forwarded-for\"")
        .build()
        .unwrap();
    let gateway = home.start_with(&[("SLUICE_LOG", "info")]).await.unwrap();
    for kind in Kind::ALL {
        let front = Front::start(kind, gateway.ingest(), gateway.admin()).await;
        // Each proxy has clients of its own, so that none finds another's used up.
        let octet = 10 + kind as u8;
        let [greedy, modest] =
            [GREEDY, MODEST].map(|a| Ipv4Addr::new(127, a.octets()[1], octet, a.octets()[3]));
        let mut statuses = Vec::new();
        let mut connection = front.connect(greedy).await.unwrap();
        for turn in 0..6 {
            // Another name each time, for who believes it.
            let spoofed = vkyc_request(vkyc_payload(&format!("{kind:?}-{turn}")))
                .header("x-forwarded-for", &format!("203.0.113.{turn}"));
            statuses.push(connection.send(spoofed).await.unwrap().status);
        }
        assert_eq!(statuses, [200, 200, 200, 429, 429, 429], "{kind:?}");
        let mut other = front.connect(modest).await.unwrap();
        let answer = other.send(vkyc_request(vkyc_payload(&format!("{kind:?}-modest")))).await;
        assert_eq!(answer.unwrap().status, 200, "{kind:?}: one client used up another's share");

        let private = |id: &str| {
            Request::post_json("/hooks/private", vkyc_payload(id))
                .header(VKYC_SECRET_HEADER, VKYC_SECRET)
                .header("x-forwarded-for", &PARTNER.to_string())
        };
        let answer = other.send(private("stranger")).await.unwrap();
        assert_eq!(answer.status, 403, "{kind:?}: who calls himself a partner is let in");
        let mut partner = front.connect(PARTNER).await.unwrap();
        let answer = partner.send(private(&format!("{kind:?}-partner"))).await.unwrap();
        assert_eq!(answer.status, 200, "{kind:?}");
    }
}
