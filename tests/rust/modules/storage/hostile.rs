//! A module with bad intentions, and a client with none better: the store says what is wrong, and serves the others.
//!
//! `notes` passes on what it is told to send (`/raw`), and makes storms.

use std::sync::Arc;

use serde_json::json;

use super::{Notes, assert_sound, data_dir};
use crate::harness::{Answer, Kernel, eventually, private_dir};

/// More than any client sends to a module, unless the operator lets it.
const LIMITS: &str = "[limits]\nbody_bytes = \"64MiB\"";

async fn notes() -> Vec<Notes> {
    let mut all = Vec::new();
    for isolations in [("in-process", "in-process"), ("process", "process")] {
        let builder = Kernel::builder().config(LIMITS);
        all.push(Notes::start_as(builder, &private_dir(), isolations, "").await);
    }
    all
}

async fn raw(notes: &Notes, method: &str, path: &str, body: Vec<u8>) -> Answer {
    let path = format!("/api/notes/raw{path}");
    let request = notes.kernel.request(method, &path).bearer(&notes.token);
    request.body(body).send().await
}

/// base64url of a key.
fn encoded(key: &[u8]) -> String {
    use base64::Engine as _;
    base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(key)
}

#[tokio::test]
async fn what_is_too_large_or_no_request_of_the_store_is_refused_by_name() {
    for notes in notes().await {
        let long = encoded(&[b'k'; 1_025]);
        let longest = encoded(&[b'k'; 1_024]);
        for (method, path, body, status, code) in [
            ("PUT", format!("/kv/{long}"), 1, 400, "key_length"),
            ("PUT", format!("/kv/{longest}"), 1 << 20, 204, ""),
            ("GET", format!("/kv/{longest}"), 0, 200, ""),
            ("PUT", "/kv/aw".into(), (1 << 20) + 1, 413, "body_too_large"),
            ("POST", "/commit".into(), 5 << 20, 413, "body_too_large"),
            ("POST", "/commit".into(), 1 << 20, 400, "malformed"),
            (
                "GET",
                format!("/kv?limit={}", u64::MAX),
                0,
                400,
                "page_limit",
            ),
            ("GET", "/kv?limit=1001".into(), 0, 400, "page_limit"),
            ("GET", "/nothing".into(), 0, 404, ""),
            ("PATCH", "/kv/aw".into(), 0, 405, ""),
        ] {
            let answer = raw(&notes, method, &path, vec![0xee; body]).await;
            assert_eq!(answer.status(), status, "{method} {path:.40}: {answer}");
            if !code.is_empty() {
                assert_eq!(answer.json()["code"], code, "{answer}");
            }
            let said = answer.body.len();
            assert!(status < 400 || said < 2_000, "it says {said} bytes");
        }
        let (status, told) = notes.send("PUT", "/notes/a", &"x".repeat(3 << 19)).await;
        assert_eq!(status, 500, "{told}");
        assert!(told.contains("split it over several keys"), "{told}");
        notes.well("PUT", "/notes/a", "as ever").await;
        assert_sound(&data_dir(&notes.dir));
    }
}

#[tokio::test]
async fn a_storm_of_watches_or_uploads_takes_nothing_from_others() {
    for notes in notes().await {
        for (path, told) in [
            ("/watches?n=65", "watches the store 64 times already"),
            ("/watches?n=1000", "watches the store 64 times already"),
            (
                "/uploads?n=600",
                "512 requests under way at the store already",
            ),
        ] {
            let usage = raw(&notes, "GET", "/usage", Vec::new()).await;
            let seen = &usage.expect_status(200).json()["version"];
            let path = format!("{path}&seen={seen}");
            let answer = notes.well("GET", &path, "").await;
            assert!(answer.starts_with("503 "), "{path}: {answer}");
            assert!(answer.contains("store_overloaded"), "{path}: {answer}");
            assert!(answer.contains(told), "{path}: {answer}");
            // What it had under way is over, and forgotten.
            eventually("room", async || {
                let (status, told) = notes.send("PUT", "/notes/a", &path).await;
                assert!(status == 200 || told.contains("under way"), "{told}");
                (status == 200).then_some(())
            })
            .await;
            assert_eq!(notes.well("GET", "/notes/a", "").await, path);
        }
        let stats = notes.kernel.host("GET", "/modules/store").send().await;
        assert_eq!(stats.expect_status(200).json()["state"], "serving");
    }
}

#[tokio::test]
async fn clients_reach_nothing_of_the_store() {
    for notes in notes().await {
        let notes = Arc::new(notes);
        let session = json!({"modules": ["notes", "store"]});
        let token = notes.kernel.session(session).await;
        notes.well("PUT", "/notes/k", "not for clients").await;
        for (method, path) in [
            ("GET", "/kv/aw"),
            ("PUT", "/kv/aw"),
            ("DELETE", "/kv/aw"),
            ("GET", "/kv"),
            ("POST", "/commit"),
            ("GET", "/changes?seen=0"),
            ("GET", "/usage"),
            ("GET", "/%6bv/aw"),
            ("GET", "//kv/aw"),
            ("GET", "/./kv/aw"),
            ("GET", ""),
        ] {
            let path = format!("/api/store{path}");
            for token in [Some(&token), Some(&notes.kernel.host_key), None] {
                let mut request = notes.kernel.request(method, &path);
                request = request.header("midplane-caller", "notes");
                if let Some(token) = token {
                    request = request.bearer(token);
                }
                let answer = request.send().await;
                assert!(
                    [400, 401, 403, 404].contains(&answer.status()),
                    "{method} {path}: {answer}"
                );
                assert!(!answer.text().contains("not for"), "{answer}");
            }
        }
        assert_eq!(notes.well("GET", "/notes/k", "").await, "not for clients");
    }
}
