//! `multipart/form-data` (RFC 7578), as far as a form of texts needs it.

use plugin_sdk::Rejection;

/// The boundary, where the content type is `multipart/form-data`.
pub(super) fn boundary(content_type: &[String]) -> Option<String> {
    let [content_type] = content_type else { return None };
    let (kind, parameters) = content_type.split_once(';')?;
    if !kind.trim_ascii().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let boundary = parameter(parameters, "boundary")?;
    (!boundary.is_empty()).then(|| boundary.to_owned())
}

/// The names and values in order. What stands before the first and after the last part does not
/// count.
pub(super) fn fields<'a>(
    text: &'a str,
    boundary: &str,
) -> Result<Vec<(&'a str, &'a str)>, Rejection> {
    let malformed = || Rejection::malformed_body("the multipart body is cut or malformed");
    let first = format!("--{boundary}");
    let next = format!("\r\n{first}");
    let mut rest = match text.strip_prefix(&first) {
        Some(rest) => rest,
        None => text.split_once(&next).ok_or_else(malformed)?.1,
    };
    let mut fields = Vec::new();
    while !rest.starts_with("--") {
        let (part, after) = rest.split_once(&next).ok_or_else(malformed)?;
        // The line of the boundary ends, then headers, an empty line, and the value.
        let part =
            part.trim_start_matches([' ', '\t']).strip_prefix("\r\n").ok_or_else(malformed)?;
        let (headers, value) = part.split_once("\r\n\r\n").ok_or_else(malformed)?;
        fields.push((name(headers).ok_or_else(malformed)?, value));
        rest = after;
    }
    Ok(fields)
}

fn name(headers: &str) -> Option<&str> {
    headers.split("\r\n").find_map(|header| {
        let (name, value) = header.split_once(':')?;
        let wanted = name.trim_ascii().eq_ignore_ascii_case("content-disposition");
        let (_, parameters) = value.split_once(';').filter(|_| wanted)?;
        parameter(parameters, "name")
    })
}

/// A parameter of a header, quoted or not. Nothing in our names needs escapes.
fn parameter<'a>(mut parameters: &'a str, wanted: &str) -> Option<&'a str> {
    loop {
        let (name, rest) = parameters.split_once('=')?;
        let rest = rest.trim_ascii_start();
        let (value, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => rest.split_once(';').map_or((rest.trim_ascii_end(), ""), |(value, after)| {
                (value.trim_ascii_end(), after)
            }),
        };
        if name.trim_matches([' ', '\t', ';']).eq_ignore_ascii_case(wanted) {
            return Some(value);
        }
        parameters = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = "--b\r\nContent-Disposition: form-data; name=\"state\"\r\n\r\ntalking\r\n--b\r\n\
                       content-disposition: form-data; filename=\"f\"; name=agent_id\r\n\
                       content-type: text/plain\r\n\r\n1\r\n2\r\n--b--\r\n";

    fn read(body: &str) -> Option<Vec<(&str, &str)>> {
        fields(body, "b").ok()
    }

    #[test]
    fn fields_are_read_in_order() {
        let expected = [("state", "talking"), ("agent_id", "1\r\n2")];
        assert_eq!(read(TWO).unwrap(), expected);
        assert_eq!(read(&format!("preamble\r\n{TWO}epilogue")).unwrap(), expected);
        assert_eq!(read("--b--").unwrap(), []);
    }

    #[test]
    fn a_cut_body_is_refused_wherever_it_is_cut() {
        let whole = TWO.find("--b--").unwrap() + "--b--".len();
        for length in 0..whole {
            assert_eq!(read(TWO.get(..length).unwrap()), None, "{length}");
        }
    }

    #[test]
    fn the_boundary_is_a_parameter_of_one_header() {
        for (header, expected) in [
            ("multipart/form-data; boundary=b", Some("b")),
            ("Multipart/Form-Data;charset=utf-8; BOUNDARY=\"a b\"", Some("a b")),
            ("multipart/form-data", None),
            ("multipart/form-data; boundary=", None),
            ("multipart/mixed; boundary=b", None),
            ("application/json", None),
        ] {
            assert_eq!(boundary(&[header.to_owned()]).as_deref(), expected, "{header}");
        }
        assert_eq!(boundary(&[]), None);
    }
}
