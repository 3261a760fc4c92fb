//! The client secret: its form, and that nothing else is taken for one.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use ring::hmac;
use serde_json::{Value, json};

use crate::harness::{Kernel, connect};

fn decode(part: &str) -> String {
    String::from_utf8(BASE64URL.decode(part).unwrap()).unwrap()
}

fn sign(key: &[u8], header: &str, payload: &str) -> String {
    let signed = format!("{}.{}", BASE64URL.encode(header), BASE64URL.encode(payload));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), signed.as_bytes());
    format!("{signed}.{}", BASE64URL.encode(tag))
}

#[tokio::test]
async fn a_token_is_readable_with_any_library() {
    let kernel = Kernel::start(&["hello", "slow"]).await;
    let body = json!({"user": "ada", "modules": ["slow"], "scope": "chat", "expires_in": 60});
    let session = kernel.issue(body).await;
    let token = session["client_secret"].as_str().unwrap();
    let parts: Vec<_> = token.split('.').collect();
    assert_eq!(parts.len(), 3);
    let header = decode(parts[0]);
    let kid: Value = serde_json::from_str(&header).unwrap();
    let kid = kid["kid"].as_str().unwrap();
    assert_eq!(
        header,
        format!(r#"{{"alg":"HS256","kid":"{kid}","typ":"JWT"}}"#)
    );
    let health = kernel.host("GET", "/health").send().await.json();
    let claims: Value = serde_json::from_str(&decode(parts[1])).unwrap();
    assert_eq!(
        claims,
        json!({
            "iss": health["instance"], "sub": "ada", "aud": ["slow"], "jti": session["id"],
            "iat": session["created_at"], "nbf": session["created_at"], "exp": session["expires_at"],
            "scope": "chat",
        })
    );
    assert_eq!(BASE64URL.decode(parts[2]).unwrap().len(), 32);
}

#[tokio::test]
async fn forged_tokens_are_refused() {
    let kernel = Kernel::start(&["hello"]).await;
    let other = Kernel::start(&["hello"]).await;
    let token = kernel.session(json!({"user": "ada"})).await;
    let foreign = other.session(json!({"user": "ada"})).await;
    let (header, payload, tag) = {
        let parts: Vec<_> = token.split('.').collect();
        (parts[0], parts[1], parts[2])
    };
    let (head, claims) = (decode(header), decode(payload));
    let with_header = |header: &str| format!("{}.{payload}.{tag}", BASE64URL.encode(header));
    let wrong = |header: &str, claims: &str| sign(&[7; 32], header, claims);
    let foreign_header = foreign.split('.').next().unwrap();
    let duplicate = claims.replacen('{', r#"{"sub":"root","#, 1);
    let forged = [
        foreign.clone(),
        with_header(r#"{"alg":"none"}"#),
        format!(
            "{}.{payload}.",
            BASE64URL.encode(r#"{"alg":"none","typ":"JWT"}"#)
        ),
        with_header(&head.replace("HS256", "none")),
        with_header(&head.replace("HS256", "HS384")),
        with_header(&head.replace("HS256", "RS256")),
        with_header(&head.replace("HS256", "hs256")),
        with_header(&head.replace("JWT", "jwt")),
        with_header(&head.replace('}', r#","crit":["exp"]}"#)),
        with_header(&head.replace('}', r#","jwk":{"kty":"oct","k":"AAAA"}}"#)),
        with_header(&head.replace(':', ": ")),
        wrong(&head, &claims),
        wrong(&head, &duplicate),
        wrong(r#"{"alg":"HS256","kid":"unknown","typ":"JWT"}"#, &claims),
        sign(b"", &head, &claims),
        format!("{foreign_header}.{payload}.{tag}"),
        format!("{header}.{}.{tag}", BASE64URL.encode(&duplicate)),
        format!("{token}="),
        format!("{header}=.{payload}.{tag}"),
        format!("{header}.{payload}=.{tag}"),
        format!("{token}."),
        format!(".{token}"),
        format!("{header}.{payload}"),
        format!("{header}..{tag}"),
        format!("{header}.{payload}."),
        format!("{header}.{payload}.{}", &tag[..22]),
        format!("{header}.{payload}.{tag}AAAA"),
        format!("{header}.{payload}.{}", tag.to_uppercase()),
        format!("{header}.{payload}.{tag}.{tag}"),
        format!("{token}{}", "A".repeat(8 * 1024)),
        ".".repeat(100),
        "..".to_owned(),
    ];
    for token in &forged {
        let answer = kernel.get("/api/hello/hello").bearer(token).send().await;
        answer.expect_problem(401, "invalid_token");
    }
    let answer = kernel.get("/api/hello/hello").bearer(&token).send().await;
    assert_eq!(answer.text(), "hello ada");
}

/// xorshift64: the same mutations every time.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).unwrap()
    }

    fn mutate(&mut self, token: &str) -> String {
        const ALPHABET: &[u8] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/";
        let mut bytes = token.as_bytes().to_vec();
        for _ in 0..=self.below(3) {
            if bytes.len() < 2 {
                break;
            }
            let at = self.below(bytes.len());
            let byte = ALPHABET[self.below(ALPHABET.len())];
            match self.below(6) {
                0 => bytes.insert(at, byte),
                1 => {
                    bytes.remove(at);
                }
                2 => bytes.truncate(at.max(1)),
                3 => {
                    let other = self.below(bytes.len());
                    bytes.swap(at, other);
                }
                _ => bytes[at] = byte,
            }
        }
        String::from_utf8(bytes).unwrap()
    }
}

#[tokio::test]
async fn twenty_thousand_mutations_are_refused() {
    const CONNECTIONS: u64 = 4;
    let kernel = Kernel::start(&["hello"]).await;
    let token = kernel
        .session(json!({"user": "ada", "scope": "chat"}))
        .await;
    let workers = (1..=CONNECTIONS).map(|seed| {
        let (kernel, token) = (&kernel, &token);
        async move {
            let (mut sender, _connection) = connect(&kernel.socket).await;
            let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            for round in 0..20_000 / CONNECTIONS {
                let mutated = random.mutate(token);
                let valid = mutated == *token;
                let answer = kernel
                    .get("/sessions/current")
                    .bearer(&mutated)
                    .send_on(&mut sender)
                    .await;
                assert_eq!(
                    answer.status(),
                    if valid { 200 } else { 401 },
                    "seed {seed} round {round} {mutated}"
                );
                // Now and then the valid one, so that there is something to be mistaken for.
                if round % 500 == 0 {
                    let valid = kernel.get("/sessions/current").bearer(token);
                    valid.send_on(&mut sender).await.expect_status(200);
                }
            }
        }
    });
    let mut workers: Vec<_> = workers.map(Box::pin).collect();
    let [one, two, three, four] = &mut workers[..] else {
        panic!("four of them")
    };
    tokio::join!(one, two, three, four);
}

#[tokio::test]
async fn rotated_keys_hold_until_their_tokens_expire_or_are_revoked() {
    let kernel = Kernel::start(&["hello"]).await;
    let rotate = |body: Value| kernel.host("POST", "/keys/rotate").json(&body).send();
    let (mut kept, _connection) = connect(&kernel.socket).await;
    let mut tokens = vec![kernel.session(json!({"user": "first"})).await];
    // What a connection has verified it remembers, so each is tried on the kept one and on a new one.
    for (revoke_previous, alive) in [
        (false, vec![true, true]),
        (false, vec![false, true, true]),
        (true, vec![false, false, false, true]),
    ] {
        for token in &tokens {
            kernel
                .get("/sessions/current")
                .bearer(token)
                .send_on(&mut kept)
                .await;
        }
        let rotated = rotate(json!({"revoke_previous": revoke_previous})).await;
        let kid = rotated.expect_status(200).json()["kid"]
            .as_str()
            .unwrap()
            .to_owned();
        tokens.push(kernel.session(json!({})).await);
        assert!(decode(tokens.last().unwrap().split('.').next().unwrap()).contains(&kid));
        for (token, alive) in tokens.iter().zip(alive) {
            let status = if alive { 200 } else { 401 };
            let request = || kernel.get("/api/hello/hello").bearer(token);
            request().send_on(&mut kept).await.expect_status(status);
            request().send().await.expect_status(status);
        }
    }
    let empty = kernel.host("POST", "/keys/rotate").send().await;
    empty.expect_status(200);
}
