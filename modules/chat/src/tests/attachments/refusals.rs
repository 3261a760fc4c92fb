//! Everything a client can do wrong with attachments, and what it is told.

use bytes::Bytes;
use futures_util::stream::{self, StreamExt};

use super::*;

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
