//! The feed over stores in memory, and the route through the whole module.

use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::protocol::thread::ThreadMetadata;
use crate::protocol::timestamp::Timestamp;
use crate::store::{Memory, Store};
use crate::tests::{DEADLINE, ada, call, create, json as answer, start};

fn changed(id: &str) -> Told {
    let thread_id = id.into();
    Told::Changed { thread_id }
}

async fn next(listener: &Listener) -> Vec<Told> {
    tokio::time::timeout(DEADLINE, listener.next())
        .await
        .expect("something is told")
}

async fn add(store: &Memory, user: &str, id: &str) {
    let thread = ThreadMetadata {
        id: id.into(),
        ..ThreadMetadata::new(Timestamp::from_micros(0))
    };
    store.add_thread(user, thread).await.unwrap();
}

#[tokio::test]
async fn each_listener_is_told_of_its_user_s_threads_only() {
    let store = Arc::new(Memory::default());
    add(&store, "ada", "before").await;
    let feed = Feed::new(Arc::clone(&store) as Arc<dyn Store>);
    let ada = [feed.listen("ada").unwrap(), feed.listen("ada").unwrap()];
    let bob = feed.listen("bob").unwrap();
    for listener in ada.iter().chain([&bob]) {
        assert_eq!(next(listener).await, [Told::Ready]);
    }
    add(&store, "ada", "t1").await;
    for listener in &ada {
        assert_eq!(next(listener).await, [changed("t1")]);
    }
    store.delete_thread("ada", &"t1".into()).await.unwrap();
    let deleted = Told::Deleted {
        thread_id: "t1".into(),
    };
    for listener in &ada {
        assert_eq!(next(listener).await, std::slice::from_ref(&deleted));
    }
    // Whatever went to Ada before would have come first.
    add(&store, "bob", "b1").await;
    assert_eq!(next(&bob).await, [changed("b1")]);
}

#[tokio::test]
async fn one_who_comes_later_is_ready_at_once_and_the_last_ends_the_watch() {
    let store = Arc::new(Memory::default());
    let feed = Feed::new(Arc::clone(&store) as Arc<dyn Store>);
    let first = feed.listen("ada").unwrap();
    assert_eq!(next(&first).await, [Told::Ready]);
    let second = feed.listen("ada").unwrap();
    assert_eq!(next(&second).await, [Told::Ready]);
    drop(first);
    add(&store, "ada", "t1").await;
    assert_eq!(next(&second).await, [changed("t1")]);
    drop(second);
    // The watch has nobody to tell, and lets the store go.
    tokio::time::timeout(DEADLINE, async {
        while Arc::strong_count(&store) > 2 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("the watch ends");
    let third = feed.listen("ada").unwrap();
    assert_eq!(next(&third).await, [Told::Ready]);
    add(&store, "ada", "t2").await;
    assert_eq!(next(&third).await, [changed("t2")]);
}

#[tokio::test(start_paused = true)]
async fn a_burst_is_told_once_for_each_thread() {
    let store = Arc::new(Memory::default());
    let feed = Feed::new(Arc::clone(&store) as Arc<dyn Store>);
    let listener = feed.listen("ada").unwrap();
    assert_eq!(next(&listener).await, [Told::Ready]);
    add(&store, "ada", "t1").await;
    assert_eq!(next(&listener).await, [changed("t1")]);
    let rename = |thread: &mut ThreadMetadata| thread.title = Some("x".to_owned());
    for round in 0..100 {
        store
            .update_thread("ada", &"t1".into(), &rename)
            .await
            .unwrap();
        if round == 50 {
            tokio::task::yield_now().await;
        }
    }
    add(&store, "ada", "t2").await;
    let mut told = next(&listener).await;
    told.sort_by_key(|event| format!("{event:?}"));
    assert_eq!(told, [changed("t1"), changed("t2")]);
}

#[tokio::test(start_paused = true)]
async fn one_who_does_not_read_is_told_that_everything_may_have_changed() {
    let store = Arc::new(Memory::default());
    let feed = Feed::new(Arc::clone(&store) as Arc<dyn Store>);
    let [slow, fast] = [feed.listen("ada").unwrap(), feed.listen("ada").unwrap()];
    assert_eq!(next(&slow).await, [Told::Ready]);
    assert_eq!(next(&fast).await, [Told::Ready]);
    // Of many threads, since a store in memory has a thousand of one user's at most.
    for round in 0..3 {
        let ids: Vec<_> = (0..500)
            .map(|number| format!("t{round}-{number}"))
            .collect();
        for id in &ids {
            add(&store, "ada", id).await;
        }
        let mut told = Vec::new();
        while told.len() < ids.len() {
            told.extend(next(&fast).await);
        }
        assert_eq!(told.len(), ids.len());
        for id in &ids {
            store
                .delete_thread("ada", &id.as_str().into())
                .await
                .unwrap();
        }
        let mut told = 0;
        while told < ids.len() {
            told += next(&fast).await.len();
        }
    }
    let told = next(&slow).await;
    assert_eq!(told[0], Told::Ready, "it is told to look itself");
    assert!(told.len() <= 1_025);
}

#[tokio::test]
async fn too_many_listeners_are_refused_and_one_that_leaves_makes_room() {
    let feed = Feed::new(Arc::new(Memory::default()));
    let mut listeners: Vec<_> = (0..256).map(|_| feed.listen("ada").unwrap()).collect();
    let refused = feed.listen("bob").err().expect("there are too many");
    assert_eq!(refused.status(), 503);
    listeners.pop();
    assert!(feed.listen("bob").is_ok());
}

#[tokio::test]
async fn the_route_tells_of_what_the_other_route_does_and_of_its_end() {
    let module = start(json!({"provider": "echo"})).await;
    let request = http::Request::get("/changes").body(Body::empty()).unwrap();
    let response = module.call(Some(ada()), request).await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut body = response.into_body().into_data_stream();
    let mut next = async || {
        let next = futures_util::StreamExt::next(&mut body);
        let frame = tokio::time::timeout(DEADLINE, next)
            .await
            .expect("an event comes");
        frame.map(|frame| {
            let text = String::from_utf8(frame.unwrap().to_vec()).unwrap();
            let event = text.strip_prefix("data: ").expect("one data line");
            serde_json::from_str::<Value>(event).unwrap()
        })
    };
    assert_eq!(next().await, Some(json!({"type": "ready"})));
    // Another user's first: what is not Ada's does not come.
    let bob = midplane_sdk::testing::session("bob");
    drop(call(&module, bob, create("hello")).await);
    let created = call(&module, ada(), create("hello")).await;
    let event = next().await.unwrap();
    drop(created);
    assert_eq!(event["type"], "thread.changed");
    let list = json!({"type": "threads.list", "params": {}});
    let threads = answer(&module, ada(), list).await;
    assert_eq!(event["thread_id"], threads["data"][0]["id"]);
    module.drain();
    let last = loop {
        let event = next().await.expect("the last event comes");
        if event["type"] != "thread.changed" {
            break event;
        }
    };
    assert_eq!(last, json!({"type": "drained"}));
    assert_eq!(next().await, None);
}
