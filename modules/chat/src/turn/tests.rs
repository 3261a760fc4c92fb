//! A turn against a provider that says what the test says.

use futures_util::future::FutureExt;
use futures_util::stream::StreamExt;
use tokio::sync::{mpsc, oneshot};

use super::*;
use crate::answer::Answer;
use crate::protocol::page::{Order, Scan};
use crate::protocol::thread::ThreadMetadata;
use crate::provider::{Delta, Ending, ProviderError};
use crate::store::Memory;

type Said = Result<Delta, ProviderError>;

struct Stage {
    store: Arc<Memory>,
    thread: ThreadId,
    provider: mpsc::UnboundedSender<Said>,
    drain: oneshot::Sender<()>,
    events: std::pin::Pin<Box<dyn Stream<Item = Event> + Send>>,
}

/// A turn of a thread of its own, behind its opening events.
async fn stage(title: Option<&str>) -> Stage {
    let store = Arc::new(Memory::default());
    let thread = ThreadMetadata::new(Timestamp::from_micros(0));
    store.add_thread("ada", thread.clone()).await.unwrap();
    let (provider, said) = mpsc::unbounded_channel();
    let (drain, drained) = oneshot::channel::<()>();
    let turn = Turn::new(Opening {
        store: store.clone(),
        user: "ada".to_owned(),
        thread: thread.id.clone(),
        events: Vec::new(),
        steps: Vec::new(),
        asked: Asked {
            speaker: Speaker::Model {
                deltas: stream::unfold(
                    said,
                    |mut said| async move { Some((said.recv().await?, said)) },
                )
                .boxed(),
                answer: Box::new(Answer::new(thread.id.clone(), Vec::new(), None)),
            },
            notice: None,
            title: title.map(Titling::words),
        },
        ask_model: None,
        drained: async move {
            if drained.await.is_err() {
                std::future::pending::<()>().await;
            }
        }
        .boxed(),
        saves: Saves::new(),
    });
    let mut events: std::pin::Pin<Box<dyn Stream<Item = Event> + Send>> =
        Box::pin(turn.into_events());
    assert!(matches!(
        events.next().await,
        Some(Event::StreamOptions { .. })
    ));
    Stage {
        store,
        thread: thread.id,
        provider,
        drain,
        events,
    }
}

impl Stage {
    fn say(&self, text: &str) {
        self.provider
            .send(Ok(Delta::Text(text.to_owned())))
            .unwrap();
    }

    async fn skip(&mut self, events: usize) {
        for _ in 0..events {
            self.events.next().await.expect("the turn goes on");
        }
    }

    async fn rest(&mut self) -> Vec<Event> {
        self.events.by_ref().collect().await
    }
}

async fn kept(store: &Memory, thread: &ThreadId) -> Vec<String> {
    let scan = Scan {
        limit: 20,
        order: Order::Asc,
        after: None,
    };
    let items = store.items("ada", thread, scan).await.unwrap().data;
    let told = items.iter().map(|item| match &item.kind {
        ItemKind::AssistantMessage { content } => format!("said {}", content[0].text),
        ItemKind::SdkHiddenContext { .. } => "cancelled".to_owned(),
        other => format!("{other:?}"),
    });
    told.collect()
}

fn error(events: &[Event]) -> (&str, bool) {
    match events.last() {
        Some(Event::Error(error)) => (error.message.as_deref().unwrap(), error.allow_retry),
        other => panic!("no error ends the turn, but {other:?}"),
    }
}

#[tokio::test]
async fn a_complete_answer_is_kept_and_the_thread_gets_its_title() {
    let mut stage = stage(Some("A title")).await;
    stage.say("Hello");
    stage
        .provider
        .send(Ok(Delta::Done(Ending::Complete)))
        .unwrap();
    let events = stage.rest().await;
    let [.., Event::ItemDone { .. }, Event::ThreadUpdated { thread }] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(serde_json::to_value(thread).unwrap()["title"], "A title");
    assert_eq!(kept(&stage.store, &stage.thread).await, ["said Hello"]);
}

#[tokio::test]
async fn a_title_given_meanwhile_stays() {
    let mut stage = stage(Some("Ours")).await;
    stage
        .store
        .update_thread("ada", &stage.thread, &|thread| {
            thread.title = Some("Theirs".to_owned());
        })
        .await
        .unwrap();
    stage.say("Hello");
    stage
        .provider
        .send(Ok(Delta::Done(Ending::Complete)))
        .unwrap();
    assert!(matches!(
        stage.rest().await.last(),
        Some(Event::ItemDone { .. })
    ));
    assert_eq!(
        stage
            .store
            .thread("ada", &stage.thread)
            .await
            .unwrap()
            .title
            .as_deref(),
        Some("Theirs")
    );
}

#[tokio::test]
async fn a_client_that_leaves_stops_the_provider_and_keeps_what_was_said() {
    let mut stage = stage(Some("A title")).await;
    stage.say("Hel");
    stage.say("lo");
    stage.skip(4).await;
    drop(stage.events);
    assert!(
        stage.provider.is_closed(),
        "the provider's stream is dropped with the turn"
    );
    assert_eq!(
        kept(&stage.store, &stage.thread).await,
        ["said Hello", "cancelled"]
    );
    assert_eq!(
        stage
            .store
            .thread("ada", &stage.thread)
            .await
            .unwrap()
            .title,
        None
    );
}

#[tokio::test]
async fn leaving_before_a_word_leaves_the_mark_alone() {
    let stage = stage(None).await;
    drop(stage.events);
    assert_eq!(kept(&stage.store, &stage.thread).await, ["cancelled"]);
}

#[tokio::test]
async fn leaving_behind_the_last_word_cancels_nothing() {
    let mut stage = stage(None).await;
    stage.say("Hello");
    stage
        .provider
        .send(Ok(Delta::Done(Ending::Complete)))
        .unwrap();
    // added, part added, delta, part done: the item is not kept yet
    stage.skip(4).await;
    drop(stage.events);
    assert_eq!(kept(&stage.store, &stage.thread).await, ["said Hello"]);
}

#[tokio::test]
async fn a_failure_is_the_last_event_and_keeps_nothing() {
    for (failure, expect) in [
        (
            Err(ProviderError::Unavailable(503)),
            ("The provider failed (status 503): try again.", true),
        ),
        (
            Err(ProviderError::ConversationTooLong),
            (
                "The conversation is too long for the model: start a new thread.",
                false,
            ),
        ),
    ] {
        let mut stage = stage(Some("A title")).await;
        stage.say("Hel");
        stage.provider.send(failure).unwrap();
        let events = stage.rest().await;
        assert_eq!(error(&events), expect);
        drop(stage.events);
        assert_eq!(
            kept(&stage.store, &stage.thread).await,
            Vec::<String>::new()
        );
    }
}

#[tokio::test]
async fn a_provider_that_falls_silent_broke_off() {
    let mut stage = stage(None).await;
    stage.say("Hel");
    let (nobody, _) = mpsc::unbounded_channel();
    stage.provider = nobody;
    assert_eq!(
        error(&stage.rest().await),
        ("The provider's answer broke off: try again.", true)
    );
}

#[tokio::test]
async fn a_drained_module_ends_the_turn_with_an_error_behind_what_was_said() {
    let mut stage = stage(None).await;
    stage.say("Hel");
    let (drain, _) = oneshot::channel();
    std::mem::replace(&mut stage.drain, drain).send(()).unwrap();
    let events = stage.rest().await;
    assert_eq!(events.len(), 4, "{events:?}");
    assert!(error(&events).1, "the client may retry");
    assert!(stage.provider.is_closed());
}

#[tokio::test]
async fn an_answer_that_cannot_be_kept_is_an_error() {
    let mut stage = stage(None).await;
    stage
        .store
        .delete_thread("ada", &stage.thread)
        .await
        .unwrap();
    stage.say("Hello");
    stage
        .provider
        .send(Ok(Delta::Done(Ending::Complete)))
        .unwrap();
    assert!(error(&stage.rest().await).0.contains("could not be kept"));
}
