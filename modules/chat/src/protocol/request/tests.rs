//! Every request of the protocol, under both its names, and what is said of one that is wrong.

use super::*;

const INPUT: &str =
    r#"{"content":[{"type":"input_text","text":"hi"}],"attachments":[],"inference_options":{}}"#;

#[test]
fn every_request_is_read_under_both_names() {
    let requests = [
        ("threads.create", format!(r#"{{"input":{INPUT}}}"#)),
        (
            "threads.add_user_message",
            format!(r#"{{"thread_id":"t","input":{INPUT}}}"#),
        ),
        (
            "threads.retry_after_item",
            r#"{"thread_id":"t","item_id":"i"}"#.to_owned(),
        ),
        ("threads.get_by_id", r#"{"thread_id":"t"}"#.to_owned()),
        (
            "threads.list",
            r#"{"limit":2,"order":"asc","after":"t"}"#.to_owned(),
        ),
        (
            "items.list",
            r#"{"thread_id":"t","limit":2,"after":"i"}"#.to_owned(),
        ),
        (
            "threads.update",
            r#"{"thread_id":"t","title":"x"}"#.to_owned(),
        ),
        ("threads.delete", r#"{"thread_id":"t"}"#.to_owned()),
        (
            "items.feedback",
            r#"{"thread_id":"t","item_ids":["i"],"kind":"positive"}"#.to_owned(),
        ),
        (
            "threads.add_client_tool_output",
            r#"{"thread_id":"t","result":null}"#.to_owned(),
        ),
        (
            "threads.add_structured_input",
            r#"{"thread_id":"t","item_id":"i","input":{}}"#.to_owned(),
        ),
        (
            "threads.custom_action",
            r#"{"thread_id":"t","item_id":null,"action":{"type":"a"}}"#.to_owned(),
        ),
        (
            "threads.sync_custom_action",
            r#"{"thread_id":"t","action":{"type":"a","payload":[1]}}"#.to_owned(),
        ),
        (
            "attachments.create",
            r#"{"name":"a","size":1,"mime_type":"text/plain"}"#.to_owned(),
        ),
        (
            "attachments.delete",
            r#"{"attachment_id":"atc_1"}"#.to_owned(),
        ),
        (
            "input.transcribe",
            r#"{"audio_base64":"","mime_type":"audio/webm"}"#.to_owned(),
        ),
    ];
    for (name, params) in requests {
        for name in [name.to_owned(), name.replacen('.', "_", 1)] {
            let body = format!(r#"{{"type":"{name}","params":{params},"metadata":{{"a":1}}}}"#);
            assert!(Request::parse(body.as_bytes()).is_ok(), "{body}");
        }
    }
}

#[test]
fn what_is_wrong_is_said() {
    let check = |body: &str, expect: &str| {
        let error = Request::parse(body.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(expect), "{body}: {error}");
    };
    check("", "not a ChatKit request");
    check("[1]", "not a ChatKit request");
    check("{}", "missing field `type`");
    check(
        r#"{"type":"threads.explode"}"#,
        "`threads.explode` is not a request",
    );
    check(
        r#"{"type":"threads_explode"}"#,
        "`threads_explode` is not a request",
    );
    check(r#"{"type":"threads.list"}"#, "`params` of `threads.list`");
    check(
        r#"{"type":"threads.get_by_id","params":{}}"#,
        "missing field `thread_id`",
    );
    check(
        r#"{"type":"threads.list","params":{"limit":-1}}"#,
        "invalid value",
    );
    check(
        r#"{"type":"threads.create","params":{"input":{}}}"#,
        "missing field `content`",
    );
    check(
        r#"{"type":"items.feedback","params":{"thread_id":"t","item_ids":[],"kind":"so-so"}}"#,
        "unknown variant `so-so`",
    );
    check(
        r#"{"type":"threads.add_client_tool_output","params":{"thread_id":"t"}}"#,
        "missing field `result`",
    );
}
