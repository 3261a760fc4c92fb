//! Attachments from the announcement to the model, and everything a client can do wrong with them.

use bytes::Bytes;
use futures_util::stream::{self, StreamExt};

use super::provider::{FakeProvider, Reply};
use super::*;

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
async fn what_cannot_be_attached_is_refused_with_what_to_do() {
    let module = start(json!({"attachments": {"file_bytes": "1KiB"}})).await;
    let check = async |name: &str, mime_type: &str, size: Value, status: u16, expect: &str| {
        refused(
            &module,
            ada(),
            announce(name, mime_type, size),
            status,
            expect,
        )
        .await;
    };
    check(
        "",
        "image/png",
        json!(1),
        400,
        "`name` has to be a text of 1 to 255 bytes",
    )
    .await;
    check(&"x".repeat(256), "image/png", json!(1), 400, "`name`").await;
    check(
        "a\r\nset-cookie: b",
        "image/png",
        json!(1),
        400,
        "without control characters",
    )
    .await;
    check("a", "png", json!(1), 400, "no media type").await;
    check(
        "a.zip",
        "application/zip",
        json!(1),
        415,
        "of type application/zip cannot be attached: allowed are PNG",
    )
    .await;
    check(
        "a.png",
        "image/png",
        json!(1_025),
        413,
        "has 1025 bytes, and at most 1024 may be attached",
    )
    .await;
    check(
        "a.png",
        "image/png",
        json!(u64::MAX),
        413,
        "attachment_too_large",
    )
    .await;
    check("a.png", "image/png", json!(-1), 400, "invalid value").await;
    check("a.png", "image/png", json!(1e300), 400, "invalid type").await;
    check("a.png", "image/png", json!("1"), 400, "invalid type").await;
    let delete = |id: &str| json!({"type": "attachments.delete", "params": {"attachment_id": id}});
    refused(&module, ada(), delete("atc_1"), 404, "attachment_not_found").await;
    refused(
        &module,
        ada(),
        delete("../../../etc/passwd"),
        400,
        "an attachment's id looks like",
    )
    .await;
}

#[tokio::test]
async fn an_upload_is_what_was_announced_or_nothing() {
    let module = start(json!({})).await;
    let attachment = json(&module, ada(), announce("a.png", "image/png", PNG.len())).await;
    let path = path(&attachment);
    let put = async |content_type: &str, body: Body| {
        let request = Request::put(&path)
            .header("content-type", content_type)
            .body(body);
        module.call(Some(ada()), request.unwrap()).await
    };
    let chunks = |bytes: Vec<u8>| {
        let chunks: Vec<_> = bytes
            .chunks(7)
            .map(Bytes::copy_from_slice)
            .map(Ok::<_, std::io::Error>)
            .collect();
        Body::from_stream(stream::iter(chunks))
    };
    problem(
        put("text/html", PNG.into()).await,
        415,
        "of type text/html, but `image/png` was announced",
    )
    .await;
    problem(
        put("multipart/form-data; boundary=x", PNG.into()).await,
        415,
        "not a form",
    )
    .await;
    problem(
        put("image/png", b"GIF89a0123456789abcd".as_slice().into()).await,
        415,
        "the bytes are no PNG",
    )
    .await;
    problem(
        put("image/png", chunks([PNG, b"x"].concat())).await,
        413,
        "more than the 20 bytes",
    )
    .await;
    problem(
        put("image/png", chunks(PNG[..19].to_vec())).await,
        400,
        "has 19 bytes, but 20 were announced",
    )
    .await;
    problem(
        send(&module, ada(), "GET", &path, "").await,
        409,
        "is not uploaded yet: send its bytes to http",
    )
    .await;
    refused(
        &module,
        ada(),
        with(create("hi"), &[&attachment]),
        409,
        "is not uploaded yet",
    )
    .await;
    // None of this stands in the way of the right one.
    assert_eq!(put("image/png", chunks(PNG.to_vec())).await.status(), 200);
    problem(
        put("image/png", PNG.into()).await,
        409,
        "is uploaded already",
    )
    .await;
    let text = json(&module, ada(), announce("a.txt", "text/plain", 2)).await;
    let answer = send(
        &module,
        ada(),
        "PUT",
        &self::path(&text),
        b"\xff\xfe".as_slice(),
    )
    .await;
    problem(answer, 415, "no UTF-8 text").await;
    problem(
        send(&module, ada(), "POST", &path, "").await,
        405,
        "use PUT to upload",
    )
    .await;
    for nowhere in [
        "atc_1",
        "..",
        "atc_..%2f..%2fetc%2fpasswd",
        "%2e%2e%2f",
        "atc_%00",
        "thr_1",
    ] {
        let answer = send(
            &module,
            ada(),
            "PUT",
            &format!("/attachments/{nowhere}"),
            "x",
        )
        .await;
        problem(answer, 404, "attachment_not_found").await;
    }
}

#[tokio::test]
async fn an_upload_that_is_left_stands_in_no_way() {
    let module = start(json!({})).await;
    let attachment = json(&module, ada(), announce("a.txt", "text/plain", 10)).await;
    let path = path(&attachment);
    let body = stream::once(async { Ok::<_, std::io::Error>(Bytes::from_static(b"hello")) });
    let body = Body::from_stream(body.chain(stream::pending()));
    let request = Request::put(&path).body(body).unwrap();
    tokio::select! {
        biased;
        answer = module.call(Some(ada()), request) => panic!("{}", answer.status()),
        // By now the other one is polled: how far it came makes no difference.
        _ = send(&module, ada(), "GET", &path, "") => {}
    }
    let answer = async || send(&module, ada(), "PUT", &path, "0123456789").await;
    let uploaded = tokio::time::timeout(DEADLINE, async {
        loop {
            let answer = answer().await;
            match answer.status().as_u16() {
                409 => tokio::task::yield_now().await,
                status => break status,
            }
        }
    });
    assert_eq!(uploaded.await.expect("the first is over"), 200);
    let kept = send(&module, ada(), "GET", &path, "").await;
    assert_eq!(text(kept).await, "0123456789");
}

#[tokio::test]
async fn nobody_reaches_another_user_s() {
    let module = start(json!({})).await;
    let attachment = json(&module, ada(), announce("a.txt", "text/plain", 1)).await;
    let path = path(&attachment);
    let eve = || testing::session("eve");
    for method in ["PUT", "GET", "DELETE"] {
        problem(
            send(&module, eve(), method, &path, "x").await,
            404,
            "attachment_not_found",
        )
        .await;
    }
    upload(&module, &attachment, b"x").await;
    for method in ["PUT", "GET", "DELETE"] {
        problem(
            send(&module, eve(), method, &path, "x").await,
            404,
            "attachment_not_found",
        )
        .await;
    }
    let delete =
        json!({"type": "attachments.delete", "params": {"attachment_id": attachment["id"]}});
    refused(
        &module,
        eve(),
        delete.clone(),
        404,
        "belongs to another user",
    )
    .await;
    refused(
        &module,
        eve(),
        with(create("hi"), &[&attachment]),
        404,
        "no attachment",
    )
    .await;
    let page = json(
        &module,
        eve(),
        json!({"type": "threads.list", "params": {}}),
    )
    .await;
    assert_eq!(
        page["data"],
        json!([]),
        "a refused message leaves no thread"
    );
    assert_eq!(json(&module, ada(), delete).await, json!({}));
    problem(
        send(&module, ada(), "GET", &path, "").await,
        404,
        "attachment_not_found",
    )
    .await;
    let other = attached(&module, "b.txt", "text/plain", b"x").await;
    assert_eq!(
        send(&module, ada(), "DELETE", &self::path(&other), "")
            .await
            .status(),
        204
    );
    problem(
        send(&module, ada(), "GET", &self::path(&other), "").await,
        404,
        "attachment_not_found",
    )
    .await;
}

#[tokio::test]
async fn a_user_has_so_much_and_no_more() {
    let module = start(json!({"attachments": {"user_bytes": 100, "per_message": 2}})).await;
    let [one, two, three] = [
        attached(&module, "1.txt", "text/plain", b"1").await,
        attached(&module, "2.txt", "text/plain", b"2").await,
        attached(&module, "3.txt", "text/plain", b"3").await,
    ];
    refused(
        &module,
        ada(),
        with(create("hi"), &[&one, &two, &three]),
        400,
        "can have 2 attachments, and this one has 3",
    )
    .await;
    refused(
        &module,
        ada(),
        with(create("hi"), &[&one, &one]),
        400,
        "is named twice",
    )
    .await;
    refused(
        &module,
        ada(),
        announce("4.txt", "text/plain", 98),
        507,
        "take 3 of 100 bytes: delete",
    )
    .await;
    // Of what is only announced, the room is taken too, and given back.
    let large = json(&module, ada(), announce("4.txt", "text/plain", 97)).await;
    refused(
        &module,
        ada(),
        announce("5.txt", "text/plain", 1),
        507,
        "take 100 of 100",
    )
    .await;
    json(
        &module,
        testing::session("eve"),
        announce("5.txt", "text/plain", 100),
    )
    .await;
    assert_eq!(
        send(&module, ada(), "DELETE", &path(&large), "")
            .await
            .status(),
        204
    );
    // Announcing is bounded before room is.
    for _ in 0..32 {
        json(&module, ada(), announce("0.txt", "text/plain", 0)).await;
    }
    refused(
        &module,
        ada(),
        announce("0.txt", "text/plain", 0),
        429,
        "32 attachments of this user wait for their bytes",
    )
    .await;
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
