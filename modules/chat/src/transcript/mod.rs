//! What a model reads of a thread: a pure function of its items and of what is attached to them.

mod item;

use crate::attachments::Contents;
use crate::protocol::item::Item;
use crate::provider::Message;

/// Of the newest messages, about 128,000 tokens of English: what today's models take.
const BYTES_MAX: usize = 512 * 1024;

/// The messages of `items`, oldest first, as far back as a model can read; the newest always.
pub(crate) fn messages<'a>(
    items: impl DoubleEndedIterator<Item = &'a Item>,
    attached: &Contents,
) -> Vec<Message> {
    let mut bytes = 0;
    let newest_first = items
        .rev()
        .flat_map(|item| item::messages(item, attached).into_iter().rev())
        .enumerate()
        .take_while(|(index, message)| {
            bytes += message.text_len();
            *index == 0 || bytes <= BYTES_MAX
        });
    let mut messages: Vec<Message> = newest_first.map(|(_, message)| message).collect();
    messages.reverse();
    messages
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::id::ItemId;
    use crate::protocol::item::ItemKind;
    use crate::protocol::message::{AssistantContent, InferenceOptions, UserContent, UserMessage};
    use crate::protocol::timestamp::Timestamp;

    fn item(kind: ItemKind) -> Item {
        Item {
            id: ItemId::message(),
            thread_id: "thr_1".into(),
            created_at: Timestamp::from_micros(0),
            cost: None,
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
        let messages = messages(items.iter(), &Contents::default());
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
        assert_eq!(messages(items.iter(), &Contents::default()).len(), 1);
        let items = [user("old", None), user(&long, None), user("new", None)];
        assert_eq!(
            messages(items.iter(), &Contents::default()),
            [Message::user("new")]
        );
    }
}
