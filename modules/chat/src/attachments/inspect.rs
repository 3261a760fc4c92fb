//! Looks into the bytes of an upload as they come: a `.png` has to be a PNG, and text has to be UTF-8.
//!
//! Pure, and of bounded memory: it keeps the first bytes, and at most one cut character.

use super::kind::{Format, Kind};

/// As many as the longest signature has.
const HEAD_BYTES: usize = 12;

pub(super) struct Inspection {
    kind: Kind,
    head: Vec<u8>,
    /// The beginning of a character that the last chunk cut.
    cut: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Mismatch {
    #[error("the bytes are no {0}: name their own type in `mime_type`")]
    Signature(&'static str),
    #[error("the bytes are no UTF-8 text: save the file as UTF-8, or name its type in `mime_type`")]
    NotText,
}

impl Inspection {
    pub(super) fn new(kind: Kind) -> Inspection {
        Inspection {
            kind,
            head: Vec::with_capacity(HEAD_BYTES),
            cut: Vec::new(),
        }
    }

    pub(super) fn take(&mut self, chunk: &[u8]) -> Result<(), Mismatch> {
        if self.kind == Kind::Text {
            return self.take_text(chunk);
        }
        let wanted = HEAD_BYTES - self.head.len();
        if wanted > 0 {
            self.head
                .extend_from_slice(&chunk[..chunk.len().min(wanted)]);
            if self.head.len() == HEAD_BYTES {
                return self.check_head();
            }
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Result<(), Mismatch> {
        match self.kind {
            Kind::Text if self.cut.is_empty() => Ok(()),
            Kind::Text => Err(Mismatch::NotText),
            _ => self.check_head(),
        }
    }

    fn check_head(&self) -> Result<(), Mismatch> {
        let head = self.head.as_slice();
        let (name, is_so) = match self.kind {
            Kind::Image(Format::Png) => ("PNG", head.starts_with(b"\x89PNG\r\n\x1a\n")),
            Kind::Image(Format::Jpeg) => ("JPEG", head.starts_with(b"\xff\xd8\xff")),
            Kind::Image(Format::Gif) => (
                "GIF",
                head.starts_with(b"GIF87a") || head.starts_with(b"GIF89a"),
            ),
            Kind::Image(Format::Webp) => (
                "WebP",
                head.starts_with(b"RIFF") && head.get(8..12) == Some(b"WEBP"),
            ),
            Kind::Pdf => ("PDF", head.starts_with(b"%PDF-")),
            Kind::Text | Kind::Other => return Ok(()),
        };
        is_so.then_some(()).ok_or(Mismatch::Signature(name))
    }

    fn take_text(&mut self, chunk: &[u8]) -> Result<(), Mismatch> {
        let joined;
        let bytes = match self.cut.is_empty() {
            true => chunk,
            false => {
                joined = [self.cut.as_slice(), chunk].concat();
                joined.as_slice()
            }
        };
        // What has a NUL in it is no text, though it is UTF-8.
        if bytes.contains(&0) {
            return Err(Mismatch::NotText);
        }
        self.cut = match std::str::from_utf8(bytes) {
            Ok(_) => Vec::new(),
            Err(error) if error.error_len().is_none() => bytes[error.valid_up_to()..].to_vec(),
            Err(_) => return Err(Mismatch::NotText),
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";
    const JPEG: &[u8] = b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01";
    const WEBP: &[u8] = b"RIFF\x10\0\0\0WEBPVP8 ";

    fn inspect(kind: Kind, bytes: &[u8], chunk_len: usize) -> Result<(), Mismatch> {
        let mut inspection = Inspection::new(kind);
        for chunk in bytes.chunks(chunk_len) {
            inspection.take(chunk)?;
        }
        inspection.finish()
    }

    #[test]
    fn each_kind_is_what_it_says_and_nothing_else() {
        use Format::{Gif, Jpeg, Png, Webp};
        let samples = [
            (Kind::Image(Png), PNG),
            (Kind::Image(Jpeg), JPEG),
            (Kind::Image(Gif), b"GIF89a\x01\0\x01\0".as_slice()),
            (Kind::Image(Webp), WEBP),
            (Kind::Pdf, b"%PDF-1.7\n".as_slice()),
            (Kind::Text, b"words".as_slice()),
        ];
        for (kind, _) in samples {
            for (other, bytes) in samples {
                // A PDF's and a GIF's beginning are text.
                let is_so =
                    kind == other || kind == Kind::Text && bytes.is_ascii() && !bytes.contains(&0);
                for chunk_len in [1, 5, 64] {
                    assert_eq!(
                        inspect(kind, bytes, chunk_len).is_ok(),
                        is_so,
                        "{other:?} as {kind:?} by {chunk_len}"
                    );
                }
            }
        }
    }

    #[test]
    fn what_is_short_of_its_signature_is_not_it() {
        assert_eq!(
            inspect(Kind::Image(Format::Png), &PNG[..7], 3),
            Err(Mismatch::Signature("PNG"))
        );
        assert_eq!(inspect(Kind::Pdf, b"", 1), Err(Mismatch::Signature("PDF")));
        assert_eq!(
            inspect(Kind::Image(Format::Webp), &WEBP[..8], 8),
            Err(Mismatch::Signature("WebP"))
        );
        assert_eq!(inspect(Kind::Text, b"", 1), Ok(()));
        assert_eq!(inspect(Kind::Other, b"\0\x01", 1), Ok(()));
    }

    #[test]
    fn text_is_utf_8_wherever_the_chunks_are_cut() {
        let text = "Grüße, 世界 🦀\n".repeat(3);
        for chunk_len in 1..20 {
            assert_eq!(
                inspect(Kind::Text, text.as_bytes(), chunk_len),
                Ok(()),
                "{chunk_len}"
            );
        }
        for not_text in [
            b"\xff\xfeh\0i\0".as_slice(), // UTF-16
            b"gr\xfc\xdfe",               // Latin-1
            b"a\0b",
            b"cut \xe4\xb8",
            b"\xed\xa0\x80", // a surrogate
            b"\xc0\xaf",     // overlong
        ] {
            for chunk_len in 1..6 {
                assert_eq!(
                    inspect(Kind::Text, not_text, chunk_len),
                    Err(Mismatch::NotText),
                    "{not_text:?}"
                );
            }
        }
    }
}
