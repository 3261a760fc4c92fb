use std::io;

use serde_json::json;

use super::*;
use crate::look::Look;
use crate::mock::{Answer, Kernel, host_key, next_turn, turn};
use crate::session::{Access, Wanted};

const LONG_S: u64 = 600;

fn terminal() -> Terminal<Vec<u8>, Vec<u8>> {
    Terminal::new(Vec::new(), Vec::new(), Look::default())
}

fn refusal(status: u16, code: &str, detail: &str) -> Answer {
    Answer::Json(
        status,
        json!({"type": "urn:midplane:error:x", "title": "X", "status": status, "code": code, "detail": detail,
               "instance": "req_1"}),
    )
}

fn input(text: &str) -> Value {
    json!({"content": [{"type": "input_text", "text": text}], "attachments": [], "inference_options": {}})
}

#[tokio::test(flavor = "current_thread")]
async fn a_conversation_goes_on_in_its_thread_and_session() {
    let kernel = Kernel::start(
        LONG_S,
        vec![
            Answer::Events(turn("thr_1", "msg_1", "well met")),
            Answer::Events(next_turn("thr_1", "msg_2", "again")),
            Answer::Events(turn("thr_2", "msg_3", "anew")),
        ],
    );
    let mut conversation = kernel.conversation(None);
    let mut terminal = terminal();
    conversation.say("hi", &mut terminal).await.unwrap();
    assert_eq!(conversation.thread(), Some("thr_1"));
    conversation.say("ho", &mut terminal).await.unwrap();
    conversation.leave_thread();
    assert_eq!(conversation.thread(), None);
    conversation.say("hey", &mut terminal).await.unwrap();
    conversation.end().await;

    assert_eq!(terminal.written(), ("well met\nagain\nanew\n", ""));
    assert_eq!(
        kernel.chat_requests(),
        [
            json!({"type": "threads.create", "params": {"input": input("hi")}}),
            json!({"type": "threads.add_user_message", "params": {"thread_id": "thr_1", "input": input("ho")}}),
            json!({"type": "threads.create", "params": {"input": input("hey")}}),
        ]
    );
    let asked = kernel.asked();
    let credentials: Vec<(&str, &str)> = asked
        .iter()
        .map(|asked| (asked.line.as_str(), asked.credential.as_str()))
        .collect();
    let key = host_key();
    assert_eq!(
        credentials,
        [
            ("POST /sessions", key.as_str()),
            ("POST /api/chat/chatkit", "token-1"),
            ("POST /api/chat/chatkit", "token-1"),
            ("POST /api/chat/chatkit", "token-1"),
            ("DELETE /sessions/current", "token-1"),
        ]
    );
    assert_eq!(asked[0].body["modules"], json!(["chat"]));
    assert_eq!(asked[0].body.get("secret_key_id"), None);
}

#[tokio::test(flavor = "current_thread")]
async fn a_session_names_the_secret_it_was_told_of() {
    for (told, expected) in [(Some("my-key"), Some(&json!("my-key"))), (Some(""), None)] {
        let kernel = Kernel::start(LONG_S, vec![Answer::Events(turn("t", "m", "a"))]);
        let mut conversation = kernel.conversation(told);
        conversation.say("hi", &mut terminal()).await.unwrap();
        assert_eq!(kernel.asked()[0].body.get("secret_key_id"), expected);
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_token_that_is_expired_or_refused_is_replaced() {
    // Expired at once: each request has a token of its own.
    let kernel = Kernel::start(
        0,
        vec![
            Answer::Json(200, json!({"data": []})),
            Answer::Json(200, json!({"data": []})),
        ],
    );
    let mut conversation = kernel.conversation(None);
    threads::newest(conversation.server()).await.unwrap();
    threads::newest(conversation.server()).await.unwrap();
    let last = kernel.asked().pop().unwrap();
    assert_eq!(last.credential, "token-2");

    // Refused, as after a restart of the kernel: once more with another.
    let refused = || refusal(401, "invalid_token", "get another");
    let kernel = Kernel::start(
        LONG_S,
        vec![refused(), Answer::Json(200, json!({"data": []}))],
    );
    let mut conversation = kernel.conversation(None);
    assert_eq!(threads::newest(conversation.server()).await.unwrap(), []);
    let last = kernel.asked().pop().unwrap();
    assert_eq!(last.credential, "token-2");

    // But not for ever.
    let kernel = Kernel::start(LONG_S, vec![refused(), refused()]);
    let failure = threads::newest(kernel.conversation(None).server())
        .await
        .unwrap_err();
    assert!(failure.to_string().starts_with("get another"), "{failure}");
    assert_eq!(kernel.chat_requests().len(), 2);
}

#[tokio::test(flavor = "current_thread")]
async fn a_failed_turn_can_be_answered_again() {
    let error = json!({"type": "error", "code": "custom", "message": "the model is away", "allow_retry": true});
    let mut failing = turn("thr_1", "msg_1", "begun");
    failing.truncate(2);
    failing.push(error);
    let kernel = Kernel::start(
        LONG_S,
        vec![
            refusal(
                503,
                "module_unavailable",
                "the module takes no requests now",
            ),
            Answer::Events(failing),
            Answer::Events(next_turn("thr_1", "msg_1", "at last")),
        ],
    );
    let mut conversation = kernel.conversation(None);
    let mut terminal = terminal();
    assert!(!conversation.retry(&mut terminal).await.unwrap());

    let failure = conversation.say("hi", &mut terminal).await.unwrap_err();
    assert!(matches!(failure, Failure::Refused { .. }), "{failure:?}");
    // The message is in no thread: it is said again.
    let failure = conversation.retry(&mut terminal).await.unwrap_err();
    let Failure::Turn {
        message,
        allow_retry,
    } = failure
    else {
        panic!("{failure:?}");
    };
    assert_eq!((message.as_str(), allow_retry), ("the model is away", true));
    // Now it is: it is answered again.
    assert!(conversation.retry(&mut terminal).await.unwrap());
    assert_eq!(terminal.written().0, "at last\n");
    let create = json!({"type": "threads.create", "params": {"input": input("hi")}});
    assert_eq!(
        kernel.chat_requests(),
        [
            create.clone(),
            create,
            json!({"type": "threads.retry_after_item", "params": {"thread_id": "thr_1", "item_id": "msg_1"}}),
        ]
    );
}

#[tokio::test(flavor = "current_thread")]
async fn what_is_no_answer_is_a_failure() {
    let cases = [
        (Answer::Events(Vec::new()), "no answer came"),
        (
            Answer::Events(vec![
                json!({"type": "notice", "level": "info", "message": "x"}),
            ]),
            "no answer came",
        ),
        (Answer::Events(vec![json!([1])]), "not ChatKit's"),
        (Answer::Cut(turn("t", "m", "half an answer")), ""),
        (
            refusal(
                422,
                "module_not_loaded",
                "the module \"chat\" is not loaded",
            ),
            "--module chat=PATH",
        ),
        (Answer::Json(500, json!("what?")), "what?"),
    ];
    for (answer, expected) in cases {
        let kernel = Kernel::start(LONG_S, vec![answer]);
        let failure = kernel
            .conversation(None)
            .say("hi", &mut terminal())
            .await
            .unwrap_err();
        assert!(failure.to_string().contains(expected), "{failure}");
        assert_eq!(failure.exit_code(), 1, "{failure}");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn without_a_kernel_or_its_key_the_failure_says_which() {
    let kernel = Kernel::start(LONG_S, Vec::new());
    let say = async |socket, host_key_file| {
        let wanted = Wanted {
            socket: Some(socket),
            host_key_file: Some(host_key_file),
            ..Wanted::default()
        };
        Conversation::new(Server::new(Access::new(wanted)), None)
            .say("hi", &mut terminal())
            .await
            .unwrap_err()
    };
    let nowhere = kernel.socket().with_file_name("nowhere.sock");
    let no_key = kernel.socket().with_file_name("no.key");
    for key in [no_key.clone(), kernel.host_key_file()] {
        let failure = say(nowhere.clone(), key).await;
        assert!(matches!(failure, Failure::NoKernel { .. }), "{failure:?}");
        assert_eq!(failure.exit_code(), 69);
    }
    let failure = say(kernel.socket(), no_key).await;
    assert!(matches!(failure, Failure::HostKey(_)), "{failure:?}");
    assert!(failure.to_string().contains("no.key"), "{failure}");
    assert_eq!(failure.exit_code(), 1);
}

#[tokio::test(flavor = "current_thread")]
async fn an_opened_thread_goes_on_from_its_end() {
    let item = |id: &str, kind: &str, text: &str| json!({"id": id, "thread_id": "thr_7", "type": kind, "content": [{"text": text}]});
    let kernel = Kernel::start(
        LONG_S,
        vec![
            Answer::Json(
                200,
                json!({"id": "thr_7", "title": "Tea", "created_at": "2026-01-01T00:00:00Z",
                       "items": {"data": [item("msg_1", "user_message", "first")], "has_more": true, "after": "msg_1"}}),
            ),
            Answer::Json(
                200,
                json!({"data": [item("msg_9", "assistant_message", "green"), item("wf_1", "workflow", ""),
                                item("msg_8", "user_message", "which?")], "has_more": true}),
            ),
            Answer::Events(next_turn("thr_7", "msg_8", "black")),
            refusal(404, "thread_not_found", "there is no such thread"),
        ],
    );
    let mut conversation = kernel.conversation(None);
    let opened = conversation.open(&Named::parse("thr_7")).await.unwrap();
    assert_eq!(opened.title.as_deref(), Some("Tea"));
    let ids: Vec<&Value> = opened.items.iter().map(|item| &item["id"]).collect();
    assert_eq!(ids, ["msg_8", "wf_1", "msg_9"]);
    assert!(conversation.retry(&mut terminal()).await.unwrap());
    // One that cannot be opened leaves the conversation where it is.
    let failure = conversation
        .open(&Named::parse("thr_8"))
        .await
        .err()
        .unwrap();
    assert!(failure.to_string().contains("/threads lists"), "{failure}");
    assert_eq!(conversation.thread(), Some("thr_7"));
    assert_eq!(
        kernel.chat_requests(),
        [
            json!({"type": "threads.get_by_id", "params": {"thread_id": "thr_7"}}),
            json!({"type": "items.list", "params": {"thread_id": "thr_7", "limit": 20, "order": "desc"}}),
            json!({"type": "threads.retry_after_item", "params": {"thread_id": "thr_7", "item_id": "msg_8"}}),
            json!({"type": "threads.get_by_id", "params": {"thread_id": "thr_8"}}),
        ]
    );
}

#[tokio::test(flavor = "current_thread")]
async fn a_reader_that_has_gone_ends_the_turn_quietly() {
    struct Gone;
    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut kernel = Kernel::start(LONG_S, vec![Answer::Open(turn("t", "m", "a"))]);
    let mut terminal = Terminal::new(Gone, Gone, Look::default());
    let failure = kernel
        .conversation(None)
        .say("hi", &mut terminal)
        .await
        .unwrap_err();
    assert!(failure.is_closed_pipe(), "{failure:?}");
    assert_eq!(failure.exit_code(), 0);
    kernel.client_left().await;
}

#[tokio::test(flavor = "current_thread")]
async fn a_message_asks_for_the_model_it_was_told_of() {
    let kernel = Kernel::start(
        LONG_S,
        vec![
            refusal(
                400,
                "invalid_request",
                "the model `huge` is not among those configured",
            ),
            Answer::Events(turn("thr_1", "msg_1", "hi")),
        ],
    );
    let mut conversation = kernel.conversation(None);
    conversation.ask_model("huge");
    let failure = conversation.say("hi", &mut terminal()).await.unwrap_err();
    assert_eq!(
        failure.to_string(),
        "the model `huge` is not among those configured"
    );
    assert_eq!(failure.exit_code(), 1);
    conversation.ask_model("large");
    assert!(conversation.retry(&mut terminal()).await.unwrap());
    let models: Vec<Value> = kernel
        .chat_requests()
        .iter()
        .map(|request| request["params"]["input"]["inference_options"].clone())
        .collect();
    assert_eq!(
        models,
        [json!({"model": "huge"}), json!({"model": "large"})]
    );
}

#[tokio::test(flavor = "current_thread")]
async fn instructions_are_of_the_session() {
    let kernel = Kernel::start(0, vec![Answer::Json(200, json!({"data": []}))]);
    let wanted = Wanted {
        instructions: Some("Be brief.".to_owned()),
        ..kernel.wanted()
    };
    let mut server = Server::new(Access::new(wanted));
    threads::newest(&mut server).await.unwrap();
    let asked = kernel.asked();
    assert_eq!(
        asked[0].body["metadata"],
        json!({"instructions": "Be brief."})
    );
}

#[tokio::test(flavor = "current_thread")]
async fn files_are_sent_in_two_phases_and_go_with_the_next_message() {
    let created = |id: &str| {
        Answer::Json(
            200,
            json!({"type": "file", "id": id, "name": "x", "mime_type": "text/plain", "upload_descriptor": {
                "url": format!("http://localhost/api/chat/attachments/{id}"), "method": "PUT",
                "headers": {"x-part": "1", "authorization": "Bearer stolen"}}}),
        )
    };
    let kernel = Kernel::start(
        LONG_S,
        vec![
            created("atc_1"),
            Answer::Json(204, Value::Null),
            created("atc_2"),
            Answer::Json(204, Value::Null),
            refusal(503, "module_unavailable", "later"),
            Answer::Events(turn("thr_1", "msg_1", "seen")),
            Answer::Events(next_turn("thr_1", "msg_2", "ok")),
        ],
    );
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tea.md");
    std::fs::write(&path, "# Tea").unwrap();
    let mut conversation = kernel.conversation(None);
    let attached = conversation.attach(&Source::File(path)).await.unwrap();
    assert_eq!((attached.name.as_str(), attached.bytes), ("tea.md", 5));
    conversation
        .attach(&Source::Piped(vec![0xff, 0]))
        .await
        .unwrap();
    // What did not reach the thread takes its files with it the next time; what did, does not.
    conversation.say("look", &mut terminal()).await.unwrap_err();
    conversation
        .say("look here", &mut terminal())
        .await
        .unwrap();
    conversation.say("and now", &mut terminal()).await.unwrap();

    let asked = kernel.asked();
    assert_eq!(
        asked[1].body,
        json!({"type": "attachments.create", "params": {"name": "tea.md", "size": 5, "mime_type": "text/markdown"}})
    );
    let upload = &asked[2];
    assert_eq!(upload.line, "PUT /api/chat/attachments/atc_1");
    assert_eq!(
        (upload.bytes.as_slice(), upload.content_type.as_str()),
        (&b"# Tea"[..], "text/markdown")
    );
    assert_eq!(upload.credential, "token-1");
    assert_eq!(
        asked[3].body["params"]["mime_type"],
        "application/octet-stream"
    );
    let attachments: Vec<Value> = kernel.chat_requests()[2..]
        .iter()
        .map(|request| request["params"]["input"]["attachments"].clone())
        .collect();
    assert_eq!(
        attachments,
        [
            json!(["atc_1", "atc_2"]),
            json!(["atc_1", "atc_2"]),
            json!([])
        ]
    );
}

#[tokio::test(flavor = "current_thread")]
async fn a_file_that_is_refused_or_wanted_elsewhere_is_not_sent() {
    for (answer, said) in [
        (
            refusal(501, "not_offered", "attachments are not offered"),
            "attachments are not offered",
        ),
        (
            Answer::Json(
                200,
                json!({"id": "a", "upload_descriptor": {"url": "https://files.example/a", "method": "PUT"}}),
            ),
            "is not this kernel's: it is not sent",
        ),
    ] {
        let kernel = Kernel::start(LONG_S, vec![answer]);
        let mut conversation = kernel.conversation(None);
        let failure = conversation
            .attach(&Source::Piped(b"x".to_vec()))
            .await
            .unwrap_err();
        assert!(failure.to_string().contains(said), "{failure}");
        assert_eq!(kernel.asked().len(), 2);
    }
}
