//! What is no token of ours, though much of it is a token to somebody.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;

use super::super::token::{Claims, Key, Parts, RejectReason, TOKEN_LEN_MAX};
use super::{KEY, NOW, claims, issue, key, sessions};

const HEADER: &str = r#"{"alg":"HS256","kid":"k1","typ":"JWT"}"#;

/// As `Keyring::verify` does under a single key.
fn verify(key: &Key, token: &[u8]) -> Result<Claims, RejectReason> {
    let parts = Parts::cut(token)?;
    if !key.wrote_header_of(&parts) {
        return Err(RejectReason::Header);
    }
    key.verify(&parts)
}

fn base64url(text: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

/// Signs any two parts, as they stand, with the right key under `algorithm`.
fn seal_with(algorithm: hmac::Algorithm, header: &str, payload: &str) -> String {
    let signed = format!("{header}.{payload}");
    let tag = hmac::sign(&hmac::Key::new(algorithm, &KEY), signed.as_bytes());
    format!("{signed}.{}", base64url(tag))
}

fn seal(header: &str, payload: &str) -> String {
    seal_with(hmac::HMAC_SHA256, header, payload)
}

fn payload() -> String {
    base64url(serde_json::to_string(&claims()).unwrap())
}

#[test]
fn what_was_signed_is_read_back() {
    let token = key().sign(&claims());
    assert_eq!(verify(&key(), token.as_bytes()), Ok(claims()));
    // The control of this file: parts put together by hand are accepted when they are right.
    assert_eq!(seal(&base64url(HEADER), &payload()), token);
}

#[test]
fn the_header_and_the_claims_are_the_documented_ones() {
    let token = key().sign(&claims());
    let parts: Vec<String> = token
        .split('.')
        .take(2)
        .map(|part| String::from_utf8(URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap())
        .collect();
    assert_eq!(parts[0], HEADER);
    let expect = format!(
        r#"{{"iss":"midplane:test","sub":"me","aud":["one","two"],"jti":"ses_1","iat":{NOW},"nbf":{NOW},"exp":{},"scope":"read write"}}"#,
        NOW + 600
    );
    assert_eq!(parts[1], expect);
}

#[test]
fn another_key_does_not_verify() {
    let token = key().sign(&claims());
    for other in [
        Key::new("k1", &[8; 32]),
        Key::new("k1", &[7; 31]),
        Key::new("k1", b""),
    ] {
        assert_eq!(
            verify(&other, token.as_bytes()),
            Err(RejectReason::Signature)
        );
    }
    assert_eq!(
        verify(&Key::new("k2", &KEY), token.as_bytes()),
        Err(RejectReason::Header)
    );
}

/// Each is signed correctly with the right key: only the header is another.
#[test]
fn only_the_exact_header_is_ours() {
    for header in [
        r#"{"alg":"none","kid":"k1","typ":"JWT"}"#,
        r#"{"alg":"None","kid":"k1","typ":"JWT"}"#,
        r#"{"alg":"HS384","kid":"k1","typ":"JWT"}"#,
        r#"{"alg":"HS512","kid":"k1","typ":"JWT"}"#,
        r#"{"alg":"RS256","kid":"k1","typ":"JWT"}"#,
        r#"{"alg":"ES256","kid":"k1","typ":"JWT"}"#,
        r#"{"alg":"hs256","kid":"k1","typ":"JWT"}"#,
        r#"{"alg":["HS256"],"kid":"k1","typ":"JWT"}"#,
        r#"{"alg":"HS256","kid":"k1","typ":"jwt"}"#,
        r#"{"alg":"HS256","kid":"k1","typ":"at+jwt"}"#,
        r#"{"alg":"HS256","kid":"k1","typ":"JOSE"}"#,
        r#"{"alg":"HS256","kid":"k1"}"#,
        r#"{"alg":"HS256","typ":"JWT"}"#,
        r#"{"alg":"HS256","kid":"","typ":"JWT"}"#,
        r#"{"alg":"HS256","kid":"K1","typ":"JWT"}"#,
        r#"{"alg":"HS256","kid":"k1/../k1","typ":"JWT"}"#,
        r#"{"alg":"HS256","kid":["k1"],"typ":"JWT"}"#,
        r#"{"alg":"HS256","kid":"k\u0031","typ":"JWT"}"#,
        r#"{"kid":"k1","alg":"HS256","typ":"JWT"}"#,
        r#"{"typ":"JWT","alg":"HS256","kid":"k1"}"#,
        r#"{"alg":"HS256","alg":"HS256","kid":"k1","typ":"JWT"}"#,
        r#"{"alg":"none","alg":"HS256","kid":"k1","typ":"JWT"}"#,
        r#"{"alg":"HS256","kid":"k1","typ":"JWT","crit":["exp"]}"#,
        r#"{"alg":"HS256","kid":"k1","typ":"JWT","b64":false,"crit":["b64"]}"#,
        r#"{"alg":"HS256","kid":"k1","typ":"JWT","jwk":{"kty":"oct","k":"BwcHBw"}}"#,
        r#"{"alg":"HS256","kid":"k1","typ":"JWT","jku":"https://localhost/keys"}"#,
        r#"{"alg":"HS256","kid":"k1","typ":"JWT","x5c":[]}"#,
        r#"{"alg":"HS256","kid":"k1","typ":"JWT","cty":"JWT"}"#,
        r#"{"alg":"HS256","kid":"k1","typ":"JWT","zip":"DEF"}"#,
        r#"{"alg": "HS256","kid":"k1","typ":"JWT"}"#,
        r#" {"alg":"HS256","kid":"k1","typ":"JWT"}"#,
        "{\"alg\":\"HS256\",\"kid\":\"k1\",\"typ\":\"JWT\"}\n",
        "{}",
        "",
    ] {
        let token = seal(&base64url(header), &payload());
        assert_eq!(
            verify(&key(), token.as_bytes()),
            Err(RejectReason::Header),
            "{header}"
        );
    }
}

#[test]
fn other_macs_are_not_ours() {
    let (header, payload) = (base64url(HEADER), payload());
    for algorithm in [
        hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        hmac::HMAC_SHA384,
        hmac::HMAC_SHA512,
    ] {
        let token = seal_with(algorithm, &header, &payload);
        assert!(verify(&key(), token.as_bytes()).is_err(), "{algorithm:?}");
        // Cut or filled to the right length, they are no better.
        let tag = hmac::sign(
            &hmac::Key::new(algorithm, &KEY),
            format!("{header}.{payload}").as_bytes(),
        );
        let mut fitted = tag.as_ref().to_vec();
        fitted.resize(32, 0);
        let token = format!("{header}.{payload}.{}", base64url(fitted));
        assert_eq!(
            verify(&key(), token.as_bytes()),
            Err(RejectReason::Signature),
            "{algorithm:?}"
        );
    }
}

#[test]
fn other_forms_of_the_same_token_are_refused() {
    let token = key().sign(&claims());
    let (signed, tag) = token.rsplit_once('.').unwrap();
    let (header, payload) = signed.split_once('.').unwrap();
    let tag_bytes = URL_SAFE_NO_PAD.decode(tag).unwrap();
    // The last character of 43 holds four bits: its two others must be zero.
    let last = tag.as_bytes()[42];
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let index = alphabet.iter().position(|byte| *byte == last).unwrap();
    let loose_end = alphabet[index + 1] as char;
    let json = |payload: &str, tag: &str| {
        format!(r#"{{"protected":"{header}","payload":"{payload}","signature":"{tag}"}}"#)
    };
    for (name, forged) in [
        ("empty", String::new()),
        ("dots", "..".to_owned()),
        ("no tag", format!("{signed}.")),
        ("no tag, no dot", signed.to_owned()),
        ("no payload", format!("{header}..{tag}")),
        ("no header", format!(".{payload}.{tag}")),
        ("a fourth part", format!("{token}.")),
        ("five parts, as a JWE", format!("{token}.a.b")),
        ("padded tag", format!("{token}=")),
        ("padded payload", format!("{header}.{payload}=.{tag}")),
        (
            "tag cut by a byte",
            format!("{signed}.{}", base64url(&tag_bytes[..31])),
        ),
        (
            "tag cut to half",
            format!("{signed}.{}", base64url(&tag_bytes[..16])),
        ),
        (
            "tag of one byte",
            format!("{signed}.{}", base64url(&tag_bytes[..1])),
        ),
        (
            "longer tag",
            format!("{signed}.{}", base64url([&tag_bytes[..], &[0]].concat())),
        ),
        ("tag of zeros", format!("{signed}.{}", base64url([0; 32]))),
        (
            "unused bits set",
            format!("{}{loose_end}", &token[..token.len() - 1]),
        ),
        (
            "tag in hex",
            format!(
                "{signed}.{}",
                tag_bytes
                    .iter()
                    .map(|b| format!("{b:02x}"))
                    .collect::<String>()
            ),
        ),
        ("space before", format!(" {token}")),
        ("space after", format!("{token} ")),
        ("line end", format!("{token}\n")),
        ("space inside", format!("{header}. {payload}.{tag}")),
        ("line end inside", format!("{header}.{payload}\r\n.{tag}")),
        ("NUL after", format!("{token}\0")),
        ("not ASCII", format!("{token}\u{e9}")),
        ("Bearer twice", format!("Bearer {token}")),
        ("quoted", format!("\"{token}\"")),
        ("JSON serialization", json(payload, tag)),
        ("one part twice", format!("{payload}.{header}.{tag}")),
        ("tag first", format!("{tag}.{header}.{payload}")),
    ] {
        assert!(verify(&key(), forged.as_bytes()).is_err(), "{name}");
    }
    assert!(verify(&key(), token.as_bytes()).is_ok());
}

#[test]
fn the_other_base64_alphabet_is_refused() {
    // Find a token whose tag has a character in which the alphabets differ: every third has.
    let found = (0..100).find_map(|n| {
        let token = key().sign(&Claims { iat: n, ..claims() });
        let (_, tag) = token.rsplit_once('.').unwrap();
        let differs = tag.contains(['-', '_']);
        differs.then_some(token)
    });
    let token = found.unwrap();
    let (signed, tag) = token.rsplit_once('.').unwrap();
    let standard = tag.replace('-', "+").replace('_', "/");
    let forged = format!("{signed}.{standard}");
    assert_eq!(verify(&key(), forged.as_bytes()), Err(RejectReason::Form));
}

/// Each is signed correctly with the right key under our header: only a key of ours that signs something else could make
/// them, and even then they are not claims.
#[test]
fn signed_claims_of_another_form_are_refused() {
    let good = serde_json::to_string(&claims()).unwrap();
    let with = |from: &str, to: &str| {
        let changed = good.replacen(from, to, 1);
        assert_ne!(changed, good, "{from} is in the claims");
        changed
    };
    for (name, json) in [
        (
            "a member twice",
            with(r#""sub":"me""#, r#""sub":"me","sub":"root""#),
        ),
        ("exp twice", with("{", r#"{"exp":9999999999,"#)),
        ("aud twice", with("{", r#"{"aud":["all"],"#)),
        ("an unknown member", with("{", r#"{"admin":true,"#)),
        ("no exp", with(&format!(r#","exp":{}"#, NOW + 600), "")),
        ("no jti", with(r#""jti":"ses_1","#, "")),
        (
            "exp as text",
            with(&format!(r#""exp":{}"#, NOW + 600), r#""exp":"9999999999""#),
        ),
        (
            "exp as float",
            with(&format!(r#""exp":{}"#, NOW + 600), r#""exp":1e10"#),
        ),
        (
            "exp negative",
            with(&format!(r#""exp":{}"#, NOW + 600), r#""exp":-1"#),
        ),
        (
            "exp beyond 64 bits",
            with(
                &format!(r#""exp":{}"#, NOW + 600),
                r#""exp":99999999999999999999"#,
            ),
        ),
        (
            "exp null",
            with(&format!(r#""exp":{}"#, NOW + 600), r#""exp":null"#),
        ),
        ("aud as text", with(r#"["one","two"]"#, r#""one""#)),
        ("aud nested", with(r#"["one","two"]"#, r#"[["one"]]"#)),
        ("trailing text", format!("{good}x")),
        ("a second value", format!("{good}{good}")),
        ("an array", format!("[{good}]")),
        (
            "the claims without their names",
            format!(
                r#"["midplane:test","me",["one","two"],"ses_1",{NOW},{NOW},{},"read write"]"#,
                NOW + 600
            ),
        ),
        ("cut", good[..good.len() - 1].to_owned()),
        ("empty", String::new()),
        ("null", "null".to_owned()),
        ("deep", "[".repeat(2000)),
    ] {
        let token = seal(&base64url(HEADER), &base64url(json));
        assert_eq!(
            verify(&key(), token.as_bytes()),
            Err(RejectReason::Claims),
            "{name}"
        );
    }
    let not_utf8 = seal(&base64url(HEADER), &base64url([0xff, 0xfe]));
    assert_eq!(
        verify(&key(), not_utf8.as_bytes()),
        Err(RejectReason::Claims)
    );
    // Signed over what is not base64url at all.
    let loose = seal(&base64url(HEADER), &format!("{}=", payload()));
    assert_eq!(verify(&key(), loose.as_bytes()), Err(RejectReason::Claims));
}

#[test]
fn nothing_longer_than_the_bound_is_looked_at() {
    let of_len = |len: usize| {
        let signed = format!("{}.", base64url(HEADER));
        seal(&base64url(HEADER), &"A".repeat(len - signed.len() - 44))
    };
    let longest = of_len(TOKEN_LEN_MAX);
    assert_eq!(longest.len(), TOKEN_LEN_MAX);
    assert!(Parts::cut(longest.as_bytes()).is_ok());
    let longer = of_len(TOKEN_LEN_MAX + 1);
    assert_eq!(
        Parts::cut(longer.as_bytes()).err(),
        Some(RejectReason::Form)
    );
    assert!(Parts::cut(&vec![b'.'; 1 << 20]).is_err());
}

/// Bytes changed, removed, inserted, swapped, doubled and spliced: whatever differs from the token is refused.
#[test]
fn a_hundred_thousand_mutations_and_none_accepted() {
    const ALPHABET: &[u8] =
        b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/ \0\xff";
    let key = key();
    let token = key.sign(&claims()).into_bytes();
    let other = key
        .sign(&Claims {
            sub: "you".to_owned(),
            ..claims()
        })
        .into_bytes();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut changed = 0;
    for _ in 0..100_000 {
        let mut mutant = token.clone();
        for _ in 0..=random.below(3) {
            let at = random.below(mutant.len());
            match random.below(7) {
                0 => mutant[at] ^= 1 << random.below(8),
                1 => mutant[at] = ALPHABET[random.below(ALPHABET.len())],
                2 => drop(mutant.remove(at)),
                3 => mutant.insert(at, ALPHABET[random.below(ALPHABET.len())]),
                4 => {
                    let with = random.below(mutant.len());
                    mutant.swap(at, with);
                }
                5 => mutant.truncate(at.max(1)),
                _ => {
                    let from = at.min(other.len());
                    mutant.truncate(from);
                    mutant.extend_from_slice(&other[from..]);
                }
            }
            if mutant.is_empty() {
                break;
            }
        }
        if mutant == token || mutant == other {
            continue;
        }
        changed += 1;
        assert!(
            verify(&key, &mutant).is_err(),
            "accepted: {}",
            String::from_utf8_lossy(&mutant)
        );
    }
    assert!(changed > 90_000, "{changed} mutants only");
}

#[test]
fn a_kernel_refuses_what_another_signed() {
    let (ours, theirs) = (sessions(10), sessions(10));
    let (session, token) = issue(&theirs, "me", 600);
    assert!(theirs.verify(token.as_bytes(), NOW).is_ok());
    assert_eq!(
        ours.verify(token.as_bytes(), NOW).err(),
        Some(RejectReason::Header)
    );
    // Even with the session in both, the key decides.
    ours.issue(&session, NOW).unwrap();
    assert_eq!(
        ours.verify(token.as_bytes(), NOW).err(),
        Some(RejectReason::Header)
    );
}

/// xorshift64*: the same mutants at every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let drawn = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(drawn).unwrap() % limit
    }
}
