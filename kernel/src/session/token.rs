//! The token: a JWS in compact serialization (RFC 7515 section 3.1) with HS256 (RFC 7518 section 3.2) and JWT claims (RFC
//! 7519 section 4), in the one form that this kernel writes.
//!
//! Pure: no key of the process is here, no store, no clock. The header is compared by its bytes, so that there is no
//! algorithm, type or key to be talked into (RFC 8725 sections 3.1, 3.2 and 3.11).

use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD};
use ring::hmac;
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::{Deserialize, Serialize};

/// The longest token that is looked at. Ours have 400 to 800 bytes; the bound keeps a forged one cheap.
pub const TOKEN_LEN_MAX: usize = 4 * 1024;

/// Strict: no padding, and the unused bits of the last character are zero (RFC 4648 section 3.5).
const BASE64URL: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, NO_PAD);

/// The claims, every one of them, in this order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claims {
    pub iss: String,
    pub sub: String,
    pub aud: Vec<String>,
    pub jti: String,
    pub iat: u64,
    pub nbf: u64,
    pub exp: u64,
    pub scope: String,
}

/// Why a token was refused: for the log. Callers are told one and the same for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RejectReason {
    #[error("not a JWS of our form")]
    Form,
    #[error("the header is not ours, or its key is not")]
    Header,
    #[error("the signature does not verify")]
    Signature,
    #[error("the claims are not ours")]
    Claims,
    #[error("expired or not valid yet")]
    Expired,
    #[error("its session is unknown or has ended, or its key was revoked")]
    NoSession,
}

/// A signing key with its name, and the header that goes with it.
pub struct Key {
    kid: String,
    /// base64url of `{"alg":"HS256","kid":"…","typ":"JWT"}`.
    header: String,
    /// ring keeps its own copy of the key material and offers no way to wipe it; it lives as long as the process or until
    /// it is rotated out.
    hmac: hmac::Key,
}

impl Key {
    /// A key called `kid` of the given bytes; 32 or more (RFC 7518 section 3.2). `kid` needs no escaping in JSON.
    pub fn new(kid: &str, bytes: &[u8]) -> Key {
        let header = BASE64URL.encode(format!(r#"{{"alg":"HS256","kid":"{kid}","typ":"JWT"}}"#));
        Key {
            kid: kid.to_owned(),
            header,
            hmac: hmac::Key::new(hmac::HMAC_SHA256, bytes),
        }
    }

    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// Signs `claims`.
    pub fn sign(&self, claims: &Claims) -> String {
        let payload = serde_json::to_vec(claims).expect("claims are plain strings and numbers");
        let mut token = format!("{}.{}", self.header, BASE64URL.encode(payload));
        let tag = hmac::sign(&self.hmac, token.as_bytes());
        token.push('.');
        token.push_str(&BASE64URL.encode(tag.as_ref()));
        token
    }

    /// Whether the token's header is exactly the one of this key. The header is no secret.
    pub fn wrote_header_of(&self, token: &Parts<'_>) -> bool {
        token.header == self.header.as_bytes()
    }

    /// Checks the signature, and only then reads the claims.
    pub fn verify(&self, token: &Parts<'_>) -> Result<Claims, RejectReason> {
        token.verify_signature(&self.hmac)?;
        let payload = BASE64URL
            .decode(token.payload)
            .map_err(|_| RejectReason::Claims)?;
        // serde would take an array of the values as well; a claims set is an object (RFC 7519 section 7.2).
        if payload.first() != Some(&b'{') {
            return Err(RejectReason::Claims);
        }
        serde_json::from_slice(&payload).map_err(|_| RejectReason::Claims)
    }
}

/// A token cut into its three parts, within bounds, of the right alphabet, with a tag of full length.
#[derive(Debug)]
pub struct Parts<'a> {
    header: &'a [u8],
    payload: &'a [u8],
    signed: &'a [u8],
    tag: [u8; 32],
}

impl<'a> Parts<'a> {
    pub fn cut(token: &'a [u8]) -> Result<Parts<'a>, RejectReason> {
        if token.len() > TOKEN_LEN_MAX {
            return Err(RejectReason::Form);
        }
        let mut dots = token
            .iter()
            .enumerate()
            .filter(|(_, byte)| **byte == b'.')
            .map(|(at, _)| at);
        let (Some(first), Some(second), None) = (dots.next(), dots.next(), dots.next()) else {
            return Err(RejectReason::Form);
        };
        let (header, payload, tag) = (
            &token[..first],
            &token[first + 1..second],
            &token[second + 1..],
        );
        let mut decoded = [0; 32];
        if BASE64URL.decode_slice(tag, &mut decoded) != Ok(32) {
            return Err(RejectReason::Form);
        }
        Ok(Parts {
            header,
            payload,
            signed: &token[..second],
            tag: decoded,
        })
    }

    /// Checks the signature under any key, without looking at header or claims. In constant time.
    pub fn verify_signature(&self, key: &hmac::Key) -> Result<(), RejectReason> {
        hmac::verify(key, self.signed, &self.tag).map_err(|_| RejectReason::Signature)
    }
}

/// 128 random bits as base64url.
pub(crate) fn random_id() -> Result<String, ring::error::Unspecified> {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes)?;
    Ok(BASE64URL.encode(bytes))
}
