//! The PROXY protocol, versions 1 and 2: what a proxy says of a connection before its first byte.
//!
//! Stricter than the libraries for it: exact bounds, nothing after an unknown word, and a checksum
//! that is checked where it is sent.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// How long a header may take: a proxy sends it in one piece with the connection.
pub(in crate::ingest) const DEADLINE: Duration = Duration::from_secs(5);

/// Longest line of version 1, its end included, by the protocol's own count.
const LINE_BYTES_MAX: usize = 107;

/// Most that may follow the fixed part of version 2: addresses of Unix sockets take 216 bytes, a
/// client's certificate some hundred.
const REST_BYTES_MAX: u16 = 4096;

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// Signature, version and command, family, length.
const FIXED_BYTES: usize = SIGNATURE.len() + 4;

/// Two addresses and two ports.
const IPV4_BYTES: usize = 12;
const IPV6_BYTES: usize = 36;
const UNIX_BYTES: usize = 216;

/// The kind of entry that holds the checksum.
const KIND_CRC32C: u8 = 0x03;

/// Reads the header that a connection begins with, and not a byte more. `None`: the proxy speaks
/// for itself, or does not say for whom.
///
/// # Errors
///
/// `InvalidData` where it is none, as soon as that is certain; otherwise what the connection says.
pub(in crate::ingest) async fn read<S>(stream: &mut S) -> io::Result<Option<IpAddr>>
where
    S: AsyncRead + Unpin,
{
    let header = match stream.read_u8().await? {
        b'P' => line(&read_line(stream).await?),
        b'\r' => binary(&read_binary(stream).await?),
        _ => None,
    };
    header.ok_or(io::ErrorKind::InvalidData.into())
}

/// A line from after its first byte to its end; what cannot become one of version 1 is given back as
/// it is.
///
/// Read byte by byte, so that nothing behind it has to be put back: a hundred at most, and once for
/// a connection.
async fn read_line<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<Vec<u8>> {
    const START: &[u8] = b"PROXY ";
    let mut line = Vec::with_capacity(LINE_BYTES_MAX);
    line.push(b'P');
    loop {
        line.push(stream.read_u8().await?);
        let is_start = line.iter().zip(START).all(|(byte, expected)| byte == expected);
        if line.ends_with(b"\n") || line.len() == LINE_BYTES_MAX || !is_start {
            return Ok(line);
        }
    }
}

/// A header of version 2 from after its first byte on; what is none, or too long, is given back as far as it was read.
async fn read_binary<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<Vec<u8>> {
    let mut header = vec![b'\r'; FIXED_BYTES];
    stream.read_exact(header.get_mut(1..).unwrap_or_default()).await?;
    let is_signed = header.starts_with(&SIGNATURE);
    let length = rest_length(&header).filter(|length| is_signed && *length <= REST_BYTES_MAX);
    if let Some(length) = length {
        header.resize(FIXED_BYTES + usize::from(length), 0);
        stream.read_exact(header.get_mut(FIXED_BYTES..).unwrap_or_default()).await?;
    }
    Ok(header)
}

fn rest_length(header: &[u8]) -> Option<u16> {
    header.get(FIXED_BYTES - 2..FIXED_BYTES)?.try_into().ok().map(u16::from_be_bytes)
}

/// A whole line of version 1; `None` where it is malformed.
fn line(line: &[u8]) -> Option<Option<IpAddr>> {
    let line = std::str::from_utf8(line.strip_suffix(b"\r\n")?).ok()?;
    let line = line.strip_prefix("PROXY ")?;
    // Whatever else is said of what is unknown is to be ignored.
    if line == "UNKNOWN" || line.starts_with("UNKNOWN ") {
        return Some(None);
    }
    let mut words = line.split(' ');
    let source = match words.next()? {
        "TCP4" => addresses::<Ipv4Addr>(&mut words).map(IpAddr::V4)?,
        "TCP6" => addresses::<Ipv6Addr>(&mut words).map(IpAddr::V6)?,
        _ => return None,
    };
    let ports_are_good = is_port(words.next()?) && is_port(words.next()?);
    (ports_are_good && words.next().is_none()).then_some(Some(source))
}

/// Two addresses of one family; the first is the source.
fn addresses<'w, A: FromStr>(words: &mut impl Iterator<Item = &'w str>) -> Option<A> {
    let source = words.next()?.parse().ok()?;
    words.next()?.parse::<A>().ok().map(|_destination| source)
}

/// Decimal, without leading zeros or a sign.
fn is_port(text: &str) -> bool {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    plain && (text == "0" || !text.starts_with('0')) && text.parse::<u16>().is_ok()
}

/// A whole header of version 2; `None` where it is malformed.
fn binary(header: &[u8]) -> Option<Option<IpAddr>> {
    let fixed = header.strip_prefix(&SIGNATURE)?;
    let [command, family] = *fixed.first_chunk()?;
    let rest = header.get(FIXED_BYTES..)?;
    (rest.len() == usize::from(rest_length(header)?)).then_some(())?;
    match command {
        // LOCAL: the proxy's own, as a health check. All that follows is to be ignored.
        0x20 => return Some(None),
        0x21 => {}
        _ => return None,
    }
    let (source, entries) = match family {
        // What follows an unspecified family is not described, and to be ignored.
        0x00 => return Some(None),
        0x11 => {
            let octets: [u8; 4] = *rest.first_chunk()?;
            (Some(IpAddr::from(octets)), rest.get(IPV4_BYTES..)?)
        }
        0x21 => {
            let octets: [u8; 16] = *rest.first_chunk()?;
            (Some(IpAddr::from(octets)), rest.get(IPV6_BYTES..)?)
        }
        0x31 => (None, rest.get(UNIX_BYTES..)?),
        // Datagrams do not come over a connection.
        _ => return None,
    };
    is_checked(header, entries).then_some(source)
}

/// Whether the entries at the end of a header are whole, and its checksum is right where one is
/// sent.
fn is_checked(header: &[u8], entries: &[u8]) -> bool {
    let mut rest = entries;
    let mut found = None;
    while let [kind, high, low, more @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let Some((value, after)) = more.split_at_checked(length) else { return false };
        if *kind == KIND_CRC32C {
            let Ok(value) = value.try_into().map(u32::from_be_bytes) else { return false };
            // Two of them, and nobody knows which is meant.
            if found.replace((value, header.len() - after.len() - length)).is_some() {
                return false;
            }
        }
        rest = after;
    }
    let checked = found.is_none_or(|(value, place)| {
        // It was made over the whole header with zeros in its own place.
        let (before, after) = (header.get(..place), header.get(place + 4..));
        let sum = crc32c::crc32c(before.unwrap_or_default());
        let sum = crc32c::crc32c_append(sum, &[0; 4]);
        crc32c::crc32c_append(sum, after.unwrap_or_default()) == value
    });
    rest.is_empty() && checked
}

#[cfg(test)]
mod tests;
