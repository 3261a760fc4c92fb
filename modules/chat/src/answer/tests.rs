//! What a provider says, and what becomes of it.

use serde_json::{Value, json};

use super::*;
use crate::protocol::source::{Annotation, FileSource, Source, SourceBase};
use crate::protocol::workflow::{Workflow, WorkflowType};

/// Takes a delta each second; gives the events, and what is kept.
fn steps_of(mut answer: Answer, deltas: Vec<Delta>) -> (Answer, Result<Vec<Value>, ProviderError>) {
    let mut steps = VecDeque::new();
    for (second, delta) in (0..).zip(deltas) {
        let now = Timestamp::from_micros(second * 1_000_000);
        if let Err(error) = answer.take(delta, now, &mut steps) {
            return (answer, Err(error));
        }
    }
    let json = steps.into_iter().map(|step| match step {
        Step::Send(event) => serde_json::to_value(event).unwrap(),
        Step::Keep(item) | Step::Save(item) => json!({"keep": item}),
        Step::Store(item) => json!({"store": item}),
        other => panic!("{other:?}"),
    });
    let json = json.collect();
    (answer, Ok(json))
}

fn steps(deltas: Vec<Delta>) -> (Answer, Result<Vec<Value>, ProviderError>) {
    let tools = vec!["look".to_owned(), "find".to_owned()];
    steps_of(Answer::new("thr_1".into(), tools, None), deltas)
}

fn all(deltas: Vec<Delta>) -> Vec<Value> {
    steps(deltas).1.unwrap()
}

fn text(text: &str) -> Delta {
    Delta::Text(text.to_owned())
}

fn thought(part: u64, text: &str) -> Delta {
    Delta::Thought {
        part,
        text: text.to_owned(),
    }
}

fn call(name: &str, arguments: &str) -> Delta {
    Delta::ToolCall {
        call_id: format!("call_{name}"),
        name: name.to_owned(),
        arguments: arguments.to_owned(),
    }
}

fn done() -> Delta {
    Delta::Done(Ending::Complete)
}

fn name(step: &Value) -> &str {
    let kept = step
        .pointer("/keep/type")
        .or_else(|| step.pointer("/store/type"))
        .or_else(|| step.pointer("/update/type"));
    kept.unwrap_or(&step["type"]).as_str().unwrap()
}

fn types(steps: &[Value]) -> Vec<&str> {
    steps.iter().map(name).collect()
}

const ADDED: &str = "assistant_message.content_part.added";
const DELTA: &str = "assistant_message.content_part.text_delta";
const DONE: &str = "assistant_message.content_part.done";

#[test]
fn an_answer_is_added_said_and_kept() {
    let steps = all(vec![text("Hel"), text(""), text("lo"), done()]);
    assert_eq!(
        types(&steps),
        [
            "thread.item.added",
            ADDED,
            DELTA,
            DELTA,
            DONE,
            "assistant_message"
        ]
    );
    let id = steps[0]["item"]["id"].clone();
    assert_eq!(
        steps[0],
        json!({"type": "thread.item.added", "item": {"id": id, "thread_id": "thr_1", "type": "assistant_message",
               "created_at": "1970-01-01T00:00:00Z", "content": []}})
    );
    assert_eq!(
        steps[3],
        json!({"type": "thread.item.updated", "item_id": id, "update": {"type": DELTA, "content_index": 0, "delta": "lo"}})
    );
    assert_eq!(
        steps[5]["keep"]["content"],
        json!([{"annotations": [], "text": "Hello", "type": "output_text"}])
    );
    assert_eq!(steps[5]["keep"]["id"], id);
}

#[test]
fn parts_and_messages_are_told_apart() {
    let steps = all(vec![
        text("a"),
        Delta::NextPart,
        text("b"),
        Delta::NextMessage,
        text("c"),
        done(),
    ]);
    assert_eq!(
        types(&steps),
        [
            "thread.item.added",
            ADDED,
            DELTA,
            DONE,
            ADDED,
            DELTA,
            DONE,
            "assistant_message",
            "thread.item.added",
            ADDED,
            DELTA,
            DONE,
            "assistant_message",
        ]
    );
    assert_eq!(steps[5]["update"]["content_index"], 1);
    assert_eq!(steps[7]["keep"]["content"][1]["text"], "b");
    assert_ne!(steps[7]["keep"]["id"], steps[12]["keep"]["id"]);
}

#[test]
fn annotations_are_told_when_they_come_and_kept_with_the_message() {
    let source = |name: &str| {
        let base = SourceBase::titled(name);
        let filename = name.to_owned();
        Delta::Annotation(Annotation::new(
            Source::File(FileSource { base, filename }),
            Some(1),
        ))
    };
    let steps = all(vec![
        text("a"),
        source("x"),
        source("y"),
        Delta::NextPart,
        source("z"),
        text("b"),
        done(),
    ]);
    let added = "assistant_message.content_part.annotation_added";
    assert_eq!(types(&steps)[3..8], [added, added, DONE, ADDED, added]);
    assert_eq!(steps[4]["update"]["annotation_index"], 1);
    assert_eq!(steps[5]["update"]["content"]["annotations"], json!([]));
    let names = |part: usize| -> Vec<Value> {
        let kept = &steps.last().unwrap()["keep"]["content"][part]["annotations"];
        let annotations = kept.as_array().unwrap().iter();
        annotations
            .map(|annotation| annotation["source"]["filename"].clone())
            .collect()
    };
    assert_eq!(
        (names(0), names(1)),
        (vec![json!("x"), json!("y")], vec![json!("z")])
    );
}

#[test]
fn a_refusal_is_shown_when_it_is_whole() {
    let refusal = |text: &str| Delta::Refusal(text.to_owned());
    let steps = all(vec![refusal("I can"), refusal("not."), done()]);
    assert_eq!(
        types(&steps),
        ["thread.item.added", ADDED, "assistant_message"]
    );
    assert_eq!(steps[2]["keep"]["content"][0]["text"], "I cannot.");
}

#[test]
fn thoughts_become_a_workflow_that_ends_where_the_answer_begins() {
    let steps = all(vec![
        Delta::Thinking,
        thought(0, "Hm"),
        thought(0, "m."),
        thought(1, "O"),
        thought(1, "h."),
        text("Hi"),
        thought(2, "late"),
        done(),
    ]);
    let (added, updated) = ("workflow.task.added", "workflow.task.updated");
    assert_eq!(
        types(&steps)[..7],
        [
            "thread.item.added",
            added,
            updated,
            updated,
            added,
            "workflow",
            "thread.item.added"
        ]
    );
    assert_eq!(steps[0]["item"]["workflow"]["tasks"], json!([]));
    let whole = json!({"type": "thought", "status_indicator": "none", "content": "Hmm."});
    assert_eq!(steps[2]["update"]["task"], whole);
    assert_eq!(steps[3]["update"]["task"], whole);
    assert_eq!(steps[4]["update"]["task_index"], 1);
    assert_eq!(steps[4]["update"]["task"]["content"], "Oh.");
    assert_eq!(
        steps[5]["keep"]["workflow"]["summary"],
        json!({"duration": 5})
    );
    assert!(!serde_json::to_string(&steps).unwrap().contains("late"));
}

#[test]
fn each_message_has_the_thoughts_before_it() {
    let steps = all(vec![
        thought(0, "a"),
        text("b"),
        Delta::Thinking,
        thought(1, "c"),
        text("d"),
        done(),
    ]);
    let kept: Vec<&str> = (steps.iter())
        .filter_map(|step| step.pointer("/keep/type")?.as_str())
        .collect();
    assert_eq!(
        kept,
        [
            "workflow",
            "assistant_message",
            "workflow",
            "assistant_message"
        ]
    );
}

#[test]
fn a_call_is_the_last_item_and_the_thoughts_before_it_stay_open() {
    let steps = all(vec![
        thought(0, "Hm."),
        call("look", r#"{"at":1}"#),
        call("find", "{}"),
        done(),
    ]);
    assert_eq!(
        types(&steps),
        [
            "thread.item.added",
            "workflow.task.added",
            "workflow.task.updated",
            "workflow",
            "client_tool_call"
        ]
    );
    assert_eq!(steps[3]["store"]["workflow"].get("summary"), None);
    let kept = &steps[4]["keep"];
    assert_eq!(
        (
            &kept["name"],
            &kept["call_id"],
            &kept["status"],
            &kept["arguments"]
        ),
        (
            &json!("look"),
            &json!("call_look"),
            &json!("pending"),
            &json!({"at": 1})
        )
    );
    let said = all(vec![text("Let me look."), call("look", "{}"), done()]);
    assert_eq!(types(&said)[4..], ["assistant_message", "client_tool_call"]);
}

#[test]
fn a_workflow_that_was_left_open_goes_on() {
    let workflow = Item {
        id: "wf_1".into(),
        thread_id: "thr_1".into(),
        created_at: Timestamp::from_micros(0),
        cost: None,
        kind: ItemKind::Workflow {
            workflow: Workflow {
                r#type: WorkflowType::Reasoning,
                tasks: vec![crate::protocol::workflow::Task::thought("before")],
                summary: None,
                expanded: true,
            },
        },
    };
    let answer = Answer::new("thr_1".into(), Vec::new(), Some(workflow));
    let deltas = vec![
        Delta::Thinking,
        thought(0, "af"),
        thought(0, "ter"),
        text("Hi"),
        done(),
    ];
    let steps = steps_of(answer, deltas).1.unwrap();
    assert_eq!(types(&steps)[..2], ["workflow.task.added", "workflow"]);
    assert_eq!(steps[0]["update"]["task_index"], 1);
    assert_eq!(steps[1]["keep"]["id"], "wf_1");
    assert_eq!(steps[1]["keep"]["workflow"]["tasks"][1]["content"], "after");
    assert_eq!(steps[1]["keep"]["workflow"]["expanded"], false);
}

#[test]
fn a_call_that_cannot_be_made_is_an_error() {
    for (name, arguments) in [("look", "[]"), ("look", "{"), ("fly", "{}")] {
        let error = steps(vec![call(name, arguments)]).1.unwrap_err();
        assert_eq!(error, ProviderError::ToolCall, "{name} {arguments}");
    }
}

#[test]
fn a_cut_answer_is_kept_and_the_user_told() {
    let steps = all(vec![text("Hel"), Delta::Done(Ending::LengthLimit)]);
    assert_eq!(types(&steps)[4..], ["assistant_message", "notice"]);
    assert_eq!(steps[5]["level"], "warning");
    let thoughts = all(vec![thought(0, "Hm"), Delta::Done(Ending::LengthLimit)]);
    assert_eq!(types(&thoughts)[3..], ["workflow", "notice"]);
}

#[test]
fn saying_nothing_is_an_error_and_saying_too_much_too() {
    let error = |deltas| steps(deltas).1.unwrap_err();
    assert_eq!(error(vec![done()]), ProviderError::Empty);
    assert_eq!(error(vec![Delta::Thinking, done()]), ProviderError::Empty);
    assert_eq!(types(&all(vec![Delta::Done(Ending::Filtered)])), ["notice"]);
    let much = "x".repeat(TEXT_BYTES_MAX);
    assert!(steps(vec![text(&much)]).1.is_ok());
    assert_eq!(
        error(vec![text(&much), text("x")]),
        ProviderError::Malformed
    );
    let again = vec![text(&much), Delta::NextMessage, text("x")];
    assert_eq!(error(again), ProviderError::Malformed);
    let thoughts = vec![thought(0, &much), thought(1, "x")];
    assert_eq!(error(thoughts), ProviderError::Malformed);
}

#[test]
fn what_was_said_so_far_is_there_unless_it_is_white_space() {
    assert!(steps(vec![]).0.unfinished().is_none());
    assert!(steps(vec![text(" \n")]).0.unfinished().is_none());
    let item = steps(vec![text("Hel"), text("lo")]).0.unfinished().unwrap();
    assert_eq!(
        serde_json::to_value(item).unwrap()["content"][0]["text"],
        "Hello"
    );
}

#[test]
fn the_cost_is_noted_on_the_last_item() {
    let usage = Usage {
        input_tokens: 9,
        ..Usage::default()
    };
    let run = |deltas: Vec<Delta>| {
        let tools = vec!["look".to_owned()];
        let mut answer = Answer::new("thr_1".into(), tools, None).of_model("tiny".to_owned());
        let mut steps = VecDeque::new();
        for delta in deltas {
            let now = Timestamp::from_micros(0);
            answer.take(delta, now, &mut steps).unwrap();
        }
        let noted = steps.into_iter().filter_map(|step| match step {
            Step::Keep(item) => Some(("keep", item.cost)),
            Step::Store(item) => Some(("store", item.cost)),
            _ => None,
        });
        noted.collect::<Vec<_>>()
    };
    let cost = || {
        Some(Cost {
            model: "tiny".to_owned(),
            usage,
        })
    };
    // counted before the message is over, as in Chat Completions
    assert_eq!(
        run(vec![text("Hi"), Delta::Usage(usage), done()]),
        [("keep", cost())]
    );
    // and behind it, as in Responses
    assert_eq!(
        run(vec![
            text("Hi"),
            Delta::NextMessage,
            Delta::Usage(usage),
            done()
        ]),
        [("keep", None), ("store", cost())]
    );
    // on the call, when the answer ends in one
    assert_eq!(
        run(vec![
            text("Hm"),
            call("look", "{}"),
            Delta::Usage(usage),
            done()
        ]),
        [("keep", None), ("keep", cost())]
    );
    assert_eq!(run(vec![text("Hi"), done()]), [("keep", None)]);
}
