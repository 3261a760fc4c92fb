//! Attachments from the announcement to the model.

use super::provider::{FakeProvider, Reply};
use super::*;

mod refusals;

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01";

fn announce(name: &str, mime_type: &str, size: impl Into<Value>) -> Value {
    json!({"type": "attachments.create", "params": {"name": name, "mime_type": mime_type, "size": size.into()}})
}

/// The path of an attachment's bytes below the module's prefix.
fn path(attachment: &Value) -> String {
    format!("/attachments/{}", attachment["id"].as_str().unwrap())
}

async fn send(
    module: &Module,
    session: SessionBuilder,
    method: &str,
    path: &str,
    body: impl Into<Body>,
) -> http::Response<Body> {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .body(body.into());
    tokio::time::timeout(DEADLINE, module.call(Some(session), request.unwrap()))
        .await
        .expect("the module answers")
}

async fn upload(module: &Module, attachment: &Value, bytes: &'static [u8]) {
    let answer = send(module, ada(), "PUT", &path(attachment), bytes).await;
    let status = answer.status();
    assert_eq!(status, StatusCode::OK, "{}", text(answer).await);
}

/// An attachment that is uploaded.
async fn attached(module: &Module, name: &str, mime_type: &str, bytes: &'static [u8]) -> Value {
    let attachment = json(module, ada(), announce(name, mime_type, bytes.len())).await;
    upload(module, &attachment, bytes).await;
    attachment
}

fn with(request: Value, attachments: &[&Value]) -> Value {
    let mut request = request;
    let ids: Vec<_> = attachments
        .iter()
        .map(|attachment| &attachment["id"])
        .collect();
    request["params"]["input"]["attachments"] = json!(ids);
    request
}

fn say(thread: &Value, text: &str) -> Value {
    on(
        "threads.add_user_message",
        thread,
        json!({"input": input(text)}),
    )
}

async fn problem(answer: http::Response<Body>, status: u16, expect: &str) {
    let given = answer.status();
    let text = text(answer).await;
    assert!(
        given == status && text.contains(expect),
        "{status} {expect:?}: {given} {text}"
    );
}

#[tokio::test]
async fn a_picture_goes_from_the_client_to_the_model_and_back() {
    let replies = ["responses", "responses"].map(|api| Reply::says(api, &["A", " cat"]));
    let provider = FakeProvider::start(replies.into()).await;
    let module = start(json!({"base_url": provider.base_url(), "model": "tiny"})).await;
    let attachment = json(
        &module,
        ada(),
        announce("cat \"1\".png", "image/png", PNG.len()),
    )
    .await;
    let id = attachment["id"].as_str().unwrap();
    let url = format!("http://localhost/api/test/attachments/{id}");
    assert_eq!(
        attachment,
        json!({"id": id, "name": "cat \"1\".png", "mime_type": "image/png", "type": "image", "preview_url": url,
               "upload_descriptor": {"url": url, "method": "PUT", "headers": {}}})
    );
    upload(&module, &attachment, PNG).await;
    for (method, expect) in [("GET", PNG), ("HEAD", b"".as_slice())] {
        let answer = send(&module, ada(), method, &path(&attachment), "").await;
        assert_eq!(answer.status(), 200);
        for (name, value) in [
            ("content-type", "image/png"),
            ("content-length", &PNG.len().to_string()),
            (
                "content-disposition",
                "inline; filename*=UTF-8''cat%20%221%22.png",
            ),
            ("content-security-policy", "default-src 'none'; sandbox"),
            ("x-content-type-options", "nosniff"),
            ("cache-control", "no-store"),
        ] {
            assert_eq!(answer.headers()[name], value, "{method} {name}");
        }
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(&body[..], expect);
    }

    let secret = || ada().secret("sk-test");
    let events = events(&module, secret(), with(create(""), &[&attachment])).await;
    assert_eq!(said(&events), "A cat");
    let thread = &events[0]["thread"]["id"];
    let mut kept = attachment.clone();
    kept.as_object_mut().unwrap().remove("upload_descriptor");
    kept["thread_id"] = thread.clone();
    assert_eq!(events[1]["item"]["attachments"], json!([kept]));
    let whole = json(&module, ada(), on("threads.get_by_id", thread, json!({}))).await;
    assert_eq!(whole["items"]["data"][0]["attachments"], json!([kept]));
    assert_eq!(whole["title"], "cat \"1\".png");
    let [request] = &provider.requests()[..] else {
        panic!("one request")
    };
    assert!(
        request.contains(r#""data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAE=""#),
        "{request}"
    );
    assert!(!request.contains(r#""text":"""#), "{request}");

    // The conversation goes on, and the model still sees it, once.
    super::events(
        &module,
        secret(),
        with(say(thread, "Sure?"), &[&attachment]),
    )
    .await;
    let request = &provider.requests()[1];
    assert_eq!(
        request.matches("data:image/png;base64,").count(),
        1,
        "{request}"
    );
    assert!(
        request.contains("is shown with a later message"),
        "{request}"
    );

    json(&module, ada(), on("threads.delete", thread, json!({}))).await;
    let gone = send(&module, ada(), "GET", &path(&attachment), "").await;
    problem(gone, 404, "attachment_not_found").await;
}

#[tokio::test]
async fn text_is_words_to_the_model_and_a_pdf_a_file() {
    let provider = FakeProvider::start(vec![Reply::says("chat_completions", &["ok"])]).await;
    let module =
        start(json!({"base_url": provider.base_url(), "model": "tiny", "api": "chat_completions"}))
            .await;
    let page = attached(
        &module,
        "src/<a>.html",
        "text/html",
        b"<script>alert('\xc3\xa9')</script>",
    )
    .await;
    let source = attached(&module, "main.ts", "video/mp2t", b"let a = 1;").await;
    let unknown = attached(&module, "Makefile", "", b"all:\n").await;
    let pdf = attached(&module, "a.pdf", "application/pdf", b"%PDF-1.7\n%%EOF\n\n").await;
    assert_eq!(source["mime_type"], "text/plain");
    assert_eq!(page["type"], "file");
    let request = with(create("Compare"), &[&page, &source, &unknown, &pdf]);
    events(&module, ada().secret("sk-test"), request).await;
    let [request] = &provider.requests()[..] else {
        panic!("one request")
    };
    for expect in [
        r#"<attachment name=\"src/'a'.html\" type=\"text/html\">\n<script>alert('é')</script>\n</attachment>"#,
        r#"<attachment name=\"main.ts\" type=\"text/plain\">\nlet a = 1;\n</attachment>"#,
        r#"<attachment name=\"Makefile\" type=\"text/plain\">\nall:\n\n</attachment>"#,
        "data:application/pdf;base64,JVBERi0xLjcKJSVFT0YKCg==",
    ] {
        assert!(request.contains(expect), "{expect}: {request}");
    }
    // A browser gets nothing that it would run.
    let answer = send(&module, ada(), "GET", &path(&page), "").await;
    assert_eq!(
        answer.headers()["content-type"],
        "text/plain; charset=utf-8"
    );
    let disposition = answer.headers()["content-disposition"].to_str().unwrap();
    assert!(disposition.starts_with("attachment;"), "{disposition}");
}

#[tokio::test]
async fn an_attachment_belongs_to_one_thread() {
    let module = start(json!({})).await;
    let attachment = attached(&module, "a.txt", "text/plain", b"x").await;
    let first = events(&module, ada(), with(create("one"), &[&attachment])).await;
    let thread = &first[0]["thread"]["id"];
    refused(
        &module,
        ada(),
        with(create("two"), &[&attachment]),
        409,
        "belongs to another thread",
    )
    .await;
    events(&module, ada(), with(say(thread, "again"), &[&attachment])).await;
    // The message goes on naming one that is deleted.
    assert_eq!(
        send(&module, ada(), "DELETE", &path(&attachment), "")
            .await
            .status(),
        204
    );
    events(&module, ada(), say(thread, "and now?")).await;
    refused(
        &module,
        ada(),
        with(say(thread, "again"), &[&attachment]),
        404,
        "no attachment",
    )
    .await;
}

#[tokio::test]
async fn switched_off_it_says_so() {
    let module = start(json!({"attachments": false})).await;
    let off = "attachments are switched off here: remove `attachments = false`";
    refused(&module, ada(), announce("a.png", "image/png", 1), 501, off).await;
    let with_one = with(create("hi"), &[&json!({"id": "atc_1"})]);
    refused(&module, ada(), with_one, 501, off).await;
    for method in ["PUT", "GET", "DELETE"] {
        problem(
            send(&module, ada(), method, "/attachments/atc_1", "x").await,
            501,
            off,
        )
        .await;
    }
    assert_eq!(said(&events(&module, ada(), create("hi")).await), "hi");
}
