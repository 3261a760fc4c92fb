//! Answers with the user's own words, word by word, without network or key.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt};

use super::{Conversation, Delta, Deltas, Ending, Message, Part, Provider};
use crate::credential::Credential;
use crate::protocol::event::{Notice, NoticeLevel};

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Echo {
    /// Between words, for looking at a stream as a model would send it.
    pub(crate) delay: Duration,
}

impl Provider for Echo {
    fn answer(&self, conversation: Conversation, _credential: Arc<dyn Credential>) -> Deltas {
        let delay = self.delay;
        let mut messages = conversation.messages.into_iter().rev();
        let said = messages.find_map(|message| match message {
            Message::User(parts) => Some(parts.into_iter().filter_map(text).collect()),
            _ => None,
        });
        let words = words(&said.unwrap_or_else(String::new));
        stream::iter(words)
            .then(move |word| async move {
                if !delay.is_zero() {
                    tokio::time::sleep(delay).await;
                }
                Ok(Delta::Text(word))
            })
            .chain(stream::once(async { Ok(Delta::Done(Ending::Complete)) }))
            .boxed()
    }

    fn notice(&self) -> Option<Notice> {
        Some(Notice {
            level: NoticeLevel::Info,
            title: Some("Echo".to_owned()),
            message: "No model answers here: the echo repeats your words. Give the session an API key, or configure \
                      `provider = \"openai\"`, to talk to a model."
                .to_owned(),
        })
    }
}

fn text(part: Part) -> Option<String> {
    match part {
        Part::Text(text) => Some(text),
        Part::Image { .. } | Part::File { .. } => None,
    }
}

/// Splits behind white space, so that the words joined are the text again.
fn words(text: &str) -> Vec<String> {
    text.split_inclusive(char::is_whitespace)
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_keep_the_space_between_them() {
        let check = |text: &str, expect: &[&str]| {
            assert_eq!(words(text), expect);
            assert_eq!(words(text).concat(), text);
        };
        check("", &[]);
        check("one", &["one"]);
        check("one two\nthree ", &["one ", "two\n", "three "]);
        check("é  ü", &["é ", " ", "ü"]);
    }
}
