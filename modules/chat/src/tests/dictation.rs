//! Speech to the provider, words back.

use super::provider::{FakeProvider, Reply};
use super::*;

fn transcribe(audio_base64: &str, mime_type: &str) -> Value {
    json!({"type": "input.transcribe", "params": {"audio_base64": audio_base64, "mime_type": mime_type}})
}

async fn against(replies: Vec<Reply>) -> (FakeProvider, Module) {
    let provider = FakeProvider::start(replies).await;
    let module = start(json!({"base_url": provider.base_url(), "model": "tiny"})).await;
    (provider, module)
}

#[tokio::test]
async fn a_recording_is_passed_on_as_a_form() {
    let heard = Reply::status(
        "200 OK",
        "content-type: application/json\r\n",
        r#"{"text":"Grüße","usage":{}}"#,
    );
    let (provider, module) = against(vec![heard]).await;
    let session = ada().secret("sk-test");
    let words = json(
        &module,
        session,
        transcribe("UklGRg==", "audio/webm;codecs=opus"),
    )
    .await;
    assert_eq!(words, json!({"text": "Grüße"}));
    let [request] = &provider.requests()[..] else {
        panic!("one request")
    };
    assert!(
        request.starts_with("POST /v1/audio/transcriptions "),
        "{request}"
    );
    for expect in [
        "authorization: Bearer sk-test\r\n",
        "content-type: multipart/form-data; boundary=midplane-",
        "name=\"model\"\r\n\r\ngpt-4o-mini-transcribe\r\n",
        "name=\"file\"; filename=\"audio.webm\"\r\nContent-Type: audio/webm\r\n\r\nRIFF\r\n",
    ] {
        assert!(request.contains(expect), "{expect}: {request}");
    }
}

#[tokio::test]
async fn what_the_provider_refuses_is_told_without_its_words() {
    let replies = vec![
        Reply::status(
            "400 Bad Request",
            "",
            r#"{"error":{"message":"sk-test is corrupt"}}"#,
        ),
        Reply::status("404 Not Found", "", "{}"),
        Reply::status("429 Too Many Requests", "", "{}"),
        Reply::status("500 Internal Server Error", "", "{}"),
        Reply::status("200 OK", "", "<html>"),
        Reply::status("302 Found", "", ""),
        Reply::raw(""),
    ];
    let (_provider, module) = against(replies).await;
    for (status, expect) in [
        (422, "did not take the recording (status 400)"),
        (
            502,
            "has no `gpt-4o-mini-transcribe` to write speech down with",
        ),
        (503, "takes no more requests now"),
        (502, "The provider failed (status 500)"),
        (502, "is no transcription"),
        (502, "is no transcription"),
        (502, "broke off"),
    ] {
        let request = Request::post("/chatkit")
            .body(Body::from(transcribe("UklGRg==", "audio/ogg").to_string()));
        let answer = module
            .call(Some(ada().secret("sk-test")), request.unwrap())
            .await;
        let given = answer.status();
        let told = text(answer).await;
        assert!(
            given == status && told.contains(expect),
            "{status} {expect}: {given} {told}"
        );
        assert!(!told.contains("sk-test"), "{told}");
    }
}

#[tokio::test]
async fn what_is_no_recording_goes_nowhere() {
    let (provider, module) = against(Vec::new()).await;
    let session = || ada().secret("sk-test");
    for (audio, mime_type, status, expect) in [
        ("", "audio/webm", 400, "record something first"),
        ("not base64", "audio/webm", 400, "no base64 text"),
        (
            "UklGRg==",
            "image/png",
            415,
            "recordings of type `image/png` are not taken",
        ),
        (
            &*"A".repeat(12 << 20),
            "audio/webm",
            413,
            "dictate in parts",
        ),
    ] {
        refused(
            &module,
            session(),
            transcribe(audio, mime_type),
            status,
            expect,
        )
        .await;
    }
    refused(
        &module,
        ada(),
        transcribe("UklGRg==", "audio/webm"),
        501,
        "there is no provider",
    )
    .await;
    assert!(provider.requests().is_empty());
}
