//! What is on record stays readable, and what another version adds does no harm.

use serde_json::{Map, Value, json};

use super::*;
use crate::protocol::attachment::{Attachment, AttachmentKind};
use crate::protocol::item::ItemKind;
use crate::protocol::thread::Status;
use crate::store::contract::at;

/// Sets of records, by the schema they were written in and what the set was added for: grows, and is not changed.
const ON_RECORD: &str = include_str!("records.json");

fn on_record() -> Map<String, Value> {
    serde_json::from_str(ON_RECORD).unwrap()
}

async fn holding(records: &Value) -> (Storage, Durable) {
    let storage = midplane_sdk::testing::storage(1 << 20);
    for (key, value) in records.as_object().unwrap() {
        storage.put(key, value.to_string()).await.unwrap();
    }
    (storage.clone(), Durable::new(storage))
}

/// One item of each kind.
fn items() -> Vec<Item> {
    let attachment = json!({"id": "atc_1", "name": "a.txt", "mime_type": "text/plain", "type": "file", "thread_id": "thr_1"});
    let tag = json!({"type": "input_tag", "id": "i", "text": "@a", "data": {"a": [1]}, "group": "g", "interactive": true});
    let source = json!({"type": "url", "title": "t", "url": "https://a/"});
    let said = json!({"type": "output_text", "text": "x", "annotations": [{"type": "annotation", "source": source, "index": 3}]});
    let thought = json!({"status_indicator": "none", "type": "thought", "content": "c"});
    let kinds = [
        json!({"type": "user_message", "content": [{"type": "input_text", "text": "hello \u{1f600}\n"}, tag],
               "attachments": [attachment], "quoted_text": "q", "inference_options": {"tool_choice": {"id": "c"}, "model": "m"}}),
        json!({"type": "assistant_message", "content": [said]}),
        json!({"type": "client_tool_call", "status": "completed", "call_id": "c", "name": "n", "arguments": {"a": null}, "output": [1]}),
        json!({"type": "widget", "widget": {"type": "Card", "children": []}, "copy_text": "c"}),
        json!({"type": "generated_image", "image": {"id": "i", "url": "u"}}),
        json!({"type": "structured_input", "status": "pending", "inputs": []}),
        json!({"type": "workflow", "workflow": {"type": "reasoning", "tasks": [thought], "summary": {"duration": 7}, "expanded": false}}),
        json!({"type": "task", "task": thought}),
        json!({"type": "end_of_turn"}),
        json!({"type": "hidden_context_item", "content": {"a": 1}}),
        json!({"type": "sdk_hidden_context", "content": "c"}),
    ];
    let items = kinds.into_iter().enumerate().map(|(number, mut item)| {
        let members = item.as_object_mut().unwrap();
        members.insert("id".into(), format!("itm_{number:02}").into());
        members.insert("thread_id".into(), "thr_1".into());
        members.insert("created_at".into(), "2026-11-18T11:06:40.000001Z".into());
        serde_json::from_value(item).unwrap()
    });
    items.collect()
}

fn metadata() -> ThreadMetadata {
    let note = json!({"note": [1, null]});
    ThreadMetadata {
        id: "thr_1".into(),
        title: Some("a title".to_owned()),
        status: Status::Locked {
            reason: Some("r".to_owned()),
        },
        allowed_image_domains: Some(vec!["example.org".to_owned()]),
        metadata: note.as_object().unwrap().clone(),
        ..ThreadMetadata::new(at(1_795_000_000_000_001))
    }
}

fn stored() -> StoredAttachment {
    StoredAttachment {
        attachment: Attachment {
            id: "atc_1".into(),
            name: "a.txt".to_owned(),
            mime_type: "text/plain".to_owned(),
            upload_descriptor: None,
            thread_id: Some("thr_1".into()),
            kind: AttachmentKind::File,
        },
        size_bytes: 7,
        created_at: at(1_795_000_000_000_000),
        is_uploaded: true,
    }
}

#[tokio::test]
async fn what_this_version_writes_is_on_record() {
    let storage = midplane_sdk::testing::storage(1 << 20);
    let store = Durable::new(storage.clone());
    let user = "ada@example.org";
    store.add_thread(user, metadata()).await.unwrap();
    for item in items() {
        store.add_item(user, item).await.unwrap();
    }
    let liked = FeedbackKind::Positive;
    store
        .add_feedback(user, &"thr_1".into(), &["itm_01".into()], liked)
        .await
        .unwrap();
    store.save_attachment(user, stored()).await.unwrap();
    let mut written = Map::new();
    for key in all_keys(&storage).await {
        let value = storage.get(&key).await.unwrap().unwrap().value;
        written.insert(key, serde_json::from_slice(&value).unwrap());
    }
    let sets = on_record();
    let newest = &sets[&format!("{} at last", record::SCHEMA)];
    assert_eq!(
        newest,
        &Value::Object(written.clone()),
        "what is written has changed: if rule 1 of record.rs allows it, keep the set that was the last under another name, \
         and add this one to records.json:\n{}",
        Value::Object(written)
    );
}

#[tokio::test]
async fn what_is_on_record_is_read_whole() {
    for (name, records) in on_record() {
        let (_, store) = holding(&records).await;
        let user = "ada@example.org";
        let page = Store::threads(&store, user, scan(9, Order::Asc, None)).await;
        assert_eq!(page.unwrap().data, [metadata()], "{name}");
        let thr_1 = ThreadId::from("thr_1");
        assert_eq!(store.thread(user, &thr_1).await.unwrap(), metadata());
        let page = Store::items(&store, user, &thr_1, scan(99, Order::Asc, None)).await;
        assert_eq!(page.unwrap().data, items(), "{name}");
        let itm_01 = ItemId::from("itm_01");
        let feedback = store.feedback(user, &thr_1, &itm_01).await.unwrap();
        assert_eq!(feedback, Some(FeedbackKind::Positive), "{name}");
        let found = store.attachments(None, 9).await.unwrap();
        assert_eq!(found.len(), 1, "{name}");
        assert_eq!((&*found[0].0.user, &found[0].1), (user, &stored()));
        // And written on.
        store.add_item(user, item("thr_1", "more")).await.unwrap();
        assert_eq!(ids(&store, user, "thr_1").await.unwrap().len(), 12);
        store.delete_thread(user, &thr_1).await.unwrap();
    }
}

/// What the next version may write into a thread that this one knows.
fn of_the_next_version() -> Value {
    let thread = json!({"v": 1, "new": true, "thread": {
        "id": "t1", "created_at": "1970-01-01T00:00:00Z", "status": {"type": "dreaming", "of": "sheep"}, "metadata": {}, "pinned": {"at": 3}}});
    let item = |id: &str, more: Value| {
        let mut item = json!({"id": id, "thread_id": "t1", "created_at": "1970-01-01T00:00:00Z"});
        let members = item.as_object_mut().unwrap();
        members.extend(more.as_object().unwrap().clone());
        json!({"v": 1, "new": [], "item": item})
    };
    let said = json!([{"type": "output_text", "text": "x", "annotations": [], "new": 1}]);
    let mut newer = item("i3", json!({"type": "assistant_message", "content": said}));
    newer["v"] = 2.into();
    let mut records = json!({
        "t/ada/t1": thread, "l/ada/0000000000000000/t1": thread, "n/ada/t1": {"v": 1, "next": 4, "new": 0},
        "i/ada/t1/0000000000000000": item("i0", json!({"type": "hologram", "depth": {"cm": 3}})),
        "i/ada/t1/0000000000000001": item("i1", json!({"type": "assistant_message", "content": said, "new": 1})),
        "i/ada/t1/0000000000000002": item("i2", json!({"type": "assistant_message", "content": [{"type": "output_smell"}]})),
        "i/ada/t1/0000000000000003": newer,
        "f/ada/t1/i0": {"v": 1, "kind": "positive", "because": "x"},
        "c": {"v": 1, "number": 7, "new": 1},
        "c/0000000000000007/ada/t1": {"v": 1, "user": "ada", "thread": "t1", "new": 1},
    });
    for place in 0..4 {
        records[format!("p/ada/t1/i{place}")] = json!({"v": 1, "at": place, "new": 1});
    }
    records
}

#[tokio::test]
async fn what_the_next_version_adds_does_no_harm() {
    let (storage, store) = holding(&of_the_next_version()).await;
    let t1 = ThreadId::from("t1");
    let page = Store::threads(&store, "ada", scan(9, Order::Asc, None)).await;
    let [listed] = &page.unwrap().data[..] else {
        panic!("one thread")
    };
    assert_eq!(listed.status, Status::Active, "what is not known");
    let page = Store::items(&store, "ada", &t1, scan(9, Order::Asc, None)).await;
    let page = page.unwrap().data;
    let hidden: Vec<_> = page.iter().map(Item::is_hidden).collect();
    assert_eq!(hidden, [true, false, true, true]);
    assert_eq!(
        serde_json::to_value(&page[0]).unwrap(),
        of_the_next_version()["i/ada/t1/0000000000000000"]["item"]
    );

    // A change of ours leaves alone what is not ours.
    let rename = |thread: &mut ThreadMetadata| thread.title = Some("renamed".to_owned());
    store.update_thread("ada", &t1, &rename).await.unwrap();
    let mut expect = of_the_next_version()["t/ada/t1"].clone();
    expect["thread"]["title"] = "renamed".into();
    for key in ["t/ada/t1", "l/ada/0000000000000000/t1"] {
        let kept = storage.get(key).await.unwrap().unwrap().value;
        let kept: Value = serde_json::from_slice(&kept).unwrap();
        assert_eq!(kept, expect);
    }
    let close = |thread: &mut ThreadMetadata| {
        thread.title = None;
        thread.status = Status::Closed { reason: None };
    };
    store.update_thread("ada", &t1, &close).await.unwrap();
    let kept = storage.get("t/ada/t1").await.unwrap().unwrap().value;
    let kept: Value = serde_json::from_slice(&kept).unwrap();
    assert_eq!(kept["thread"]["status"], json!({"type": "closed"}));
    assert_eq!(kept["thread"]["pinned"], json!({"at": 3}));
    assert_eq!(kept["thread"].get("title"), None);

    store.add_item("ada", item("t1", "i4")).await.unwrap();
    store.delete_item("ada", &t1, &"i0".into()).await.unwrap();
    assert_eq!(
        ids(&store, "ada", "t1").await.unwrap(),
        ["i1", "i2", "i3", "i4"]
    );
    store.delete_thread("ada", &t1).await.unwrap();
    assert_eq!(kept_keys(&storage).await, [""; 0]);
}

#[tokio::test]
async fn a_record_of_a_later_schema_or_a_damaged_one_is_said_to_be_so() {
    let ours = json!({"v": 1, "thread": {"id": "t2", "created_at": "1970-01-01T00:00:01Z"}});
    for (record, expect) in [
        (json!({"v": 2, "threads": []}), "up to 1"),
        (json!({"v": 1, "thread": {"id": "t1"}}), "cannot be read"),
        (json!([]), "cannot be read"),
    ] {
        let records = json!({
            "t/ada/t1": record, "l/ada/0000000000000000/t1": record, "n/ada/t1": {"v": 1, "next": 0},
            "t/ada/t2": ours, "l/ada/00000000000f4240/t2": ours, "n/ada/t2": {"v": 1, "next": 0},
        });
        let (storage, store) = holding(&records).await;
        let error = store.thread("ada", &"t1".into()).await.unwrap_err();
        assert!(error.to_string().contains(expect), "{record}: {error}");
        let nothing = |thread: &mut ThreadMetadata| thread.title = Some("x".to_owned());
        let refused = store.update_thread("ada", &"t1".into(), &nothing).await;
        assert_eq!(refused.unwrap_err(), error);
        let kept = storage.get("t/ada/t1").await.unwrap().unwrap().value;
        assert_eq!(kept, record.to_string(), "it is left alone");
        // It does not hide the others, also where it ends a page.
        for order in [Order::Asc, Order::Desc] {
            let page = Store::threads(&store, "ada", scan(2, order, None)).await;
            let page = page.unwrap();
            assert_eq!(page.data.len(), 1);
            assert_eq!(page.data[0].id.as_str(), "t2");
        }
    }
    let damaged = json!({"n/ada/t1": {"v": 1, "next": 1}, "p/ada/t1/a": {"v": 1, "at": 0}, "i/ada/t1/0000000000000000": {"v": 1}});
    let (_, store) = holding(&damaged).await;
    let error = store.item("ada", &"t1".into(), &"a".into()).await;
    assert!(matches!(error, Err(StoreError::Failed(_))), "{error:?}");
}

#[tokio::test]
async fn an_item_that_is_too_large_is_refused_and_told_why() {
    let storage = midplane_sdk::testing::storage(64 << 20);
    let store = Durable::new(storage);
    store.add_thread("ada", thread("t1")).await.unwrap();
    let huge = Item {
        kind: ItemKind::SdkHiddenContext {
            content: "x".repeat(1 << 20),
        },
        ..item("t1", "a")
    };
    let refused = store.add_item("ada", huge).await.unwrap_err();
    assert!(matches!(refused, StoreError::TooLarge(_)), "{refused:?}");
    // Pages of large ones come in parts, and are whole.
    for number in 0..5 {
        let large = Item {
            kind: ItemKind::SdkHiddenContext {
                content: "x".repeat(600_000),
            },
            ..item("t1", &number.to_string())
        };
        store.add_item("ada", large).await.unwrap();
    }
    assert_eq!(
        ids(&store, "ada", "t1").await.unwrap(),
        ["0", "1", "2", "3", "4"]
    );
    let page = Store::items(&store, "ada", &"t1".into(), scan(3, Order::Desc, None)).await;
    let page = page.unwrap();
    assert_eq!((page.data.len(), page.after.as_deref()), (3, Some("2")));
}
