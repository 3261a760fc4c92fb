//! Hides the provider's key in what a provider says: byte for byte, so that lengths stay.
//!
//! A provider may repeat the key it was sent, in an error or in an answer that somebody who only has a client secret asked
//! for. It is looked for as it is and as JSON may write it. What a provider encodes otherwise is not found, which is why
//! the gateway passes on nothing that is compressed.

use std::sync::Mutex;

use bytes::{Bytes, BytesMut};
use futures_util::future::{BoxFuture, FutureExt};
use memchr::memmem;
use midplane_sdk::Session;
use zeroize::Zeroizing;

use crate::credential::{Credential, CredentialError, Key};

/// Shorter keys are what local servers are given for want of a real one (`ollama`, `lm-studio`, `no-key-required`): words that
/// an answer may well hold. OpenAI's have 51 characters and more, those of other providers 32.
const KEY_LEN_MIN: usize = 16;
const COVER: u8 = b'*';

/// A credential that remembers which keys it gave out, for as long as an answer to them may repeat them.
pub(crate) struct Remembered<C> {
    of: C,
    keys: Mutex<Vec<Form>>,
}

/// One way to write a key.
type Form = Zeroizing<Vec<u8>>;

impl<C: Credential> Remembered<C> {
    pub(crate) fn new(of: C) -> Remembered<C> {
        Remembered {
            of,
            keys: Mutex::default(),
        }
    }

    /// Whether the provider was sent a key.
    pub(crate) fn gave_a_key(&self) -> bool {
        let keys = self.keys.lock().expect("no code panics under this lock");
        !keys.is_empty()
    }

    /// For what the provider answered to the keys given out so far.
    pub(crate) fn mask(&self) -> Mask {
        let keys = self.keys.lock().expect("no code panics under this lock");
        Mask::new(keys.iter().map(|key| key.as_slice()))
    }

    fn remember(&self, key: Key) -> Result<Key, CredentialError> {
        let form = Zeroizing::new(key.bare()?.as_bytes().to_vec());
        let mut keys = self.keys.lock().expect("no code panics under this lock");
        keys.push(form);
        drop(keys);
        Ok(key)
    }
}

impl<C: Credential> Credential for Remembered<C> {
    fn current(&self) -> BoxFuture<'_, Result<Key, CredentialError>> {
        async { self.remember(self.of.current().await?) }.boxed()
    }

    fn refreshed(&self) -> BoxFuture<'_, Result<Key, CredentialError>> {
        async { self.remember(self.of.refreshed().await?) }.boxed()
    }

    fn session(&self) -> Option<&Session> {
        self.of.session()
    }
}

/// Hides keys in a body that comes in pieces.
#[derive(Default)]
pub(crate) struct Mask {
    /// Every way to write every key.
    forms: Vec<Form>,
    /// The end of what came, where that may be the beginning of a key.
    held: BytesMut,
}

impl Mask {
    pub(super) fn new<'k>(keys: impl Iterator<Item = &'k [u8]>) -> Mask {
        let mut forms: Vec<Form> = Vec::new();
        for form in keys.filter(|key| key.len() >= KEY_LEN_MIN).flat_map(|key| {
            [
                Zeroizing::new(key.to_vec()),
                json(key, false),
                json(key, true),
            ]
        }) {
            if !forms.contains(&form) {
                forms.push(form);
            }
        }
        Mask {
            forms,
            held: BytesMut::new(),
        }
    }

    pub(crate) fn is_in(&self, bytes: &[u8]) -> bool {
        self.forms
            .iter()
            .any(|form| memmem::find(bytes, form).is_some())
    }

    /// The next bytes that can be passed on, and those held back before. May be empty.
    pub(crate) fn push(&mut self, piece: Bytes) -> Bytes {
        if self.forms.is_empty() {
            return piece;
        }
        let piece = match self.held.is_empty() {
            true => piece,
            false => {
                let mut both = std::mem::take(&mut self.held);
                both.extend_from_slice(&piece);
                both.freeze()
            }
        };
        let mut piece = self.cover(piece);
        let hold = self.forms.iter().map(|form| overlap(&piece, form)).max();
        let held = piece.split_off(piece.len() - hold.unwrap_or(0));
        self.held.extend_from_slice(&held);
        piece
    }

    /// What is held back still, once the body has ended.
    pub(crate) fn finish(&mut self) -> Bytes {
        std::mem::take(&mut self.held).freeze()
    }

    /// A body that is here as a whole.
    pub(crate) fn whole(&self, body: Bytes) -> Bytes {
        self.cover(body)
    }

    fn cover(&self, bytes: Bytes) -> Bytes {
        if !self.is_in(&bytes) {
            return bytes;
        }
        let mut bytes = BytesMut::from(bytes);
        for form in &self.forms {
            let found: Vec<usize> = memmem::find_iter(&bytes, form).collect();
            for at in found {
                bytes[at..at + form.len()].fill(COVER);
            }
        }
        bytes.freeze()
    }
}

/// How many bytes at the end of `bytes` may be the beginning of `form`. Text that ends where a line or an event ends costs one
/// look: keys have no white space.
fn overlap(bytes: &[u8], form: &[u8]) -> usize {
    let most = bytes.len().min(form.len() - 1);
    match bytes.last() {
        Some(last) if form.contains(last) => {}
        _ => return 0,
    }
    (1..=most)
        .rev()
        .find(|len| bytes.ends_with(&form[..*len]))
        .unwrap_or(0)
}

/// As it stands in a JSON string; with slashes escaped, as some writers do (RFC 8259 section 7).
fn json(key: &[u8], escapes_slash: bool) -> Form {
    let mut form = Zeroizing::new(Vec::with_capacity(2 * key.len()));
    for byte in key {
        if matches!(byte, b'"' | b'\\') || (escapes_slash && *byte == b'/') {
            form.push(b'\\');
        }
        form.push(*byte);
    }
    form
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "sk-proj-ssk-proj-0123456789";

    fn masked(mask: &mut Mask, pieces: &[&str]) -> String {
        let mut passed = Vec::new();
        for piece in pieces {
            passed.extend_from_slice(&mask.push(Bytes::copy_from_slice(piece.as_bytes())));
        }
        passed.extend_from_slice(&mask.finish());
        String::from_utf8(passed).unwrap()
    }

    fn of(keys: &[&str]) -> Mask {
        Mask::new(keys.iter().map(|key| key.as_bytes()))
    }

    #[test]
    fn a_key_is_covered_wherever_the_pieces_are_cut() {
        let text = format!("a sk-proj-s {KEY}{KEY}\"sk-proj-ss{KEY} sk-p");
        let stars = "*".repeat(KEY.len());
        let expect = format!("a sk-proj-s {stars}{stars}\"sk-proj-ss{stars} sk-p");
        assert_eq!(masked(&mut of(&[KEY]), &[&text]), expect);
        for first in 0..=text.len() {
            for second in first..=text.len() {
                let pieces = [&text[..first], &text[first..second], &text[second..]];
                assert_eq!(masked(&mut of(&[KEY]), &pieces), expect, "{pieces:?}");
            }
        }
        let bytes: Vec<String> = text.chars().map(String::from).collect();
        let bytes: Vec<&str> = bytes.iter().map(String::as_str).collect();
        assert_eq!(masked(&mut of(&[KEY]), &bytes), expect);
    }

    #[test]
    fn what_cannot_be_a_key_s_beginning_is_not_held_back() {
        let mut mask = of(&[KEY]);
        for piece in ["data: {\"a\":1}\n\n", "k", "sk-proj-x", "0123456789"] {
            assert_eq!(mask.push(Bytes::from(piece)), piece);
        }
        assert_eq!(mask.push(Bytes::from_static(b"to ask")), "to a");
        assert_eq!(mask.push(Bytes::from_static(b" for")), "sk for");
        assert_eq!(mask.finish(), "");
    }

    #[test]
    fn every_key_and_every_way_to_write_it_is_covered() {
        let odd = "sk\"back\\slash/0123456789";
        let mut mask = of(&[KEY, odd]);
        let json = serde_json::to_string(odd).unwrap();
        let slashed = json.replace('/', "\\/");
        let text = format!("{odd} {json} {slashed} {KEY}");
        let covered = masked(&mut mask, &[&text]);
        assert_eq!(covered.len(), text.len());
        assert!(!covered.contains("0123456789"), "{covered}");
        assert!(mask.is_in(json.as_bytes()) && !mask.is_in(b"sk-proj-0123456789"));
    }

    #[test]
    fn words_that_stand_for_a_key_are_left_alone() {
        let mut mask = of(&["ollama", "no-key-required"]);
        assert_eq!(
            masked(&mut mask, &["ollama: no-key-required"]),
            "ollama: no-key-required"
        );
    }
}
