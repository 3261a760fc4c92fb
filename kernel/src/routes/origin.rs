//! Whether a request may come from where it says it comes from.

use http::header::{HOST, HeaderValue, ORIGIN};
use http::request::Parts;

use crate::kernel::Kernel;
use crate::problem::{Code, Problem};

/// No web page may reach this socket through some forwarder: a page's requests carry `Origin`, or the page's host.
pub(super) fn check(kernel: &Kernel, parts: &Parts) -> Result<(), Problem> {
    for origin in parts.headers.get_all(ORIGIN) {
        let allowed = &kernel.config.kernel.allowed_origins;
        if !allowed
            .iter()
            .any(|allowed| allowed.as_bytes() == origin.as_bytes())
        {
            let detail = "requests with an Origin header come from web pages: add it to `allowed_origins` in [kernel] if it should be served";
            return Err(Problem::new(Code::OriginNotAllowed, detail));
        }
    }
    // An absolute-form target names the host itself (RFC 9112 section 3.2.2).
    let hosts = parts
        .headers
        .get_all(HOST)
        .iter()
        .map(HeaderValue::as_bytes)
        .chain(
            parts
                .uri
                .authority()
                .map(|authority| authority.as_str().as_bytes()),
        );
    for host in hosts {
        let host = std::str::from_utf8(host).unwrap_or(".");
        if !is_local_host(host)
            && !kernel
                .config
                .kernel
                .allowed_hosts
                .iter()
                .any(|allowed| allowed == host)
        {
            let detail = "the Host must be absent, `localhost`, an IP address or one label without a dot: add it to `allowed_hosts` in [kernel] if it should be served";
            return Err(Problem::new(Code::HostNotAllowed, detail));
        }
    }
    Ok(())
}

/// Absent, `localhost`, an IP literal, or one label without a dot, each with or without a port.
fn is_local_host(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(literal) => {
            let Some((address, port)) = literal.split_once(']') else {
                return false;
            };
            return address.parse::<std::net::Ipv6Addr>().is_ok()
                && (port.is_empty() || is_port(port));
        }
        None => host.find(':').map_or(host, |colon| {
            if is_port(&host[colon..]) {
                &host[..colon]
            } else {
                "."
            }
        }),
    };
    name.parse::<std::net::Ipv4Addr>().is_ok()
        || name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

fn is_port(text: &str) -> bool {
    text.strip_prefix(':')
        .is_some_and(|port| port.len() <= 5 && port.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_that_no_page_can_have_are_local() {
        for (host, expect) in [
            ("", true),
            ("localhost", true),
            ("localhost:8080", true),
            ("midplane", true),
            ("2f746d702f6b65726e656c2e736f636b", true),
            ("127.0.0.1", true),
            ("127.0.0.1:80", true),
            ("[::1]", true),
            ("[::1]:80", true),
            ("example.com", false),
            ("localhost.", false),
            ("evil.localhost", false),
            ("localhost:80:80", false),
            ("[::1", false),
            ("[::1]x", false),
            ("[evil]", false),
            ("a@b", false),
        ] {
            assert_eq!(is_local_host(host), expect, "{host}");
        }
    }
}
