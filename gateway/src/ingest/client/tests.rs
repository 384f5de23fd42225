use http::HeaderValue;
use proptest::prelude::*;

use super::*;

/// Networks trusted in the cases that are kept as data.
const TRUSTED: [&str; 4] = ["127.0.0.1/32", "127.9.0.0/16", "10.0.0.0/8", "2001:db8:ffff::/48"];

const CASES: &str = include_str!("../../../tests/data/client-address.tsv");

fn config(forwarded: ForwardedBy, trusted: &[&str]) -> IngestConfig {
    let second = std::time::Duration::from_secs(1);
    IngestConfig {
        listeners: Vec::new(),
        trusted_proxies: trusted.iter().map(|text| text.parse().unwrap()).collect(),
        forwarded,
        body_max: 1,
        connections_max: 1,
        requests_in_flight_max: 1,
        head_deadline: second,
        body_deadline: second,
        body_rate_min: 1,
        idle_deadline: second,
        drain: second,
        public_url: None,
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn headers(name: &str, lines: &[&[u8]]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines {
        headers.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_bytes(line).unwrap());
    }
    headers
}

fn client(peer: &str, name: &str, lines: &[&[u8]], config: &IngestConfig) -> IpAddr {
    ClientAddress::of(Neighbour::new(ip(peer)), &headers(name, lines), config).ip()
}

#[test]
fn an_ipv4_address_is_one_however_it_comes() {
    let config = config(ForwardedBy::None, &[]);
    assert_eq!(client("::ffff:192.0.2.1", "x", &[], &config).to_string(), "192.0.2.1");
    assert_eq!(client("2001:db8::1", "x", &[], &config).to_string(), "2001:db8::1");
}

#[test]
fn every_case_on_file() {
    let mut cases = 0;
    for row in CASES.lines().filter(|line| !line.starts_with('#')) {
        let [name, peer, expected, _, lines, why] =
            row.split('\t').collect::<Vec<_>>().try_into().unwrap_or_else(|_| panic!("{row:?}"));
        let forwarded = match name {
            "x-forwarded-for" => ForwardedBy::XForwardedFor,
            "forwarded" => ForwardedBy::Forwarded,
            _ => panic!("{row}"),
        };
        let lines: Vec<&[u8]> =
            lines.split(" | ").filter(|line| !line.is_empty()).map(str::as_bytes).collect();
        let read = client(peer, name, &lines, &config(forwarded, &TRUSTED));
        assert_eq!(read, ip(expected), "{name}: {why}: {lines:?}");
        // The other mechanisms do not look at it, and nobody is trusted unless the operator says so.
        for other in [ForwardedBy::None, ForwardedBy::ProxyProtocol] {
            assert_eq!(client(peer, name, &lines, &config(other, &TRUSTED)), ip(peer), "{why}");
        }
        let other = if forwarded == ForwardedBy::Forwarded {
            ForwardedBy::XForwardedFor
        } else {
            ForwardedBy::Forwarded
        };
        assert_eq!(client(peer, name, &lines, &config(other, &TRUSTED)), ip(peer), "{why}");
        assert_eq!(client(peer, name, &lines, &config(forwarded, &[])), ip(peer), "{why}");
        cases += 1;
    }
    assert!(cases > 60, "{cases}");
}

#[test]
fn one_chosen_header_is_read_and_never_a_second() {
    let mut both = headers("x-forwarded-for", &[b"203.0.113.1"]);
    both.extend(headers("forwarded", &[b"for=203.0.113.2"]));
    both.extend(headers("x-real-ip", &[b"203.0.113.3"]));
    let peer = Neighbour::new(ip("10.0.0.1")).telling(Some(ip("::ffff:203.0.113.4")));
    for (forwarded, expected) in [
        (ForwardedBy::XForwardedFor, "203.0.113.1"),
        (ForwardedBy::Forwarded, "203.0.113.2"),
        (ForwardedBy::ProxyProtocol, "203.0.113.4"),
        (ForwardedBy::None, "10.0.0.1"),
    ] {
        let read = ClientAddress::of(peer, &both, &config(forwarded, &TRUSTED));
        assert_eq!(read.ip(), ip(expected), "{forwarded}");
        // Where a reload takes the trust back, what the connection began with is void as well.
        let read = ClientAddress::of(peer, &both, &config(forwarded, &[]));
        assert_eq!(read.ip(), ip("10.0.0.1"), "{forwarded}");
    }
}

#[test]
fn a_header_is_owed_by_trusted_peers_alone_and_where_it_is_asked_for() {
    let proxy = Neighbour::new(ip("10.0.0.1"));
    assert!(proxy.owes_proxy_header(&config(ForwardedBy::ProxyProtocol, &TRUSTED)));
    assert!(!proxy.owes_proxy_header(&config(ForwardedBy::XForwardedFor, &TRUSTED)));
    assert!(!proxy.owes_proxy_header(&config(ForwardedBy::ProxyProtocol, &[])));
    let stranger = Neighbour::new(ip("203.0.113.1"));
    assert!(!stranger.owes_proxy_header(&config(ForwardedBy::ProxyProtocol, &TRUSTED)));
}

#[test]
fn ten_thousand_entries_are_read_in_one_pass() {
    let config = config(ForwardedBy::XForwardedFor, &TRUSTED);
    let chain = "10.1.2.3, ".repeat(10_000);
    let line = format!("203.0.113.9, {chain}10.0.0.9");
    let began = std::time::Instant::now();
    assert_eq!(
        client("10.0.0.1", "x-forwarded-for", &[line.as_bytes()], &config),
        ip("203.0.113.9")
    );
    let lines: Vec<&[u8]> = line.split(", ").map(str::as_bytes).collect();
    assert_eq!(client("10.0.0.1", "x-forwarded-for", &lines, &config), ip("203.0.113.9"));
    let forwarded = self::config(ForwardedBy::Forwarded, &TRUSTED);
    let chain = "for=\"10.1.2.3\";proto=http, ".repeat(10_000);
    let line = format!("for=203.0.113.9, {chain}for=10.0.0.9");
    assert_eq!(client("10.0.0.1", "forwarded", &[line.as_bytes()], &forwarded), ip("203.0.113.9"));
    // A thousand times what it takes, and a thousandth of what a quadratic one would.
    assert!(began.elapsed() < std::time::Duration::from_secs(5), "{:?}", began.elapsed());
}

/// A line of a header, made of what such lines are made of.
fn line() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => any::<IpAddr>().prop_map(|address| address.to_string()),
        4 => (0_u8..5).prop_map(|n| format!("10.0.0.{n}")),
        2 => any::<IpAddr>().prop_map(|address| format!("for=\"[{address}]\"")),
        2 => (0_u8..5).prop_map(|n| format!("for=10.0.0.{n}")),
        4 => Just(", ".to_owned()),
        1 => "[ -~]{0,5}",
    ];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat().trim().as_bytes().to_vec())
}

proptest! {
    #[test]
    fn who_is_not_trusted_is_not_believed(
        peer: IpAddr,
        told: Option<IpAddr>,
        lines in prop::collection::vec(line(), 0..4),
        forwarded in prop::sample::select(&[
            ForwardedBy::None,
            ForwardedBy::XForwardedFor,
            ForwardedBy::Forwarded,
            ForwardedBy::ProxyProtocol,
        ]),
    ) {
        let config = config(forwarded, &TRUSTED);
        prop_assume!(!config.trusted_proxies.contains(peer));
        let lines: Vec<&[u8]> = lines.iter().map(Vec::as_slice).collect();
        let mut both = headers("x-forwarded-for", &lines);
        both.extend(headers("forwarded", &lines));
        let read = ClientAddress::of(Neighbour::new(peer).telling(told), &both, &config);
        prop_assert_eq!(read.ip(), peer.to_canonical());
    }

    /// Whatever a client sends: once a trusted proxy has added the client's address, it is that.
    #[test]
    fn nothing_a_client_sends_changes_what_a_trusted_proxy_says(
        client: IpAddr,
        lines in prop::collection::vec(line(), 0..4),
        hops in prop::collection::vec(0_u8..=255, 0..4),
        own_line: bool,
    ) {
        for forwarded in [ForwardedBy::XForwardedFor, ForwardedBy::Forwarded] {
            let config = config(forwarded, &TRUSTED);
            prop_assume!(!config.trusted_proxies.contains(client));
            let written = |address: IpAddr| match (forwarded, address) {
                (ForwardedBy::Forwarded, IpAddr::V6(address)) => format!("for=\"[{address}]\""),
                (ForwardedBy::Forwarded, IpAddr::V4(address)) => format!("for={address}"),
                _ => address.to_string(),
            };
            let hops = hops.iter().map(|hop| IpAddr::from([10, 0, 0, *hop]));
            let added: Vec<_> = std::iter::once(client).chain(hops).map(written).collect();
            let added = added.join(", ");
            let mut all = lines.clone();
            match all.last_mut() {
                Some(last) if !own_line => last.extend(format!(", {added}").as_bytes()),
                _ => all.push(added.into_bytes()),
            }
            let all: Vec<&[u8]> = all.iter().map(Vec::as_slice).collect();
            let headers = headers(&forwarded.to_string(), &all);
            let read = ClientAddress::of(Neighbour::new(ip("10.0.0.1")), &headers, &config);
            prop_assert_eq!(read.ip(), client.to_canonical());
        }
    }
}
