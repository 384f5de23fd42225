use std::time::Instant;

use proptest::prelude::*;
use proxy_header::{ProxiedAddress, ProxyHeader, Tlv};
use tokio::io::AsyncWriteExt as _;

use super::*;

const REQUEST: &[u8] = b"POST / HTTP/1.1\r\n";

/// Reads a header that comes in pieces, with a request behind it. `Err`: refused.
fn read_pieces(pieces: &[&[u8]]) -> Result<Option<IpAddr>, io::ErrorKind> {
    let pieces: Vec<Vec<u8>> = pieces.iter().map(|piece| piece.to_vec()).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async move {
        let (near, mut far) = tokio::io::duplex(16 * 1024);
        let sending = async move {
            for piece in pieces {
                // It may be refused before it is whole.
                far.write_all(&piece).await.ok();
                tokio::task::yield_now().await;
            }
            far.write_all(REQUEST).await.ok();
        };
        let reading = async {
            let mut near = near;
            let read = read(&mut near).await.map_err(|error| error.kind())?;
            let mut rest = Vec::new();
            near.read_to_end(&mut rest).await.unwrap();
            assert_eq!(rest, REQUEST, "a byte too many or too few was read");
            Ok(read)
        };
        tokio::join!(sending, reading).1
    })
}

fn refused(bytes: &[u8]) -> bool {
    read_pieces(&[bytes]) == Err(io::ErrorKind::InvalidData)
}

#[track_caller]
fn check(bytes: &[u8], expected: Option<&str>) {
    let expected = expected.map(|text| text.parse::<IpAddr>().unwrap());
    assert_eq!(read_pieces(&[bytes]), Ok(expected), "{}", bytes.escape_ascii());
}

/// A header of version 2.
fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let mut header = SIGNATURE.to_vec();
    header.extend([command, family]);
    header.extend(u16::try_from(rest.len()).unwrap().to_be_bytes());
    header.extend(rest);
    header
}

fn entry(kind: u8, value: &[u8]) -> Vec<u8> {
    let mut entry = vec![kind];
    entry.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
    entry.extend(value);
    entry
}

const FROM_192_0_2_1: [u8; 12] = [192, 0, 2, 1, 10, 0, 0, 1, 0, 1, 0, 80];

/// From 192.0.2.1, with these entries.
fn with_entries(entries: &[Vec<u8>]) -> Vec<u8> {
    v2(0x21, 0x11, &[FROM_192_0_2_1.to_vec(), entries.concat()].concat())
}

#[test]
fn lines() {
    check(b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n", Some("192.0.2.1"));
    check(b"PROXY TCP4 192.0.2.1 198.51.100.1 0 65535\r\n", Some("192.0.2.1"));
    check(b"PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\n", Some("2001:db8::1"));
    check(b"PROXY UNKNOWN\r\n", None);
    check(b"PROXY UNKNOWN ffff:f:f:f:f:f:f:f ffff:f:f:f:f:f:f:f 65535 65535\r\n", None);
    let longest = format!("PROXY UNKNOWN {}\r\n", "x".repeat(LINE_BYTES_MAX - 16));
    assert_eq!(longest.len(), LINE_BYTES_MAX);
    check(longest.as_bytes(), None);
    let too_long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(LINE_BYTES_MAX - 15));
    assert!(refused(too_long.as_bytes()));
    for bad in [
        "PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 56324 443 \r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 56324\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 56324 65536\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 +1 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 01 443\r\n",
        "PROXY TCP4  192.0.2.1 198.51.100.1 1 443\r\n",
        "PROXY TCP4 192.0.2.01 198.51.100.1 1 443\r\n",
        "PROXY TCP4 192.0.2.1 2001:db8::1 1 443\r\n",
        "PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n",
        "PROXY TCP6 192.0.2.1 198.51.100.1 1 2\r\n",
        "PROXY TCP6 fe80::1%eth0 2001:db8::2 1 2\r\n",
        "PROXY TCP5 192.0.2.1 198.51.100.1 1 2\r\n",
        "PROXY UNKNOWNS\r\n",
        "PROXY \r\n",
        "PROXYTCP4 192.0.2.1 198.51.100.1 1 2\r\n",
        "proxy TCP4 192.0.2.1 198.51.100.1 1 2\r\n",
        "PROXY TCP4 192.0.2.\u{e9}1 198.51.100.1 1 2\r\n",
        "POST /hooks/vkyc HTTP/1.1\r\n",
        "GET / HTTP/1.1\r\n",
        "\r\nPROXY TCP4 192.0.2.1 198.51.100.1 1 2\r\n",
    ] {
        assert!(refused(bad.as_bytes()), "{bad:?}");
    }
}

#[test]
fn binary_headers() {
    check(&v2(0x21, 0x11, &FROM_192_0_2_1), Some("192.0.2.1"));
    let mut six = [0; 36];
    six[..16].copy_from_slice(&"2001:db8::1".parse::<Ipv6Addr>().unwrap().octets());
    check(&v2(0x21, 0x21, &six), Some("2001:db8::1"));
    check(&v2(0x21, 0x31, &[b'/'; 216]), None);
    check(&v2(0x21, 0x00, b""), None);
    check(&v2(0x21, 0x00, b"anything"), None);
    check(&v2(0x20, 0x00, b""), None);
    // A command that says nothing of anybody is not looked into.
    check(&v2(0x20, 0x11, &FROM_192_0_2_1), None);
    check(&v2(0x20, 0xff, b"?"), None);
    let longest = with_entries(&[entry(0x04, &vec![0; 4096 - 12 - 3])]);
    assert_eq!(longest.len(), 16 + 4096);
    check(&longest, Some("192.0.2.1"));
    for (bad, why) in [
        (v2(0x21, 0x11, b""), "no addresses"),
        (v2(0x21, 0x11, &FROM_192_0_2_1[..11]), "addresses cut short"),
        (v2(0x21, 0x21, &FROM_192_0_2_1), "IPv6 cut short"),
        (v2(0x21, 0x31, &[0; 215]), "Unix cut short"),
        (v2(0x21, 0x12, &FROM_192_0_2_1), "datagram"),
        (v2(0x21, 0x41, &FROM_192_0_2_1), "a family of its own"),
        (v2(0x22, 0x11, &FROM_192_0_2_1), "a command of its own"),
        (v2(0x11, 0x11, &FROM_192_0_2_1), "version 1 in binary"),
        (v2(0x31, 0x11, &FROM_192_0_2_1), "version 3"),
        (with_entries(&[entry(0x04, &vec![0; 4096 - 12 - 2])]), "a byte too long"),
        (v2(0x20, 0x00, &vec![0; 65_535]), "as long as it can say"),
        (b"\r\n\r\n\0\r\nQUIT\r\x21\x11\0\0".to_vec(), "another signature"),
    ] {
        assert!(refused(&bad), "{why}");
    }
}

#[test]
fn entries_are_whole_and_a_checksum_is_checked() {
    let name = entry(0x02, b"hooks.example.com");
    check(&with_entries(&[name.clone(), entry(0x04, b""), entry(0xee, b"x")]), Some("192.0.2.1"));
    assert!(refused(&with_entries(&[vec![0x02]])), "an entry without a length");
    assert!(refused(&with_entries(&[vec![0x02, 0, 9, b'x']])), "an entry cut short");

    for entries in [[entry(0x03, &[0; 4]), name.clone()], [name, entry(0x03, &[0; 4])]] {
        let mut header = with_entries(&entries);
        let sum = crc32c::crc32c(&header).to_be_bytes();
        let place = header.windows(7).position(|w| w == [3, 0, 4, 0, 0, 0, 0]).unwrap() + 3;
        header[place..place + 4].copy_from_slice(&sum);
        check(&header, Some("192.0.2.1"));
        for bit in 0..8 * header.len() {
            let mut flipped = header.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            // Only a sender that does not check at all, or waits for more, gets past the sum.
            let read = read_pieces(&[&flipped]);
            let ignores = flipped[12] == 0x20 || flipped[13] == 0;
            let unsummed = flipped.windows(3).all(|w| w != [3, 0, 4]);
            assert!(read.is_err() || ignores || unsummed, "bit {bit}: {read:?}");
        }
    }
    assert!(refused(&with_entries(&[entry(0x03, &[0; 4])])), "a wrong sum");
    assert!(refused(&with_entries(&[entry(0x03, &[0; 3])])), "a short sum");
    let right = crc32c::crc32c(b"").to_be_bytes();
    assert!(refused(&with_entries(&[entry(0x03, &right), entry(0x03, &right)])), "two sums");
}

/// Published: RFC 3720 appendix B.4.
#[test]
fn the_checksum_is_castagnolis() {
    assert_eq!(crc32c::crc32c(&[0; 32]), 0x8a91_36aa);
    assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
}

#[test]
fn what_ends_early_is_no_header_and_what_is_none_is_refused_at_once() {
    let line = b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n".to_vec();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    for whole in [line, v2(0x21, 0x11, &FROM_192_0_2_1)] {
        for length in 0..whole.len() {
            let mut cut = &whole[..length];
            let error = runtime.block_on(read(&mut cut)).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{length} bytes");
        }
    }
    // Nobody has to wait for more of what cannot become one.
    for bad in ["G", "PO", "PROXZ", "PROXY \n"] {
        let (mut near, mut far) = tokio::io::duplex(64);
        let began = Instant::now();
        let read = runtime.block_on(async {
            far.write_all(bad.as_bytes()).await.unwrap();
            tokio::time::timeout(DEADLINE, read(&mut near)).await
        });
        assert_eq!(read.unwrap().unwrap_err().kind(), io::ErrorKind::InvalidData, "{bad}");
        assert!(began.elapsed() < DEADLINE);
    }
}

proptest! {
    #[test]
    fn whatever_comes_is_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        line(&bytes);
        binary(&bytes);
        binary(&[&SIGNATURE[..], &bytes].concat());
        binary(&v2(0x21, 0x11, &bytes));
        line(&[b"PROXY ", &bytes[..], b"\r\n"].concat());
    }

    /// What another implementation writes is read, whole or in pieces, and not a byte more.
    #[test]
    fn another_implementations_headers_are_read(
        four: (Ipv4Addr, Ipv4Addr),
        six: (Ipv6Addr, Ipv6Addr),
        ports: (u16, u16),
        is_six: bool,
        authority in "[a-z.]{0,30}",
        cut in 0.0..1.0_f64,
    ) {
        let ends: (IpAddr, IpAddr) =
            if is_six { (six.0.into(), six.1.into()) } else { (four.0.into(), four.1.into()) };
        let address = ProxiedAddress::stream((ends.0, ports.0).into(), (ends.1, ports.1).into());
        let mut one = Vec::new();
        ProxyHeader::with_address(address.clone()).encode_v1(&mut one).unwrap();
        let mut two = Vec::new();
        let mut header = ProxyHeader::with_address(address);
        header.append_tlv(Tlv::Authority(authority.as_str().into()));
        header.encode_v2(&mut two).unwrap();
        for bytes in [one, two] {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
            #[expect(clippy::cast_precision_loss, reason = "a hundred bytes")]
            let cut = (bytes.len() as f64 * cut) as usize;
            let (start, end) = bytes.split_at(cut);
            prop_assert_eq!(read_pieces(&[start, end]), Ok(Some(ends.0)));
        }
    }
}
