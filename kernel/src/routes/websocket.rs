//! A client's opening handshake of a WebSocket (RFC 6455 section 4.2). Decides only; whether there is one is the module's to
//! say.
//!
//! No extension is offered back, so that none is used (section 9.1).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    CONNECTION, HeaderName, HeaderValue, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::request::Parts;
use http::{HeaderMap, Method, Version};
use hyper::upgrade::OnUpgrade;
use ring::digest;

use crate::modules::executor::Handshake;
use crate::problem::{Code, Problem};

/// What makes the answer to a key one that only a WebSocket's server gives (RFC 6455 section 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// Of a key, decoded.
const KEY_LEN: usize = 16;

/// The handshake, if the request is one; a request that asks for a WebSocket in another way than it should is refused.
pub(super) fn handshake(parts: &Parts, body_is_empty: bool) -> Result<Option<Handshake>, Problem> {
    if !has_token(&parts.headers, UPGRADE, "websocket") {
        return Ok(None);
    }
    let accept = check(parts, body_is_empty)?;
    let Some(on_upgrade) = parts.extensions.get::<OnUpgrade>() else {
        return Err(refused("the connection cannot be upgraded here"));
    };
    let protocols = parts.headers.get_all(SEC_WEBSOCKET_PROTOCOL);
    Ok(Some(Handshake {
        accept,
        protocols: protocols.iter().cloned().collect(),
        on_upgrade: on_upgrade.clone(),
    }))
}

/// The value of `Sec-WebSocket-Accept` for a request that is as it should be.
fn check(parts: &Parts, body_is_empty: bool) -> Result<HeaderValue, Problem> {
    let headers = &parts.headers;
    if parts.version != Version::HTTP_11 {
        return Err(refused("a WebSocket is opened with HTTP/1.1"));
    }
    if parts.method != Method::GET {
        return Err(refused("a WebSocket is opened with GET"));
    }
    if !body_is_empty {
        return Err(refused(
            "the request that opens a WebSocket has no body: send it as the first message",
        ));
    }
    if !has_token(headers, CONNECTION, "upgrade") {
        return Err(refused(
            "the header `Connection: Upgrade` is missing beside `Upgrade: websocket`",
        ));
    }
    match only(headers, SEC_WEBSOCKET_VERSION) {
        None => {
            return Err(refused(
                "the header `Sec-WebSocket-Version` is missing or given twice: send 13",
            ));
        }
        Some(version) if version.as_bytes().trim_ascii() != b"13" => {
            return Err(Problem::new(
                Code::UpgradeRequired,
                "this version of the WebSocket protocol is not spoken here: send `Sec-WebSocket-Version: 13`",
            )
            .upgrade("websocket"));
        }
        Some(_) => {}
    }
    let key = only(headers, SEC_WEBSOCKET_KEY).map(|key| key.as_bytes().trim_ascii());
    let Some(key) = key.filter(|key| is_key(key)) else {
        return Err(refused(
            "the header `Sec-WebSocket-Key` must be there once, with 16 random bytes in base64",
        ));
    };
    Ok(accept(key))
}

fn refused(detail: &'static str) -> Problem {
    Problem::new(Code::InvalidHandshake, detail)
}

fn is_key(key: &[u8]) -> bool {
    STANDARD
        .decode(key)
        .is_ok_and(|bytes| bytes.len() == KEY_LEN)
}

/// RFC 6455 section 4.2.2, item 5.4. SHA-1 protects nothing here.
fn accept(key: &[u8]) -> HeaderValue {
    let mut context = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    context.update(key);
    context.update(GUID);
    HeaderValue::from_str(&STANDARD.encode(context.finish())).expect("base64 is visible ASCII")
}

/// The header, if it is there exactly once.
fn only(headers: &HeaderMap, name: HeaderName) -> Option<&HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

/// Whether one of the comma-separated members of a header is `token`, in any case.
pub(super) fn has_token(headers: &HeaderMap, name: HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .any(|member| member.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A good handshake, but for what is changed: a header of no value is taken away, one of several given several times.
    fn outcome(
        method: &str,
        version: Version,
        changes: &[(&str, &[&str])],
        body_is_empty: bool,
    ) -> Result<HeaderValue, u16> {
        let request = http::Request::builder()
            .method(method)
            .version(version)
            .header("upgrade", "websocket")
            .header("connection", "Upgrade")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        for (name, values) in changes {
            let name: HeaderName = name.parse().unwrap();
            parts.headers.remove(&name);
            for value in *values {
                parts.headers.append(&name, value.parse().unwrap());
            }
        }
        check(&parts, body_is_empty).map_err(|problem| problem.code.status())
    }

    #[test]
    fn the_sample_of_the_rfc_is_answered_as_there() {
        let accept = outcome("GET", Version::HTTP_11, &[], true).unwrap();
        assert_eq!(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn only_a_good_handshake_is_taken() {
        const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
        let check = |changes: &[(&str, &[&str])], expect: Option<u16>| {
            let outcome = outcome("GET", Version::HTTP_11, changes, true);
            assert_eq!(outcome.err(), expect, "{changes:?}");
        };
        check(&[("connection", &["keep-alive, UPGRADE"])], None);
        check(&[("connection", &["keep-alive", "upgrade"])], None);
        check(&[("sec-websocket-version", &[" 13 "])], None);
        check(&[("connection", &[])], Some(400));
        check(&[("connection", &["keep-alive"])], Some(400));
        check(&[("connection", &["upgraded"])], Some(400));
        check(&[("sec-websocket-version", &[])], Some(400));
        check(&[("sec-websocket-version", &["13", "13"])], Some(400));
        for version in ["12", "8", "14", "x", "013", "13, 8", ""] {
            check(&[("sec-websocket-version", &[version])], Some(426));
        }
        check(&[("sec-websocket-key", &[])], Some(400));
        check(&[("sec-websocket-key", &[KEY, KEY])], Some(400));
        for key in [
            "",
            "x",
            "dGhlIHNhbXBsZSBub25jZQ",
            "dGhlIHNhbXBsZSBub25jZQ=",
            "AAAA",
        ] {
            check(&[("sec-websocket-key", &[key])], Some(400));
        }
        check(
            &[("sec-websocket-key", &["AAAAAAAAAAAAAAAAAAAAAAAA"])],
            Some(400),
        );
        for method in ["POST", "HEAD", "CONNECT", "get"] {
            let outcome = outcome(method, Version::HTTP_11, &[], true);
            assert_eq!(outcome, Err(400), "{method}");
        }
        for version in [Version::HTTP_10, Version::HTTP_2] {
            assert_eq!(outcome("GET", version, &[], true), Err(400), "{version:?}");
        }
        assert_eq!(outcome("GET", Version::HTTP_11, &[], false), Err(400));
    }
}
