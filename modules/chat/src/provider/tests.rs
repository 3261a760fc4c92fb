//! Both APIs against a server that answers as it was told: what is asked, and exactly what is made of the answer.

mod faults;
mod network;
mod proxies;
mod secrets;
mod silence;

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::{BoxFuture, FutureExt};
use midplane_sdk::{Session, testing};
use serde_json::{Value, json};

use self::proxies::{HttpProxy, SocksProxy};
use super::{Conversation, Delta, Deltas, Ending, Message, OpenAi, Provider, ProviderError};
use crate::config::Config;
use crate::credential::{Credential, CredentialError, Key};
use crate::tests::provider::{FakeProvider, Reply};
use crate::upstream::Upstream;
use crate::usage::Meter;

/// Longer than anything here takes; a test that waits so long has failed.
const DEADLINE: Duration = Duration::from_secs(10);

const APIS: [&str; 2] = ["responses", "chat_completions"];

/// The key before, and after it was asked for again.
struct Keys(&'static str, &'static str);

impl Credential for Keys {
    fn current(&self) -> BoxFuture<'_, Result<Key, CredentialError>> {
        async { Ok(Key::for_tests(self.0)) }.boxed()
    }

    fn refreshed(&self) -> BoxFuture<'_, Result<Key, CredentialError>> {
        async { Ok(Key::for_tests(self.1)) }.boxed()
    }

    fn session(&self) -> Option<&Session> {
        None
    }
}

/// Asks for an answer with `members` as the module's configuration.
fn ask(members: Value) -> Deltas {
    ask_keyed(members, "sk-old")
}

fn ask_keyed(members: Value, key: &'static str) -> Deltas {
    let config: Config = serde_json::from_value(members).unwrap();
    let settings = config.check().unwrap();
    let upstream = Upstream::new(settings.upstream).unwrap();
    let openai = OpenAi::new(settings.openai, upstream, Meter::new(&testing::metrics()));
    let conversation = Conversation {
        messages: vec![Message::user("hi")],
        ..Conversation::default()
    };
    openai.answer(conversation, Arc::new(Keys(key, "sk-new")))
}

fn config(provider: &FakeProvider, api: &str, more: Value) -> Value {
    let mut members =
        json!({"base_url": provider.base_url(), "api": api, "model": "tiny", "retries": 0});
    let more = more.as_object().unwrap().clone();
    members.as_object_mut().unwrap().extend(more);
    members
}

/// The text of what was said, how it ended, and how many requests that took.
async fn outcome(
    replies: Vec<Reply>,
    api: &str,
    more: Value,
) -> (String, Result<Ending, ProviderError>, usize) {
    let provider = FakeProvider::start(replies).await;
    let (said, end) = read(ask(config(&provider, api, more))).await;
    (said, end, provider.requests().len())
}

async fn read(deltas: Deltas) -> (String, Result<Ending, ProviderError>) {
    let deltas: Vec<_> = tokio::time::timeout(DEADLINE, deltas.collect())
        .await
        .expect("the answer ends");
    let mut said = String::new();
    for delta in deltas {
        match delta {
            Ok(Delta::Text(text)) => said.push_str(&text),
            Ok(Delta::Done(ending)) => return (said, Ok(ending)),
            Ok(other) => panic!("{other:?}"),
            Err(error) => return (said, Err(error)),
        }
    }
    panic!("the deltas end without an end, behind {said:?}")
}
