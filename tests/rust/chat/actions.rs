//! Custom actions of ChatKit's clients, carried out by another module (`tests/modules/actions`) for chat.

use serde_json::{Value, json};

use crate::harness::{Answer, Kernel};

/// A thread in a kernel with chat and the module that it lets carry out actions.
struct Stage {
    kernel: Kernel,
    token: String,
    thread: String,
}

impl Stage {
    async fn start(runs: (&str, &str), grants: &str) -> Stage {
        println!("chat {}, actions {}", runs.0, runs.1);
        let chat = format!(
            "isolation = {:?}\ngrants = [{grants}]\nconfig = {{ provider = \"echo\", store = \"memory\", actions = \"actions\" }}",
            runs.0
        );
        let kernel = Kernel::builder()
            .module("chat", &chat)
            .module("actions", &format!("isolation = {:?}", runs.1))
            .start()
            .await;
        let token = kernel
            .session(json!({"user": "ada", "modules": ["chat"]}))
            .await;
        let mut stage = Stage {
            kernel,
            token,
            thread: String::new(),
        };
        let content = json!([{"type": "input_text", "text": "hello"}]);
        let input = json!({"content": content, "attachments": [], "inference_options": {}});
        let created = stage
            .events("threads.create", json!({"input": input}))
            .await;
        created[0]["thread"]["id"]
            .as_str()
            .expect("a thread has an id")
            .clone_into(&mut stage.thread);
        stage
    }

    async fn ask(&self, request: &str, params: Value) -> Answer {
        let request = json!({"type": request, "params": params});
        let post = self.kernel.post("/api/chat/chatkit").bearer(&self.token);
        post.json(&request).send().await
    }

    async fn events(&self, request: &str, params: Value) -> Vec<Value> {
        let answer = self.ask(request, params).await;
        answer.expect_status(200);
        let events = answer.text().split_terminator("\n\n");
        events
            .map(|event| event.strip_prefix("data: ").expect("one line of data"))
            .map(|event| serde_json::from_str(event).expect("JSON"))
            .collect()
    }

    fn action(&self, name: &str, item: Option<&Value>) -> Value {
        json!({"thread_id": self.thread, "item_id": item, "action": {"type": name, "payload": {"n": 7}}})
    }

    async fn act(&self, name: &str, item: Option<&Value>) -> Vec<Value> {
        self.events("threads.custom_action", self.action(name, item))
            .await
    }

    async fn items(&self) -> Vec<Value> {
        let params = json!({"thread_id": self.thread, "order": "asc", "limit": 100});
        let page = self.ask("items.list", params).await;
        page.expect_status(200);
        let page = page.json();
        page["data"].as_array().expect("a page has records").clone()
    }
}

const GRANTED: &str = "\"call:actions\"";

fn types(events: &[Value]) -> Vec<&str> {
    events
        .iter()
        .map(|event| event["type"].as_str().expect("a type"))
        .collect()
}

/// The words of the error that ends these events, and whether the client may try again.
fn failure(events: &[Value]) -> (&str, bool) {
    let last = events.last().expect("an event");
    assert_eq!(last["type"], "error", "{last}");
    let retry = last["allow_retry"].as_bool().expect("a flag");
    (last["message"].as_str().expect("words"), retry)
}

#[tokio::test]
async fn a_widget_is_shown_changed_and_taken_away() {
    for runs in [("in-process", "in-process"), ("process", "process")] {
        let stage = Stage::start(runs, GRANTED).await;
        let shown = stage.act("show", None).await;
        assert_eq!(
            types(&shown),
            [
                "stream_options",
                "progress_update",
                "thread.item.done",
                "notice"
            ]
        );
        let widget = &shown[2]["item"];
        let id = &widget["id"];
        assert_eq!(widget["widget"]["children"][0]["value"], "7");
        assert_eq!(stage.items().await[2], *widget);

        let counted = stage.act("count", Some(id)).await;
        assert_eq!(types(&counted), ["stream_options", "thread.item.replaced"]);
        // It takes the place of the one that was, and is as old.
        assert_eq!(counted[1]["item"]["created_at"], widget["created_at"]);
        let again = stage.act("recount", Some(id)).await;
        assert_eq!(types(&again), ["stream_options", "thread.item.updated"]);
        assert_eq!(
            stage.items().await[2]["widget"],
            again[1]["update"]["widget"]
        );
        let at_once = stage
            .ask(
                "threads.sync_custom_action",
                stage.action("count", Some(id)),
            )
            .await;
        at_once.expect_status(200);
        assert_eq!(at_once.json()["updated_item"]["id"], *id);

        let removed = stage.act("remove", Some(id)).await;
        assert_eq!(
            removed[1],
            json!({"type": "thread.item.removed", "item_id": id})
        );
        assert_eq!(stage.items().await.len(), 2);
    }
}

#[tokio::test]
async fn a_widget_grows_and_a_form_is_answered() {
    let stage = Stage::start(("in-process", "in-process"), GRANTED).await;
    let told = stage.act("tell", None).await;
    assert_eq!(
        types(&told)[1..],
        [
            "thread.item.added",
            "thread.item.updated",
            "thread.item.updated",
            "thread.item.done"
        ]
    );
    let story = &stage.items().await[2]["widget"]["children"][0]["value"];
    assert_eq!(story, "Once upon a time.");

    let asked = stage.act("ask", None).await;
    let form = asked[1]["item"]["id"].clone();
    let answers = json!({"answers": {"colour": {"values": ["red"]}, "why": {"values": ["so"]}}});
    let submission = json!({"thread_id": stage.thread, "item_id": form, "input": answers});
    let answered = stage
        .events("threads.add_structured_input", submission.clone())
        .await;
    assert_eq!(
        types(&answered)[..2],
        ["stream_options", "thread.item.replaced"]
    );
    let inputs = &answered[1]["item"]["inputs"];
    assert_eq!(
        inputs[0]["answer"],
        json!({"values": ["red"], "skipped": false})
    );
    let again = stage.ask("threads.add_structured_input", submission).await;
    again.expect_status(409);
    assert_eq!(again.json()["code"], "conflict");
}

#[tokio::test]
async fn what_only_the_model_is_told_is_never_sent() {
    let stage = Stage::start(("in-process", "in-process"), GRANTED).await;
    let before = stage.items().await.len();
    let told = stage.act("whisper", None).await;
    let hidden: Vec<_> = told
        .iter()
        .filter(|event| event["item"]["type"] == "hidden_context_item")
        .collect();
    assert!(hidden.is_empty(), "{hidden:?}");
    assert_eq!(stage.items().await.len(), before + 1, "the answer alone");
    let closed = stage.act("close", None).await;
    assert_eq!(
        closed[1]["thread"]["status"],
        json!({"type": "closed", "reason": "All is said."})
    );
}

#[tokio::test]
async fn a_module_that_errs_ends_the_stream_with_an_error_that_names_it() {
    let stage = Stage::start(("in-process", "in-process"), GRANTED).await;
    for (fault, expect, retry) in [
        ("other_thread", "for the thread thr_of_others", false),
        ("bad_id", "`no good id`", false),
        ("no_id", "without an `id`", false),
        ("no_event", "no event of ChatKit's", false),
        ("no_item", "no such `type`", false),
        ("no_widget", "`Text` is no root", false),
        ("no_such_item", "no such item", false),
        ("no_json", "no event of ChatKit's", false),
        ("no_stream", "no event stream", false),
        ("huge", "larger than", false),
        ("cut", "broke off", true),
        ("fails", "status 500", true),
        ("panics", "status 500", true),
        ("forbids", "status 403", false),
    ] {
        let events = stage.act(&format!("fault.{fault}"), None).await;
        assert_eq!(events[0]["type"], "stream_options");
        let (message, may_retry) = failure(&events);
        assert!(
            message.contains(expect) && message.contains("actions"),
            "{fault}: {message}"
        );
        assert_eq!(may_retry, retry, "{fault}: {message}");
    }
    let unknown = stage.act("unheard-of", None).await;
    let words = "There is no action unheard-of here.";
    assert_eq!(failure(&unknown), (words, false), "the author's own words");
    let action = stage.action("fault.not_json", None);
    let at_once = stage.ask("threads.sync_custom_action", action).await;
    at_once.expect_status(502);
    assert_eq!(at_once.json()["code"], "action_failed");
    assert_eq!(stage.items().await.len(), 2, "nothing of it is kept");
}

#[tokio::test]
async fn a_module_that_cannot_be_called_is_told_with_what_to_do() {
    let stage = Stage::start(("in-process", "in-process"), "").await;
    let refused = stage.act("show", None).await;
    let (message, _) = failure(&refused);
    assert!(message.contains("call:actions"), "{message}");

    let stage = Stage::start(("in-process", "in-process"), GRANTED).await;
    let unloaded = stage
        .kernel
        .host("DELETE", "/modules/actions?force=true")
        .send()
        .await;
    unloaded.expect_status(200);
    let gone = stage.act("show", None).await;
    let (message, _) = failure(&gone);
    assert!(message.contains("is not loaded"), "{message}");
}

#[tokio::test]
async fn a_client_that_leaves_an_action_ends_it_and_keeps_the_words() {
    let stage = Stage::start(("in-process", "in-process"), GRANTED).await;
    let request = json!({"type": "threads.custom_action", "params": stage.action("talk", None)});
    let post = stage.kernel.post("/api/chat/chatkit").bearer(&stage.token);
    let mut stream = post.json(&request).stream().await;
    stream.read_until("you see").await;
    drop(stream);
    let kept = crate::modules::eventually(&stage.kernel, "the words to be kept", async || {
        stage.items().await.get(2).cloned()
    })
    .await;
    assert_eq!(kept["content"][0]["text"], "Well, you see");
}
