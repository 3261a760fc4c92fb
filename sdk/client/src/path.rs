//! Paths with parts that a caller names, encoded so that each stays in its place.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// All but the unreserved characters (RFC 3986 section 2.3), in a path segment as in a query.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// A path with one segment of the caller's, which stays one segment whatever it holds.
#[must_use]
pub fn segment(before: &str, text: &str, after: &str) -> String {
    let text = utf8_percent_encode(text, RESERVED);
    format!("{before}{text}{after}")
}

/// A path with those members of a query that have a value.
#[must_use]
pub fn with_query(path: &str, members: &[(&str, Option<&str>)]) -> String {
    let mut whole = path.to_owned();
    let mut separator = '?';
    for (name, value) in members {
        let Some(value) = value else { continue };
        whole.push(separator);
        whole.push_str(name);
        whole.push('=');
        whole.extend(utf8_percent_encode(value, RESERVED));
        separator = '&';
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_a_caller_names_in_its_place() {
        for (text, expected) in [
            ("ses_a-1", "/sessions/ses_a-1/renew"),
            ("a/../b", "/sessions/a%2F..%2Fb/renew"),
            ("?user=x", "/sessions/%3Fuser%3Dx/renew"),
            ("é", "/sessions/%C3%A9/renew"),
        ] {
            assert_eq!(segment("/sessions/", text, "/renew"), expected);
        }
        for (members, expected) in [
            (vec![], "/s"),
            (vec![("user", None)], "/s"),
            (vec![("user", None), ("k", Some("a&b=c"))], "/s?k=a%26b%3Dc"),
            (
                vec![("user", Some("a b")), ("k", Some("+"))],
                "/s?user=a%20b&k=%2B",
            ),
        ] {
            assert_eq!(with_query("/s", &members), expected);
        }
    }
}
