//! What a model reads of a thread, and the title a thread gets: pure functions of its items.

mod item;

use crate::protocol::item::{Item, ItemKind};
use crate::protocol::message::UserMessage;
use crate::provider::Message;

/// Of the newest messages, about 128,000 tokens of English: what today's models take.
const BYTES_MAX: usize = 512 * 1024;
/// A title that fits one line of a side bar.
const TITLE_WORDS_MAX: usize = 8;
const TITLE_CHARS_MAX: usize = 60;

/// The messages of `items`, oldest first, as far back as a model can read; the newest always.
pub(crate) fn messages<'a>(items: impl DoubleEndedIterator<Item = &'a Item>) -> Vec<Message> {
    let mut bytes = 0;
    let newest_first = items
        .rev()
        .flat_map(|item| item::messages(item).into_iter().rev())
        .enumerate()
        .take_while(|(index, message)| {
            bytes += message.text_len();
            *index == 0 || bytes <= BYTES_MAX
        });
    let mut messages: Vec<Message> = newest_first.map(|(_, message)| message).collect();
    messages.reverse();
    messages
}

/// The first words of the first message that has any.
pub(crate) fn title<'a>(mut items: impl Iterator<Item = &'a Item>) -> Option<String> {
    items.find_map(|item| match &item.kind {
        ItemKind::UserMessage(message) => title_of(&text(message)),
        _ => None,
    })
}

fn text(message: &UserMessage) -> String {
    message.content.iter().map(|part| part.text()).collect()
}

fn title_of(text: &str) -> Option<String> {
    let mut title = String::new();
    let mut words = text.split_whitespace().peekable();
    for _ in 0..TITLE_WORDS_MAX {
        let Some(word) = words.peek() else { break };
        let space = usize::from(!title.is_empty());
        if title.chars().count() + space + word.chars().count() > TITLE_CHARS_MAX {
            if title.is_empty() {
                title.extend(word.chars().take(TITLE_CHARS_MAX));
            }
            break;
        }
        if space == 1 {
            title.push(' ');
        }
        title.push_str(word);
        words.next();
    }
    if words.peek().is_some() {
        title.truncate(
            title
                .trim_end_matches(|last: char| last.is_ascii_punctuation())
                .len(),
        );
        title.push('…');
    }
    (!title.is_empty()).then_some(title)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::id::ItemId;
    use crate::protocol::message::{AssistantContent, InferenceOptions, UserContent};
    use crate::protocol::timestamp::Timestamp;

    fn item(kind: ItemKind) -> Item {
        Item {
            id: ItemId::message(),
            thread_id: "thr_1".into(),
            created_at: Timestamp::from_micros(0),
            kind,
        }
    }

    fn user(text: &str, quoted_text: Option<&str>) -> Item {
        item(ItemKind::UserMessage(UserMessage {
            content: vec![UserContent::InputText {
                text: text.to_owned(),
            }],
            attachments: Vec::new(),
            quoted_text: quoted_text.map(str::to_owned),
            inference_options: InferenceOptions::default(),
        }))
    }

    fn assistant(text: &str) -> Item {
        item(ItemKind::AssistantMessage {
            content: vec![AssistantContent::new(text)],
        })
    }

    #[test]
    fn a_title_is_the_first_words() {
        let check = |text: &str, expect: Option<&str>| {
            assert_eq!(title_of(text).as_deref(), expect, "{text:?}")
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
    fn the_title_is_of_the_first_message_with_words() {
        let items = [
            assistant("Welcome"),
            user(" ", None),
            user("first", None),
            user("second", None),
        ];
        assert_eq!(title(items.iter()).as_deref(), Some("first"));
        assert_eq!(title([].iter()), None);
    }

    #[test]
    fn roles_quotes_and_hidden_context_are_told() {
        let hidden = item(ItemKind::SdkHiddenContext {
            content: "stop".to_owned(),
        });
        let items = [
            user("hi", None),
            assistant("hello"),
            hidden,
            user("why?", Some("hello")),
        ];
        let messages = messages(items.iter());
        let hidden = "Hidden context for the agent (not shown to the user):\n<HiddenContext>\nstop\n</HiddenContext>";
        assert_eq!(
            messages,
            [
                Message::user("hi"),
                Message::Assistant("hello".to_owned()),
                Message::user(hidden),
                Message::user("The user is referring to this in particular:\nhello\n\nwhy?"),
            ]
        );
    }

    #[test]
    fn the_oldest_are_forgotten_first_and_the_newest_never() {
        let long = "x".repeat(BYTES_MAX);
        let items = [user("old", None), user(&long, None)];
        assert_eq!(messages(items.iter()).len(), 1);
        let items = [user("old", None), user(&long, None), user("new", None)];
        assert_eq!(messages(items.iter()), [Message::user("new")]);
    }
}
