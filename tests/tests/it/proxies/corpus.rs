//! The cases of client addresses, asked of the gateway, of nginx, and of the gateway behind each
//! proxy.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Command;

use sluice_tests::http::{Answer, Connection, Request};
use sluice_tests::provider::vkyc_payload;
use sluice_tests::{Gateway, HomeBuilder, store, vkyc_request};
use tempfile::TempDir;

use super::front::{Front, Kind, edit};
use super::{Group, client, free_port, listening, own_address};
use crate::random::Random;

const CASES: &str = include_str!("../../../../gateway/tests/data/client-address.tsv");

/// Networks trusted in the cases, as they say themselves.
const TRUSTED: [&str; 4] = ["127.0.0.1/32", "127.9.0.0/16", "10.0.0.0/8", "2001:db8:ffff::/48"];

/// Who is trusted, and asks for somebody else.
const HOP: Ipv4Addr = Ipv4Addr::new(127, 9, 9, 9);

/// Headers made at random that nginx and the gateway have to read alike.
const RANDOM_CASES: usize = 400;

/// One case of a header.
struct Case {
    from: Ipv4Addr,
    expected: IpAddr,
    /// It holds behind a proxy as well.
    behind: bool,
    lines: Vec<String>,
}

fn cases() -> Vec<Case> {
    let rows = CASES.lines().filter(|row| row.starts_with("x-forwarded-for\t"));
    let cases = rows.map(|row| {
        let columns: Vec<&str> = row.split('\t').collect();
        let lines = columns[4].split(" | ").filter(|line| !line.is_empty());
        Case {
            from: columns[1].parse().unwrap(),
            expected: columns[2].parse().unwrap(),
            behind: columns[3] == "proxies",
            lines: lines.map(str::to_owned).collect(),
        }
    });
    cases.collect()
}

/// An event of this id with these lines of the header.
fn request(id: &str, lines: &[String]) -> Request {
    let request = vkyc_request(vkyc_payload(id));
    lines.iter().fold(request, |request, line| request.header("x-forwarded-for", line))
}

async fn plainly(from: Ipv4Addr, to: SocketAddr, request: Request) -> Answer {
    let stream = client::connect(from, to).await.unwrap();
    let mut connection = Connection::over(stream, &to.to_string()).await.unwrap();
    connection.send(request).await.unwrap()
}

/// nginx itself, telling whom it takes a client to be.
struct Oracle {
    address: SocketAddr,
    _process: Group,
    _folder: TempDir,
}

impl Oracle {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let own = own_address();
        let address = SocketAddr::from((own, free_port(own)));
        let trusted: String =
            TRUSTED.iter().map(|network| format!("set_real_ip_from {network};")).collect();
        let text = format!(
            "events {{}} http {{ access_log off; server {{ listen {address}; {trusted} \
             large_client_header_buffers 4 64k; \
             real_ip_header X-Forwarded-For; real_ip_recursive on; \
             location / {{ return 200 \"$remote_addr $realip_remote_addr\"; }} }} }}"
        );
        let config = folder.path().join("nginx.conf");
        std::fs::write(&config, text).unwrap();
        let log = folder.path().join("output.log");
        let pid = folder.path().join("nginx.pid");
        let mut command = Command::new("nginx");
        command.arg("-c").arg(&config).arg("-g");
        command.arg(format!("daemon off; error_log stderr; pid {};", pid.display()));
        let process = Group::start(&mut command, &log);
        listening(address, &log).await;
        Self { address, _process: process, _folder: folder }
    }

    /// Whom it takes the client of these lines to be.
    async fn ask(&self, from: Ipv4Addr, lines: &[String]) -> IpAddr {
        let request = lines
            .iter()
            .fold(Request::get("/"), |request, line| request.header("x-forwarded-for", line));
        let text = plainly(from, self.address, request).await.text();
        let (client, peer) = text.split_once(' ').unwrap();
        assert_eq!(peer, from.to_string());
        client.parse::<IpAddr>().unwrap().to_canonical()
    }
}

/// Header lines of pieces that such lines are made of, and of some that they are not.
fn random_lines(random: &mut Random) -> Vec<String> {
    const PIECES: [&str; 32] = [
        "203.0.113.9",
        "10.0.0.1",
        "10.0.0.2",
        "10.9.9.9",
        "127.0.0.1",
        "127.9.0.1",
        "::1",
        "2001:db8::7",
        "2001:db8:ffff::1",
        "[2001:db8:ffff::1]:80",
        "::ffff:10.0.0.1",
        "10.0.0.1:80",
        "1:2:3:4:5:6:7:8",
        "1::",
        "unknown",
        "_hidden",
        ", ",
        ", ",
        ", ",
        ", ",
        ", ",
        ",",
        " ",
        ":",
        "::",
        ".",
        "[",
        "]",
        "%eth0",
        "0",
        "255",
        "ffff",
    ];
    let count = 1 + random.below(3);
    let line = |random: &mut Random| {
        let count = 1 + random.below(9);
        let text: String = (0..count).map(|_| *random.pick(&PIECES)).collect();
        text.trim().to_owned()
    };
    (0..count).map(|_| line(random)).collect()
}

async fn gateway() -> (sluice_tests::Home, Gateway) {
    let home = HomeBuilder::new()
        .vkyc(&["events"])
        .unwrap()
        .events_file()
        .ingest(&format!("trusted_proxies = {TRUSTED:?}\nforwarded = \"x-forwarded-for\""))
        .build()
        .unwrap();
    let gateway = home.start_with(&[("SLUICE_LOG", "info")]).await.unwrap();
    (home, gateway)
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_are_those_that_nginx_finds_and_hold_behind_every_proxy() {
    let (home, gateway) = gateway().await;
    let (cases, oracle) = (cases(), Oracle::start().await);
    let mut fronts = Vec::new();
    for kind in Kind::ALL {
        let trusting = |text: String| match kind {
            // What it trusts itself is said in its own file, as the comment there tells.
            Kind::Caddy => edit(
                &text,
                "header_up -Forwarded",
                "trusted_proxies 127.9.0.0/16\n\t\theader_up -Forwarded",
            ),
            Kind::Nginx | Kind::HaProxy => text,
        };
        fronts.push(Front::start_with(kind, gateway.ingest(), gateway.admin(), trusting).await);
    }
    let mut expected = BTreeMap::new();
    for (number, case) in cases.iter().enumerate() {
        let found = oracle.ask(case.from, &case.lines).await;
        assert_eq!(found, case.expected, "nginx reads {:?} otherwise", case.lines);
        let id = format!("direct-{number}");
        let answer = plainly(case.from, gateway.ingest(), request(&id, &case.lines)).await;
        assert_eq!(answer.status, 200, "{:?}", case.lines);
        expected.insert(id, (case.expected, case.lines.clone()));
        for front in fronts.iter().filter(|_| case.behind) {
            let id = format!("{:?}-{number}", front.kind);
            let mut connection = front.connect(case.from).await.unwrap();
            let answer = connection.send(request(&id, &case.lines)).await.unwrap();
            assert_eq!(answer.status, 200, "{id}: {:?}", case.lines);
            expected.insert(id, (case.expected, case.lines.clone()));
        }
    }
    let mut random = Random::new();
    for number in 0..RANDOM_CASES {
        let lines = random_lines(&mut random);
        let found = oracle.ask(HOP, &lines).await;
        let id = format!("random-{number}");
        let answer = plainly(HOP, gateway.ingest(), request(&id, &lines)).await;
        assert_eq!(answer.status, 200, "{lines:?}");
        expected.insert(id, (found, lines));
    }
    gateway.terminate().await.unwrap();
    let behind = cases.iter().filter(|case| case.behind).count();
    println!(
        "{} cases and {RANDOM_CASES} at random as nginx reads them, {behind} behind each of {} proxies",
        cases.len(),
        fronts.len(),
    );
    check(&store::requests(&home).await.unwrap(), expected);
}

fn check(
    stored: &[sluice::storage::StoredRequest],
    mut expected: BTreeMap<String, (IpAddr, Vec<String>)>,
) {
    let mut wrong = Vec::new();
    for request in stored {
        let body: serde_json::Value = serde_json::from_slice(&request.record.body).unwrap();
        let id = body["eventId"].as_str().unwrap();
        let (address, lines) = expected.remove(id).unwrap_or_else(|| panic!("{id} twice"));
        if request.record.client != address {
            wrong.push(format!("{id}: {} and not {address}: {lines:?}", request.record.client));
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(expected.is_empty(), "not stored: {expected:?}");
}
