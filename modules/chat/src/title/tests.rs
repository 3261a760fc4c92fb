//! Titles of words, and of models that say what the test says.

use futures_util::stream;
use tokio::sync::Notify;

use super::*;
use crate::credential::{Credential, CredentialError, Key};
use crate::protocol::id::ItemId;
use crate::protocol::message::{AssistantContent, InferenceOptions, UserContent, UserMessage};
use crate::protocol::timestamp::Timestamp;
use crate::provider::{Deltas, Ending, ProviderError};
use crate::store::Memory;

type Said = Vec<Result<Delta, ProviderError>>;

/// Says this, and then nothing for ever.
struct Says(Said);

struct NoKey;

impl Provider for Says {
    fn answer(&self, conversation: Conversation, _credential: Arc<dyn Credential>) -> Deltas {
        assert_eq!(conversation.instructions.as_deref(), Some(INSTRUCTIONS));
        let [Message::User(parts)] = conversation.messages.as_slice() else {
            panic!("one message: {:?}", conversation.messages);
        };
        let told = format!("{parts:?}");
        assert!(
            told.contains("How do I leave vim?") && told.contains("By :q"),
            "{told}"
        );
        stream::iter(self.0.clone())
            .chain(stream::pending())
            .boxed()
    }
}

impl Credential for NoKey {
    fn current(&self) -> futures_util::future::BoxFuture<'_, Result<Key, CredentialError>> {
        Box::pin(async { Err(CredentialError::Unusable) })
    }

    fn refreshed(&self) -> futures_util::future::BoxFuture<'_, Result<Key, CredentialError>> {
        self.current()
    }

    fn session(&self) -> Option<&midplane_sdk::Session> {
        None
    }
}

fn user(text: &str) -> ItemKind {
    ItemKind::UserMessage(UserMessage {
        content: vec![UserContent::InputText {
            text: text.to_owned(),
        }],
        attachments: Vec::new(),
        quoted_text: None,
        inference_options: InferenceOptions::default(),
    })
}

fn assistant(text: &str) -> ItemKind {
    ItemKind::AssistantMessage {
        content: vec![AssistantContent::new(text)],
    }
}

fn item(kind: ItemKind) -> Item {
    Item {
        id: ItemId::message(),
        thread_id: "thr_1".into(),
        created_at: Timestamp::from_micros(0),
        cost: None,
        kind,
    }
}

/// A thread with an exchange in it.
async fn stage() -> (Memory, ThreadId, Vec<Item>) {
    let store = Memory::default();
    let thread = ThreadMetadata::new(Timestamp::from_micros(0));
    store.add_thread("ada", thread.clone()).await.unwrap();
    let mut items = vec![item(user("How do I leave vim?")), item(assistant("By :q"))];
    for item in &mut items {
        item.thread_id = thread.id.clone();
        store.add_item("ada", item.clone()).await.unwrap();
    }
    (store, thread.id, items)
}

async fn title(titles: Titles, said: Said) -> Option<String> {
    let (store, thread, items) = stage().await;
    let asked = || {
        Some(Asked {
            provider: Arc::new(Says(said)),
            credential: Arc::new(NoKey),
            model: None,
        })
    };
    let titling = Titling::of(titles, items.iter(), asked)?;
    let titled = titling.give(&store, "ada", &thread).await.unwrap();
    assert_eq!(store.thread("ada", &thread).await.unwrap(), titled);
    titled.title
}

fn text(text: &str) -> Result<Delta, ProviderError> {
    Ok(Delta::Text(text.to_owned()))
}

const DONE: Result<Delta, ProviderError> = Ok(Delta::Done(Ending::Complete));
const WORDS: Option<&str> = Some("How do I leave vim?");

#[tokio::test(start_paused = true)]
async fn a_model_names_the_thread_and_whatever_it_does_wrong_the_words_do() {
    let check = async |said: Said, expect: Option<&str>| {
        let told = title(Titles::Model, said.clone()).await;
        assert_eq!(told.as_deref(), expect, "{said:?}");
    };
    check(
        vec![text("Leaving "), text("vim"), DONE],
        Some("Leaving vim"),
    )
    .await;
    let thought = Ok(Delta::Thought {
        part: 0,
        text: "Hm".to_owned(),
    });
    check(
        vec![thought, text("\n\"Leaving vim.\"\n"), DONE],
        Some("Leaving vim"),
    )
    .await;
    check(
        vec![text(&"endless ".repeat(40))],
        Some("endless endless endless endless endless endless…"),
    )
    .await;
    check(vec![DONE], WORDS).await;
    check(vec![text(" \n"), DONE], WORDS).await;
    check(vec![Err(ProviderError::Unavailable(500))], WORDS).await;
    check(vec![text("Half"), Err(ProviderError::BrokenOff)], WORDS).await;
    check(vec![Ok(Delta::Refusal("No.".to_owned())), DONE], WORDS).await;
    // Says nothing, or not the end: that has its time.
    let start = tokio::time::Instant::now();
    check(vec![], WORDS).await;
    check(vec![text("Half")], WORDS).await;
    assert_eq!(start.elapsed(), 2 * MODEL_TIME_MAX);
}

#[tokio::test]
async fn a_model_is_asked_only_where_it_is_to_be() {
    let never = vec![Err(ProviderError::Empty)];
    assert_eq!(title(Titles::Words, never.clone()).await.as_deref(), WORDS);
    assert_eq!(title(Titles::None, never).await, None);
    let (store, thread, items) = stage().await;
    let titling = Titling::of(Titles::Model, items.iter(), || None).unwrap();
    let titled = titling.give(&store, "ada", &thread).await.unwrap();
    assert_eq!(titled.title.as_deref(), WORDS);
}

/// Waits, before it answers, until it is told to.
struct Waits {
    asked: Arc<Notify>,
    answer: Arc<Notify>,
}

impl Provider for Waits {
    fn answer(&self, _conversation: Conversation, _credential: Arc<dyn Credential>) -> Deltas {
        let (asked, answer) = (Arc::clone(&self.asked), Arc::clone(&self.answer));
        let said = stream::once(async move {
            asked.notify_one();
            answer.notified().await;
            text("The model's")
        });
        said.chain(stream::iter([DONE])).boxed()
    }
}

#[tokio::test]
async fn a_title_that_the_user_gives_meanwhile_stays() {
    let (store, thread, items) = stage().await;
    let (asked, answer) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let provider = Waits {
        asked: Arc::clone(&asked),
        answer: Arc::clone(&answer),
    };
    let ask = || {
        Some(Asked {
            provider: Arc::new(provider),
            credential: Arc::new(NoKey),
            model: None,
        })
    };
    let titling = Titling::of(Titles::Model, items.iter(), ask).unwrap();
    let rename = async {
        asked.notified().await;
        let change = |thread: &mut ThreadMetadata| thread.title = Some("Theirs".to_owned());
        store.update_thread("ada", &thread, &change).await.unwrap();
        answer.notify_one();
    };
    let (titled, ()) = tokio::join!(titling.give(&store, "ada", &thread), rename);
    assert_eq!(titled, None);
    let title = store.thread("ada", &thread).await.unwrap().title;
    assert_eq!(title.as_deref(), Some("Theirs"));
}

#[tokio::test]
async fn a_thread_that_is_gone_gets_none() {
    let (store, thread, items) = stage().await;
    let titling = Titling::of(Titles::Words, items.iter(), || None).unwrap();
    store.delete_thread("ada", &thread).await.unwrap();
    assert_eq!(titling.give(&store, "ada", &thread).await, None);
}

#[test]
fn the_first_words() {
    let check = |text: &str, expect: Option<&str>| {
        assert_eq!(
            shortened(text, TITLE_WORDS_MAX).as_deref(),
            expect,
            "{text:?}"
        );
    };
    check("", None);
    check(" \n\t", None);
    check("Hello!", Some("Hello!"));
    check("  How   do I\nexit vim? ", Some("How do I exit vim?"));
    check(
        "one two three four five six seven eight",
        Some("one two three four five six seven eight"),
    );
    check(
        "one two three four five six seven eight, nine",
        Some("one two three four five six seven eight…"),
    );
    check(&"é".repeat(70), Some(&format!("{}…", "é".repeat(60))));
    check(&format!("short {}", "x".repeat(60)), Some("short…"));
}

#[test]
fn the_words_are_of_the_first_message_that_has_any() {
    let items = [
        item(assistant("Welcome")),
        item(user(" ")),
        item(user("first")),
        item(user("second")),
    ];
    assert_eq!(words_of(items.iter()).as_deref(), Some("first"));
    assert_eq!(words_of([].iter()), None);
}

#[test]
fn what_models_put_around_a_title_goes() {
    let check = |said: &str, expect: Option<&str>| {
        assert_eq!(tidied(said).as_deref(), expect, "{said:?}");
    };
    check("Leaving vim", Some("Leaving vim"));
    check(
        "\n\n  \"Leaving vim\"  \nBecause you asked.",
        Some("Leaving vim"),
    );
    check("# Leaving vim", Some("Leaving vim"));
    check("**Leaving vim.**", Some("Leaving vim"));
    check("Title: Leaving vim", Some("Leaving vim"));
    check("vim: how to leave", Some("vim: how to leave"));
    check("„vim verlassen“", Some("vim verlassen"));
    check("a\u{1b}[31mb", Some("a[31mb"));
    check(
        "one two three four five six seven",
        Some("one two three four five six…"),
    );
    check("", None);
    check("\"\"", None);
    check("***", None);
}

#[test]
fn a_long_exchange_is_told_in_its_beginning() {
    let long = "ü".repeat(5_000);
    let told = exchange(&[item(user(&long)), item(assistant(&long))]).unwrap();
    assert!(told.len() < 2 * EXCERPT_BYTES_MAX + 100);
    assert_eq!(exchange(&[item(user(" ")), item(assistant("x"))]), None);
    let alone = exchange(&[item(user("hi"))]).unwrap();
    assert_eq!(alone, "<user>\nhi\n</user>\n<assistant>\n\n</assistant>");
}
