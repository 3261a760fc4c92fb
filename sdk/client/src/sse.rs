//! Reads a stream of server-sent events (WHATWG HTML, section 9.2 "Server-sent events").
//!
//! Turns bytes, cut anywhere, into events. It does no I/O, does not reconnect and knows nothing of
//! what an event's data means.

/// The most bytes one event may hold before it is dispatched. The format sets no bound; without
/// one a server that never sends a blank line would make its reader grow for ever.
pub const MAX_EVENT_BYTES: usize = 8 * 1024 * 1024;

/// One dispatched event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The `event` field, or `message` where the stream names none.
    pub kind: String,
    /// The `data` lines, joined by line feeds.
    pub data: String,
    /// The last `id` seen on the stream, this event's or an earlier one's.
    pub last_event_id: String,
}

/// An event grew past [`MAX_EVENT_BYTES`] before it ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the server sent an event larger than {MAX_EVENT_BYTES} bytes")]
pub struct EventTooLarge;

/// The parser's state between two chunks.
#[derive(Debug, Default)]
pub struct Parser {
    line: Vec<u8>,
    after_cr: bool,
    past_first_line: bool,
    kind: String,
    data: String,
    last_event_id: String,
    retry_ms: Option<u64>,
}

impl Parser {
    /// A parser at the start of a stream.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes and returns the events they complete. An event the stream ends
    /// without a blank line after is never dispatched, as the standard asks.
    ///
    /// # Errors
    /// [`EventTooLarge`]; the stream cannot be read further.
    pub fn push(&mut self, chunk: &[u8]) -> Result<Vec<Event>, EventTooLarge> {
        let mut events = Vec::new();
        for &byte in chunk {
            // The line feed of a CRLF pair ends no second line, even in a later chunk.
            let pair = std::mem::take(&mut self.after_cr) && byte == b'\n';
            match byte {
                _ if pair => {}
                b'\r' | b'\n' => {
                    self.after_cr = byte == b'\r';
                    events.extend(self.end_line());
                }
                _ if self.line.len() + self.data.len() >= MAX_EVENT_BYTES => {
                    return Err(EventTooLarge);
                }
                _ => self.line.push(byte),
            }
        }
        Ok(events)
    }

    /// The reconnection time the stream last asked for.
    #[must_use]
    pub fn retry_ms(&self) -> Option<u64> {
        self.retry_ms
    }

    fn end_line(&mut self) -> Option<Event> {
        let bytes = std::mem::take(&mut self.line);
        let text = String::from_utf8_lossy(&bytes);
        let first = !std::mem::replace(&mut self.past_first_line, true);
        let line = match text.strip_prefix('\u{feff}') {
            Some(rest) if first => rest,
            _ => &text,
        };
        if line.is_empty() {
            return self.dispatch();
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        self.set(field, value.strip_prefix(' ').unwrap_or(value));
        None
    }

    // A comment has the empty name, so it falls to the last arm with every unknown field.
    fn set(&mut self, field: &str, value: &str) {
        match field {
            "event" => value.clone_into(&mut self.kind),
            "data" => {
                self.data.push_str(value);
                self.data.push('\n');
            }
            "id" if !value.contains('\0') => value.clone_into(&mut self.last_event_id),
            "retry" if value.bytes().all(|b| b.is_ascii_digit()) => {
                self.retry_ms = value.parse().ok().or(self.retry_ms);
            }
            _ => {}
        }
    }

    fn dispatch(&mut self) -> Option<Event> {
        let kind = std::mem::take(&mut self.kind);
        let mut data = std::mem::take(&mut self.data);
        // Removes the line feed of the last data line; no data line at all means no event.
        data.pop()?;
        Some(Event {
            kind: if kind.is_empty() {
                "message".to_owned()
            } else {
                kind
            },
            data,
            last_event_id: self.last_event_id.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: &str, data: &str, id: &str) -> Event {
        Event {
            kind: kind.into(),
            data: data.into(),
            last_event_id: id.into(),
        }
    }

    fn parse(chunks: &[&[u8]]) -> Vec<Event> {
        let mut parser = Parser::new();
        chunks
            .iter()
            .flat_map(|chunk| parser.push(chunk).expect("small events"))
            .collect()
    }

    #[test]
    fn reads_what_the_standard_describes() {
        for (input, expected) in [
            ("data: a\n\n", vec![event("message", "a", "")]),
            ("data: a\ndata: b\n\n", vec![event("message", "a\nb", "")]),
            ("data\n\n", vec![event("message", "", "")]),
            ("data\ndata\n\n", vec![event("message", "\n", "")]),
            ("data:  two\n\n", vec![event("message", " two", "")]),
            ("\u{feff}data: bom\n\n", vec![event("message", "bom", "")]),
            (": note\n\ndata: x\n\n", vec![event("message", "x", "")]),
            (
                "event: add\ndata: 1\n\ndata: 2\n\n",
                vec![event("add", "1", ""), event("message", "2", "")],
            ),
            (
                "id: 7\ndata: 1\n\ndata: 2\n\n",
                vec![event("message", "1", "7"), event("message", "2", "7")],
            ),
            ("id: a\0b\ndata: 1\n\n", vec![event("message", "1", "")]),
        ] {
            assert_eq!(parse(&[input.as_bytes()]), expected, "{input:?}");
        }
    }

    #[test]
    fn dispatches_nothing_without_data_or_a_blank_line() {
        for input in [
            "",
            "\n\n",
            "event: x\n\n",
            "data: cut",
            "data: cut\n",
            "Data: a\n\n",
            ": data: a\n\n",
        ] {
            assert_eq!(parse(&[input.as_bytes()]), [], "{input:?}");
        }
    }

    #[test]
    fn reads_the_same_events_wherever_the_bytes_are_cut_and_lines_end() {
        let text = "\u{feff}: hi\nevent: add\nid: 9\ndata: h\u{e9}llo\ndata: \u{1f600}\n\nretry: 20\ndata: z\n\n";
        let expected = [
            event("add", "h\u{e9}llo\n\u{1f600}", "9"),
            event("message", "z", "9"),
        ];
        for end in ["\n", "\r", "\r\n"] {
            let bytes = text.replace('\n', end).into_bytes();
            for at in 0..=bytes.len() {
                let (head, tail) = bytes.split_at(at);
                assert_eq!(parse(&[head, tail]), expected, "{end:?} cut at {at}");
            }
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            assert_eq!(parse(&single), expected, "{end:?} byte by byte");
        }
    }

    #[test]
    fn keeps_the_retry_time_only_when_it_is_a_number() {
        let mut parser = Parser::new();
        for (line, expected) in [
            ("retry: x\n", None),
            ("retry: 30\n", Some(30)),
            ("retry: -1\n", Some(30)),
            ("retry:\n", Some(30)),
        ] {
            parser.push(line.as_bytes()).unwrap();
            assert_eq!(parser.retry_ms(), expected, "{line:?}");
        }
    }

    #[test]
    fn refuses_an_event_that_never_ends() {
        let mut parser = Parser::new();
        assert_eq!(parser.push(&vec![b'x'; MAX_EVENT_BYTES]), Ok(vec![]));
        assert_eq!(parser.push(b"x"), Err(EventTooLarge));
    }
}
