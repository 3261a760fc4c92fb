//! What a model reads of a thread: a pure function of its items and of what is attached to them.

use crate::attachments::Contents;
use crate::protocol::item::{Item, ItemKind};
use crate::protocol::message::UserMessage;
use crate::provider::{Message, Part};

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
        .filter_map(|item| message(item, attached))
        .enumerate()
        .take_while(|(index, message)| {
            bytes += message.text_len();
            *index == 0 || bytes <= BYTES_MAX
        });
    let mut messages: Vec<Message> = newest_first.map(|(_, message)| message).collect();
    messages.reverse();
    messages
}

fn message(item: &Item, attached: &Contents) -> Option<Message> {
    Some(match &item.kind {
        ItemKind::UserMessage(message) => {
            let (text, attached) = (quoted(message) + &message.text(), attached.of(&item.id));
            // Providers refuse a part without words; without any part there is no message.
            let text = (!text.is_empty() || attached.is_empty()).then_some(Part::Text(text));
            Message::User(text.into_iter().chain(attached.iter().cloned()).collect())
        }
        ItemKind::AssistantMessage { content } => {
            Message::Assistant(content.iter().map(|part| part.text.as_str()).collect())
        }
        // The reference's words for it (`ThreadItemConverter` in `chatkit/agents.py`), which models are used to.
        ItemKind::SdkHiddenContext { content } => {
            let about = "Hidden context for the agent (not shown to the user):";
            Message::user(format!(
                "{about}\n<HiddenContext>\n{content}\n</HiddenContext>"
            ))
        }
        _ => return None,
    })
}

fn quoted(message: &UserMessage) -> String {
    let quoted = message
        .quoted_text
        .as_deref()
        .filter(|text| !text.trim().is_empty());
    quoted
        .map(|text| format!("The user is referring to this in particular:\n{text}\n\n"))
        .unwrap_or_default()
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
