//! What a module learns of whom it acts for, what it may ask for, and who may come without a session.

use serde_json::json;

use super::{expect_well, faults, logged};
use crate::harness::Kernel;

/// A source that answers what the file says now.
fn with_file_source(
    grants: &str,
) -> (
    crate::harness::Builder,
    tempfile::TempDir,
    std::path::PathBuf,
) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("key");
    std::fs::write(&file, "key-one").unwrap();
    let builder = Kernel::builder()
        .config(&format!(
            "[secrets]\nsample = {{ cmd = [\"/bin/cat\", {:?}] }}",
            file.to_str().unwrap()
        ))
        .module("faults", grants);
    (builder, dir, file)
}

#[tokio::test]
async fn a_module_sees_the_session_and_may_require_a_scope() {
    let (builder, _dir, _file) = with_file_source("");
    let kernel = builder.start().await;
    let asked = json!({
        "user": "ada", "scope": "read write", "environment": "dev", "metadata": {"window": [1, "zwei"]},
        "secret_key_id": "sample"
    });
    let issued = kernel.host("POST", "/sessions").json(&asked).send().await;
    let issued = issued.expect_status(201).json();
    let token = issued["client_secret"].as_str().unwrap();
    let seen = kernel
        .get("/api/faults/session")
        .bearer(token)
        .send()
        .await
        .json();
    for member in [
        "id",
        "user",
        "scope",
        "environment",
        "metadata",
        "expires_at",
    ] {
        assert_eq!(seen[member], issued[member], "{member}: {seen}");
    }
    assert_eq!(seen["has_secret"], true);
    let scope = async |scope: &str| {
        let request = kernel
            .get(&format!("/api/faults/scope/{scope}"))
            .bearer(token);
        request.send().await
    };
    scope("write").await.expect_status(200);
    for lacking in ["delete", "rea", "Read"] {
        let answer = scope(lacking).await;
        answer.expect_status(403);
        assert_eq!(answer.json()["code"], "insufficient_scope", "{answer}");
    }
    let plain = kernel.session(json!({})).await;
    let seen = kernel
        .get("/api/faults/session")
        .bearer(&plain)
        .send()
        .await
        .json();
    assert_eq!(
        (&seen["has_secret"], &seen["scope"]),
        (&json!(false), &json!(""))
    );
    let answer = kernel.get("/api/faults/secret").bearer(&plain).send().await;
    assert_eq!(answer.expect_status(502).json()["code"], "absent");
    let answer = kernel
        .get("/api/faults/refresh")
        .bearer(&plain)
        .send()
        .await;
    assert_eq!(answer.expect_status(502).json()["code"], "absent");
}

#[tokio::test]
async fn a_granted_secret_is_told_and_asked_for_again() {
    let (builder, _dir, file) = with_file_source("");
    let kernel = builder.start().await;
    let token = kernel.session(json!({"secret_key_id": "sample"})).await;
    let ask = async |path: &str| {
        let request = kernel.get(&format!("/api/faults/{path}")).bearer(&token);
        request.send().await.expect_status(200).text().to_owned()
    };
    assert_eq!(ask("secret").await, "key-one");
    std::fs::write(&file, "key-two").unwrap();
    assert_eq!(ask("secret").await, "key-one");
    assert_eq!(ask("refresh").await, "key-two");
    assert_eq!(ask("secret").await, "key-two");
    std::fs::write(&file, "key-three").unwrap();
    assert_eq!(ask("spawned-refresh").await, "key-three");
    // A source that fails leaves the old one in place.
    std::fs::remove_file(&file).unwrap();
    let answer = kernel
        .get("/api/faults/refresh")
        .bearer(&token)
        .send()
        .await;
    assert_eq!(answer.expect_status(502).json()["code"], "failed");
    assert_eq!(ask("secret").await, "key-three");
    let log = kernel.log();
    assert!(
        !log.contains("key-one") && !log.contains("key-three"),
        "{log}"
    );
}

#[tokio::test]
async fn without_the_grant_a_secret_is_denied_and_that_is_logged() {
    let (builder, _dir, _file) = with_file_source("grants = []");
    let kernel = builder.start().await;
    let token = kernel.session(json!({"secret_key_id": "sample"})).await;
    for path in ["secret", "refresh"] {
        let answer = kernel
            .get(&format!("/api/faults/{path}"))
            .bearer(&token)
            .header("x-request-id", &format!("asks-{path}"))
            .send()
            .await;
        assert_eq!(answer.expect_status(502).json()["code"], "denied");
        logged(
            &kernel,
            &["without the grant", "faults#1", &format!("asks-{path}")],
        )
        .await;
    }
    // PUT cannot give what the configuration does not.
    let path = kernel
        .dir
        .path()
        .join("modules")
        .join("libmidplane_faults.so");
    for change in [json!({"grants": ["secrets"]}), json!({"public": true})] {
        let mut change = change;
        change["path"] = json!(path);
        let answer = kernel
            .host("PUT", "/modules/faults")
            .json(&change)
            .send()
            .await;
        answer.expect_problem(403, "grant_forbidden");
    }
}

#[tokio::test]
async fn public_routes_are_public_only_where_the_operator_allows_it() {
    let (closed, token) = faults("").await;
    closed
        .get("/api/faults/public")
        .send()
        .await
        .expect_problem(401, "credential_required");
    let answer = closed.get("/api/faults/public").bearer(&token).send().await;
    assert_eq!(answer.expect_status(200).text(), "ada");

    let (open, token) = faults("public = true").await;
    for path in ["public", "assets/a", "assets/a/b?c", "assets/%41"] {
        let answer = open.get(&format!("/api/faults/{path}")).send().await;
        assert_eq!(answer.expect_status(200).text(), "nobody", "{path}");
    }
    for path in [
        "private",
        "public/",
        "public/x",
        "assets",
        "Public",
        "publi%63",
        "%70ublic",
        "/public",
        "assets%2Fa",
    ] {
        let answer = open.get(&format!("/api/faults/{path}")).send().await;
        answer.expect_problem(401, "credential_required");
    }
    for path in [
        "assets/../private",
        "assets/%2e%2e/private",
        "assets/.%2E/private",
        "assets/./x",
        "assets/%2e",
        "assets/..",
    ] {
        for token in [None, Some(&token)] {
            let request = open.get(&format!("/api/faults/{path}"));
            let request = token
                .into_iter()
                .fold(request, |request, token| request.bearer(token));
            request.send().await.expect_problem(400, "invalid_path");
        }
    }
    // An encoded slash or backslash is a character of its segment (RFC 3986 section 2.2): no other route is reached by it.
    for path in [
        "assets/..%2fprivate",
        "assets/..%5cprivate",
        "assets/%252e%252e/private",
    ] {
        let answer = open.get(&format!("/api/faults/{path}")).send().await;
        assert_eq!(answer.expect_status(200).text(), "nobody", "{path}");
    }
    let answer = open.get("/api/faults/private").bearer(&token).send().await;
    assert_eq!(answer.expect_status(200).text(), "private");
    expect_well(&open, &token).await;
}
