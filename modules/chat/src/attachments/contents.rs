//! What a model is shown of attachments: images and PDFs as they are, text as words with its name.
//!
//! Bounded over all of a conversation, the newest first; of what is left out the model is told that it was there.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;

use super::files::Folder;
use super::kind::Kind;
use super::limits::{SHOWN_BYTES_MAX, SHOWN_TEXT_BYTES_MAX};
use super::{Attachments, blocking};
use crate::protocol::attachment::Attachment;
use crate::protocol::id::{AttachmentId, ItemId};
use crate::protocol::item::{Item, ItemKind};
use crate::provider::Part;

/// What stands for the attachments of each message.
#[derive(Debug, Default)]
pub(crate) struct Contents(HashMap<ItemId, Vec<Part>>);

impl Contents {
    /// Of this message, in its order. Of a message whose attachments were not read, none.
    pub(crate) fn of(&self, item: &ItemId) -> &[Part] {
        self.0.get(item).map_or(&[], Vec::as_slice)
    }
}

impl Attachments {
    /// Reads the attachments of these messages. What cannot be read is told to the model, and never fails a turn.
    pub(crate) async fn contents<'a>(
        &self,
        user: &str,
        newest_first: impl Iterator<Item = &'a Item>,
    ) -> Contents {
        let named: Vec<(ItemId, Vec<Attachment>)> = newest_first
            .filter_map(|item| match &item.kind {
                ItemKind::UserMessage(message) if !message.attachments.is_empty() => {
                    Some((item.id.clone(), message.attachments.clone()))
                }
                _ => None,
            })
            .collect();
        if named.is_empty() {
            return Contents::default();
        }
        let folder = self.folder(user);
        blocking(move || Contents::read(named, &folder)).await
    }
}

impl Contents {
    fn read(newest_first: Vec<(ItemId, Vec<Attachment>)>, folder: &Folder) -> Contents {
        let mut reader = Reader {
            folder,
            room: SHOWN_BYTES_MAX,
            text_room: SHOWN_TEXT_BYTES_MAX,
            shown: HashSet::new(),
        };
        let read = newest_first.into_iter().map(|(item, attachments)| {
            let parts = attachments
                .iter()
                .map(|attachment| reader.part(attachment))
                .collect();
            (item, parts)
        });
        Contents(read.collect())
    }
}

struct Reader<'a> {
    folder: &'a Folder,
    room: u64,
    text_room: u64,
    shown: HashSet<AttachmentId>,
}

impl Reader<'_> {
    fn part(&mut self, attachment: &Attachment) -> Part {
        if !self.shown.insert(attachment.id.clone()) {
            return note(attachment, "is shown with a later message");
        }
        match Kind::of(&attachment.mime_type) {
            Kind::Text => self.text(attachment),
            kind @ (Kind::Image(_) | Kind::Pdf | Kind::Other) => self.file(attachment, kind),
        }
    }

    fn text(&mut self, attachment: &Attachment) -> Part {
        let Some((bytes, whole)) = self.read(attachment, self.text_room) else {
            return note(attachment, "cannot be read any more");
        };
        if bytes.is_empty() && whole > 0 {
            return note(attachment, "is left out, since later ones are long");
        }
        self.text_room -= bytes.len() as u64;
        let is_cut = (bytes.len() as u64) < whole;
        // A character that the cut went through is left out.
        let text = String::from_utf8_lossy(&bytes);
        let text = text.trim_end_matches(char::REPLACEMENT_CHARACTER);
        let cut = match is_cut {
            true => format!("\n[cut here: the file has {whole} bytes]"),
            false => String::new(),
        };
        Part::Text(format!(
            "<attachment name=\"{}\" type=\"{}\">\n{text}{cut}\n</attachment>",
            quoted(&attachment.name),
            attachment.mime_type
        ))
    }

    fn file(&mut self, attachment: &Attachment, kind: Kind) -> Part {
        // One byte more tells one that is too long from one that just fits.
        let Some((bytes, whole)) = self.read(attachment, self.room + 1) else {
            return note(attachment, "cannot be read any more");
        };
        if whole > self.room {
            return note(attachment, "is left out, since later ones are long");
        }
        self.room -= whole;
        let (media_type, data) = (attachment.mime_type.clone(), Bytes::from(bytes));
        match kind {
            Kind::Image(_) => Part::Image { media_type, data },
            Kind::Pdf | Kind::Text | Kind::Other => Part::File {
                name: attachment.name.clone(),
                media_type,
                data,
            },
        }
    }

    fn read(&self, attachment: &Attachment, most: u64) -> Option<(Vec<u8>, u64)> {
        match self.folder.read(&attachment.id, most) {
            Ok(read) => read,
            Err(error) => {
                tracing::warn!(%error, attachment = %attachment.id, "an attachment cannot be read");
                None
            }
        }
    }
}

fn note(attachment: &Attachment, what: &str) -> Part {
    Part::Text(format!(
        "[The attachment \"{}\" {what}.]",
        quoted(&attachment.name)
    ))
}

fn quoted(name: &str) -> String {
    name.replace(['"', '<', '>'], "'")
}
