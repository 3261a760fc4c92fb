//! Whatever the bytes: cutting and verifying a token never panics, and accepts only what was signed.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use midplane_kernel::untrusted::token::{Claims, Key, Parts};

static KEY: LazyLock<Key> = LazyLock::new(|| Key::new("fuzz", &[7; 32]));
static SIGNED: LazyLock<String> = LazyLock::new(|| {
    KEY.sign(&Claims {
        iss: "midplane:fuzz".to_owned(),
        sub: "me".to_owned(),
        aud: vec!["one".to_owned()],
        jti: "ses_1".to_owned(),
        iat: 1,
        nbf: 1,
        exp: 2,
        scope: String::new(),
    })
});

fuzz_target!(|bytes: &[u8]| {
    verify(bytes);
    // The fuzzer cannot compute an HMAC: hand it a signed token to disturb. The first two bytes say where.
    if let [high, low, rest @ ..] = bytes {
        let mut token = SIGNED.as_bytes().to_vec();
        let at = usize::from(u16::from_be_bytes([*high, *low])) % token.len();
        let end = token.len().min(at + rest.len());
        token.splice(at..end, rest.iter().copied());
        verify(&token);
    }
});

fn verify(token: &[u8]) {
    let Ok(parts) = Parts::cut(token) else { return };
    if KEY.wrote_header_of(&parts) && KEY.verify(&parts).is_ok() {
        assert_eq!(token, SIGNED.as_bytes(), "accepted what was never signed");
    }
}
