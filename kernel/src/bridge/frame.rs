//! The base protocol of the Language Server Protocol (version 3.17, "Base Protocol"): a block of header fields, an empty line,
//! and as many bytes of content as `Content-Length` says. Bytes become bodies here, and bodies bytes; nobody's JSON is read.
//!
//! What was read may hold a key: every buffer is wiped when it is let go.

use zeroize::{Zeroize as _, Zeroizing};

/// A block of header fields: `Content-Length` and `Content-Type` with room to spare.
pub const HEADER_LEN_MAX: usize = 4 * 1024;
/// A body: as long as that of a control request over HTTP.
pub const BODY_LEN_MAX: usize = 1024 * 1024;

/// The end of a header block (RFC 9112 section 2.2 has the same).
const END: &[u8] = b"\r\n\r\n";

/// A message's JSON, wiped when dropped.
pub type Frame = Zeroizing<Vec<u8>>;

/// Why the stream cannot be read on: where the next message begins is not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("the header block is longer than {HEADER_LEN_MAX} bytes")]
    HeaderTooLong,
    #[error("the header block is not lines of `Name: value`")]
    Malformed,
    #[error("`Content-Length` is missing, given twice or no number")]
    Length,
    #[error("a message may have up to {BODY_LEN_MAX} bytes, and {0} are announced")]
    TooLong(u64),
    #[error("the content is `{0}`, and only UTF-8 is read")]
    Charset(String),
}

/// Cuts a stream of bytes into messages.
#[derive(Debug, Default)]
pub struct Decoder {
    header: Vec<u8>,
    /// Once its header is whole.
    body: Option<(Frame, usize)>,
}

impl Decoder {
    /// Takes bytes from the front of `bytes` until a message is whole, or all of them.
    ///
    /// # Errors
    ///
    /// The stream cannot be read on; the decoder must not be used again.
    pub fn read(&mut self, bytes: &mut &[u8]) -> Result<Option<Frame>, FrameError> {
        if self.body.is_none() && !self.read_header(bytes)? {
            return Ok(None);
        }
        let Some((body, length)) = &mut self.body else {
            return Ok(None);
        };
        let (taken, rest) = bytes.split_at(bytes.len().min(*length - body.len()));
        body.extend_from_slice(taken);
        *bytes = rest;
        if body.len() < *length {
            return Ok(None);
        }
        Ok(self.body.take().map(|(body, _)| body))
    }

    /// Whether the stream may end here: between two messages.
    pub fn is_between(&self) -> bool {
        self.header.is_empty() && self.body.is_none()
    }

    /// Whether the header is whole.
    fn read_header(&mut self, bytes: &mut &[u8]) -> Result<bool, FrameError> {
        while let Some((first, rest)) = bytes.split_first() {
            if self.header.len() == HEADER_LEN_MAX {
                return Err(FrameError::HeaderTooLong);
            }
            self.header.push(*first);
            *bytes = rest;
            if self.header.ends_with(END) {
                let length = content_length(&self.header[..self.header.len() - END.len()])?;
                self.header.clear();
                // One allocation, so that growing leaves no copy behind.
                self.body = Some((Zeroizing::new(Vec::with_capacity(length)), length));
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Drop for Decoder {
    fn drop(&mut self) {
        // A peer that lost count may have put a body here.
        self.header.zeroize();
    }
}

/// A message with its header.
pub fn encode(body: &[u8]) -> Frame {
    let header = format!("Content-Length: {}\r\n\r\n", body.len());
    let mut frame = Zeroizing::new(Vec::with_capacity(header.len() + body.len()));
    frame.extend_from_slice(header.as_bytes());
    frame.extend_from_slice(body);
    frame
}

fn content_length(header: &[u8]) -> Result<usize, FrameError> {
    let header = std::str::from_utf8(header).map_err(|_| FrameError::Malformed)?;
    let mut length = None;
    for line in header.split("\r\n") {
        let (name, value) = line.split_once(':').ok_or(FrameError::Malformed)?;
        let value = value.trim_matches([' ', '\t']);
        if name.is_empty()
            || line
                .bytes()
                .any(|byte| byte.is_ascii_control() && byte != b'\t')
        {
            return Err(FrameError::Malformed);
        }
        if name.eq_ignore_ascii_case("content-length") {
            let number = value.bytes().all(|byte| byte.is_ascii_digit());
            let number: Option<u64> = number.then(|| value.parse().ok()).flatten();
            if length.is_some() || number.is_none() {
                return Err(FrameError::Length);
            }
            length = number;
        } else if name.eq_ignore_ascii_case("content-type") {
            check_charset(value)?;
        }
    }
    let length = length.ok_or(FrameError::Length)?;
    match usize::try_from(length) {
        Ok(length) if length <= BODY_LEN_MAX => Ok(length),
        _ => Err(FrameError::TooLong(length)),
    }
}

/// `utf8` is what some clients send, and the specification asks to take it.
fn check_charset(content_type: &str) -> Result<(), FrameError> {
    let charset = content_type.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim()
            .eq_ignore_ascii_case("charset")
            .then(|| value.trim())
    });
    match charset {
        Some(other) if !["utf-8", "utf8"].contains(&other.to_ascii_lowercase().as_str()) => {
            Err(FrameError::Charset(other.to_owned()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(mut bytes: &[u8]) -> Result<Vec<String>, FrameError> {
        let mut decoder = Decoder::default();
        let mut frames = Vec::new();
        while !bytes.is_empty() {
            if let Some(frame) = decoder.read(&mut bytes)? {
                frames.push(String::from_utf8(frame.to_vec()).unwrap());
            }
        }
        Ok(frames)
    }

    #[test]
    fn messages_come_out_as_they_went_in_however_they_are_cut() {
        let mut stream = encode(b"{}").to_vec();
        stream.extend_from_slice(
            b"Content-Type: application/vscode-jsonrpc; charset=utf8\r\ncontent-length:\t3\r\n\r\nabc",
        );
        stream.extend_from_slice(&encode(b""));
        stream.extend_from_slice(&encode("ü".as_bytes()));
        let whole = ["{}", "abc", "", "ü"];
        assert_eq!(all(&stream).unwrap(), whole);
        for size in 1..stream.len() {
            let mut decoder = Decoder::default();
            let mut frames = Vec::new();
            for mut piece in stream.chunks(size) {
                loop {
                    let before = piece.len();
                    match decoder.read(&mut piece).unwrap() {
                        Some(frame) => frames.push(String::from_utf8(frame.to_vec()).unwrap()),
                        None if piece.is_empty() || piece.len() == before => break,
                        None => {}
                    }
                }
            }
            assert_eq!(frames, whole, "pieces of {size}");
            assert!(decoder.is_between());
        }
    }

    #[test]
    fn what_is_no_header_ends_the_stream() {
        let check = |stream: &[u8], expect: FrameError| {
            let shown = String::from_utf8_lossy(stream).into_owned();
            assert_eq!(all(stream).unwrap_err(), expect, "{shown:?}");
        };
        check(b"\r\n\r\n", FrameError::Malformed);
        check(b"{}\r\n\r\n", FrameError::Malformed);
        check(b"Content-Length: 2\nX: 1\r\n\r\n{}", FrameError::Malformed);

        check(b": 2\r\n\r\n", FrameError::Malformed);
        check(b"X: \xff\r\n\r\n", FrameError::Malformed);
        check(b"X: 1\r\n\r\n", FrameError::Length);
        for length in ["", "-1", "+1", "0x1", "1 1", "1.0", "99999999999999999999"] {
            check(
                format!("Content-Length: {length}\r\n\r\n").as_bytes(),
                FrameError::Length,
            );
        }
        check(
            b"Content-Length: 1\r\ncontent-length: 1\r\n\r\n1",
            FrameError::Length,
        );
        check(
            format!("Content-Length: {}\r\n\r\n", BODY_LEN_MAX + 1).as_bytes(),
            FrameError::TooLong(BODY_LEN_MAX as u64 + 1),
        );
        check(
            b"Content-Length: 1\r\nContent-Type: x; charset=latin1\r\n\r\n1",
            FrameError::Charset("latin1".to_owned()),
        );
        check(&[b'a'; HEADER_LEN_MAX + 1], FrameError::HeaderTooLong);
    }
}
