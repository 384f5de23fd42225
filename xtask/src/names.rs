//! Takes the names of functions out of a core module: a quarter of its size, and nobody reads them.

/// Magic number and version.
const HEADER_BYTES: usize = 8;

/// Id of custom sections, each of which has a name.
const CUSTOM: u8 = 0;

/// The module without its section `name`; `None` where it is no module.
pub(crate) fn without_names(module: &[u8]) -> Option<Vec<u8>> {
    let mut kept = module.get(..HEADER_BYTES)?.to_vec();
    let mut rest = module.get(HEADER_BYTES..)?;
    while let Some((&id, after)) = rest.split_first() {
        let (size, body) = number(after)?;
        let section = body.get(..size)?;
        let next = body.get(size..)?;
        if id != CUSTOM || name(section)? != b"name" {
            kept.extend(rest.get(..rest.len() - next.len())?);
        }
        rest = next;
    }
    Some(kept)
}

fn name(custom: &[u8]) -> Option<&[u8]> {
    let (length, text) = number(custom)?;
    text.get(..length)
}

/// An unsigned LEB128 number and what follows it.
fn number(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0_usize;
    for (index, byte) in bytes.iter().enumerate().take(5) {
        value |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, bytes.get(index + 1..)?));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_go_and_everything_else_stays() {
        let header = b"\0asm\x01\0\0\0";
        let code: &[u8] = b"\x0a\x83\x00abc";
        let named: &[u8] = b"\x00\x07\x04name\x01\x02";
        let producers: &[u8] = b"\x00\x0b\x09producers\x05";
        for parts in [&[code, named, producers][..], &[named, code, producers], &[code, producers]]
        {
            let module = [header, parts.concat().as_slice()].concat();
            let expected = [header, code, producers].concat();
            assert_eq!(without_names(&module).unwrap(), expected);
        }
        let module = [header, producers].concat();
        for end in HEADER_BYTES + 1..module.len() {
            assert_eq!(without_names(&module[..end]), None, "{end}");
        }
    }
}
