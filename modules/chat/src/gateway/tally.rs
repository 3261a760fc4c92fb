//! Finds in an answer that passes by what it cost, and who gave it, without holding the answer.
//!
//! Looks for the members `usage` and `model` wherever they stand, so that one rule serves both APIs, whole and streamed. What a
//! model says cannot be taken for them: a quotation mark in a JSON string has a backslash before it (RFC 8259 section 7).

use bytes::{Bytes, BytesMut};
use memchr::memmem;
use serde::Deserialize;

use crate::provider::Usage;

const MODEL: &[u8] = b"\"model\":";
const USAGE: &[u8] = b"\"usage\":";
/// The longest known has half a kilobyte. What is longer is something else of that name.
const VALUE_BYTES_MAX: usize = 4 * 1024;
/// Names of models are shorter.
const MODEL_BYTES_MAX: usize = 256;

#[derive(Default)]
pub(super) struct Tally {
    /// The end of what passed, where a member may have begun.
    held: BytesMut,
    pub(super) model: Option<String>,
    /// The last one: some servers count on with every piece.
    pub(super) usage: Option<Usage>,
}

/// In either API's words; not every server says all.
#[derive(Deserialize)]
struct Counted {
    #[serde(alias = "prompt_tokens")]
    input_tokens: u64,
    #[serde(alias = "completion_tokens", default)]
    output_tokens: Option<u64>,
    #[serde(alias = "prompt_tokens_details", default)]
    input_tokens_details: Option<OfInput>,
    #[serde(alias = "completion_tokens_details", default)]
    output_tokens_details: Option<OfOutput>,
}

#[derive(Deserialize, Default)]
struct OfInput {
    #[serde(default)]
    cached_tokens: Option<u64>,
}

#[derive(Deserialize, Default)]
struct OfOutput {
    #[serde(default)]
    reasoning_tokens: Option<u64>,
}

impl Tally {
    pub(super) fn push(&mut self, piece: &Bytes) {
        if self.held.is_empty() {
            let rest = self.read(piece);
            self.held.extend_from_slice(&piece[rest..]);
            return;
        }
        let mut both = std::mem::take(&mut self.held);
        both.extend_from_slice(piece);
        let rest = self.read(&both);
        self.held.extend_from_slice(&both[rest..]);
    }

    /// Where what has to be seen again with the next piece begins.
    fn read(&mut self, bytes: &[u8]) -> usize {
        let mut rest = bytes.len();
        if self.model.is_none() {
            rest = self.find_model(bytes).unwrap_or(rest);
        }
        rest.min(self.find_usage(bytes))
    }

    fn find_model(&mut self, bytes: &[u8]) -> Option<usize> {
        for at in memmem::find_iter(bytes, MODEL) {
            match value(&bytes[at + MODEL.len()..], MODEL_BYTES_MAX) {
                Value::Whole(value) => {
                    if let Ok(name) = serde_json::from_slice(value) {
                        self.model = Some(name);
                        return None;
                    }
                }
                Value::Begun => return Some(at),
                Value::Other => {}
            }
        }
        begun(bytes, MODEL)
    }

    fn find_usage(&mut self, bytes: &[u8]) -> usize {
        for at in memmem::find_iter(bytes, USAGE) {
            match value(&bytes[at + USAGE.len()..], VALUE_BYTES_MAX) {
                Value::Whole(value) => {
                    if let Ok(counted) = serde_json::from_slice(value) {
                        self.usage = Some(usage(counted));
                    }
                }
                Value::Begun => return at,
                Value::Other => {}
            }
        }
        begun(bytes, USAGE).unwrap_or(bytes.len())
    }
}

fn usage(counted: Counted) -> Usage {
    let of_input = counted.input_tokens_details.unwrap_or_default();
    let of_output = counted.output_tokens_details.unwrap_or_default();
    Usage {
        input_tokens: counted.input_tokens,
        cached_input_tokens: of_input.cached_tokens.unwrap_or(0),
        output_tokens: counted.output_tokens.unwrap_or(0),
        reasoning_tokens: of_output.reasoning_tokens.unwrap_or(0),
    }
}

enum Value<'b> {
    Whole(&'b [u8]),
    /// The rest is to come.
    Begun,
    /// Neither a string nor an object, or too long.
    Other,
}

/// The string or object that `bytes` begin with.
fn value(bytes: &[u8], len_max: usize) -> Value<'_> {
    let start = bytes.iter().position(|byte| !byte.is_ascii_whitespace());
    let Some(bytes) = start.map(|start| &bytes[start..]) else {
        return Value::Begun;
    };
    if !matches!(bytes[0], b'"' | b'{') {
        return Value::Other;
    }
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for (at, byte) in bytes.iter().take(len_max).enumerate() {
        match (in_string, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (_, b'"') => in_string = !in_string,
            (false, b'{') => depth += 1,
            (false, b'}') => depth -= 1,
            _ => continue,
        }
        if depth == 0 && !in_string {
            return Value::Whole(&bytes[..=at]);
        }
    }
    match bytes.len() < len_max {
        true => Value::Begun,
        false => Value::Other,
    }
}

/// Where `name` begins at the end of `bytes`, cut off.
fn begun(bytes: &[u8], name: &[u8]) -> Option<usize> {
    let most = bytes.len().min(name.len() - 1);
    (1..=most)
        .rev()
        .find(|len| bytes.ends_with(&name[..*len]))
        .map(|len| bytes.len() - len)
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMPLETION: &str = r#"{"id":"chatcmpl-1","model":"tiny-1","choices":[{"message":{"content":"\"usage\":{\"prompt_tokens\":9},\"model\":\"x\""}}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 6, "total_tokens": 9, "prompt_tokens_details": {"cached_tokens": 1, "audio_tokens": null},
        "completion_tokens_details": {"reasoning_tokens": 2}}}"#;
    const RESPONSE: &str = r#"data: {"type":"response.completed","response":{"model":"tiny-1","tools":[{"parameters":{"properties":{"usage":{"type":"string"}}}}],
        "usage":{"input_tokens":3,"input_tokens_details":{"cached_tokens":1},"output_tokens":6,"output_tokens_details":{"reasoning_tokens":2}},"user":null}}"#;

    fn tally(pieces: &[&str]) -> (Option<String>, Option<Usage>) {
        let mut tally = Tally::default();
        for piece in pieces {
            tally.push(&Bytes::copy_from_slice(piece.as_bytes()));
            assert!(tally.held.len() <= VALUE_BYTES_MAX + USAGE.len());
        }
        (tally.model, tally.usage)
    }

    fn expect() -> (Option<String>, Option<Usage>) {
        let usage = Usage {
            input_tokens: 3,
            cached_input_tokens: 1,
            output_tokens: 6,
            reasoning_tokens: 2,
        };
        (Some("tiny-1".to_owned()), Some(usage))
    }

    #[test]
    fn both_apis_are_read_wherever_they_are_cut() {
        for text in [COMPLETION, RESPONSE] {
            assert_eq!(tally(&[text]), expect());
            for at in 0..=text.len() {
                assert_eq!(tally(&[&text[..at], &text[at..]]), expect(), "{at}");
            }
            let bytes: Vec<String> = text.chars().map(String::from).collect();
            let bytes: Vec<&str> = bytes.iter().map(String::as_str).collect();
            assert_eq!(tally(&bytes), expect());
        }
    }

    #[test]
    fn the_last_count_holds_and_none_is_none() {
        let counted = |count| format!("data: {{\"usage\":{{\"prompt_tokens\":{count}}}}}\n\n");
        let usage = tally(&[&counted(1), "data: {\"usage\":null}\n\n", &counted(2)]).1;
        assert_eq!(usage.unwrap().input_tokens, 2);
        for text in [
            "",
            "{\"usage\":{}}",
            "{\"usage\":7}",
            "{\"usage\":{\"prompt_tokens\":-1}}",
            "{\"usage\":{\"prompt_tokens\":1",
            "<html>\"usage\":",
        ] {
            assert_eq!(tally(&[text]), (None, None), "{text}");
        }
    }

    #[test]
    fn what_is_too_long_is_let_go() {
        let long = format!("\"usage\":{{\"a\":\"{}", "x".repeat(VALUE_BYTES_MAX));
        assert_eq!(tally(&[&long, "\"}", COMPLETION]), expect());
        let name = format!("\"model\":\"{}\"", "x".repeat(MODEL_BYTES_MAX));
        assert_eq!(tally(&[&name]), (None, None));
    }
}
