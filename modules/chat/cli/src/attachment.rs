//! Files that go with a message: named to the chat module, and then sent where it says (ChatKit's two-phase upload).
//!
//! What may be attached, and how large, is the chat module's to say.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use serde::Deserialize;
use serde_json::json;

use crate::failure::Failure;
use crate::server::Server;
use crate::task::Source;

/// What tells the kind of a file: the longest of these marks is 12 bytes, and text shows itself within a page.
const HEAD_LEN: usize = 4096;
/// Below it stands all that a session of the chat module may reach.
const ROUTES: &str = "/api/chat/";
const TEXT: &str = "text/plain";

/// A file that the chat module has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attachment {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) bytes: usize,
}

/// Gives the chat module the file.
pub(crate) async fn attach(source: &Source, server: &mut Server) -> Result<Attachment, Failure> {
    let (name, bytes) = read(source)?;
    let media_type = media_type(&name, &bytes[..bytes.len().min(HEAD_LEN)]);
    let request = json!({
        "type": "attachments.create",
        "params": {"name": name, "size": bytes.len(), "mime_type": media_type},
    });
    let created: Created = server.ask(&request).await?;
    let len = bytes.len();
    if let Some(upload) = created.upload_descriptor {
        let method = upload.method.parse().unwrap_or(Method::PUT);
        let path =
            own_path(&upload.url).ok_or_else(|| Failure::UploadElsewhere(upload.url.clone()))?;
        let headers = headers(&upload.headers, media_type);
        server.upload(method, &path, headers, bytes).await?;
    }
    Ok(Attachment {
        id: created.id,
        name,
        bytes: len,
    })
}

/// The file's name and bytes.
fn read(source: &Source) -> Result<(String, Bytes), Failure> {
    match source {
        Source::Piped(bytes) => Ok(("stdin".to_owned(), Bytes::from(bytes.clone()))),
        Source::File(path) => {
            let unreadable = |source| Failure::Attachment {
                path: path.clone(),
                source,
            };
            let bytes = read_file(path).map_err(unreadable)?;
            let name = path.file_name().unwrap_or(path.as_os_str());
            Ok((name.to_string_lossy().into_owned(), bytes))
        }
    }
}

fn read_file(path: &Path) -> io::Result<Bytes> {
    let file = File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    let mut bytes = Vec::new();
    let max = crate::task::PIPED_FILE_BYTES_MAX;
    file.take(max as u64 + 1).read_to_end(&mut bytes)?;
    match bytes.len() > max {
        true => Err(io::Error::other(format!("it has more than {max} bytes"))),
        false => Ok(Bytes::from(bytes)),
    }
}

#[derive(Deserialize)]
struct Created {
    id: String,
    upload_descriptor: Option<Upload>,
}

#[derive(Deserialize)]
struct Upload {
    url: String,
    method: String,
    #[serde(default)]
    headers: std::collections::BTreeMap<String, String>,
}

/// The path of an address that is on this kernel's socket; nothing is sent anywhere else.
fn own_path(url: &str) -> Option<String> {
    let uri: Uri = url.parse().ok()?;
    let is_here = uri.host().is_none_or(|host| host == "localhost");
    let path = uri.path_and_query()?.as_str();
    // A path with a dot segment would leave the place that it begins in.
    let is_plain = !path
        .split(['/', '?'])
        .any(|segment| matches!(segment, "." | ".."));
    (is_here && is_plain && path.starts_with(ROUTES)).then(|| path.to_owned())
}

fn headers(
    asked: &std::collections::BTreeMap<String, String>,
    media_type: &'static str,
) -> HeaderMap {
    let asked = asked.iter().filter_map(|(name, value)| {
        Some((
            HeaderName::try_from(name).ok()?,
            HeaderValue::try_from(value).ok()?,
        ))
    });
    let mut headers: HeaderMap = asked.collect();
    headers
        .entry(CONTENT_TYPE)
        .or_insert(HeaderValue::from_static(media_type));
    headers
}

/// What the file is: by its first bytes, and for text by its name, which says what it is about.
fn media_type(name: &str, head: &[u8]) -> &'static str {
    const MARKS: &[(&[u8], &str)] = &[
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"\xff\xd8\xff", "image/jpeg"),
        (b"GIF8", "image/gif"),
        (b"%PDF-", "application/pdf"),
        (b"PK\x03\x04", "application/zip"),
        (b"ID3", "audio/mpeg"),
    ];
    let marked = MARKS.iter().find(|(mark, _)| head.starts_with(mark));
    if let Some((_, media_type)) = marked {
        return media_type;
    }
    match (head.get(..4), head.get(8..12)) {
        (Some(b"RIFF"), Some(b"WEBP")) => return "image/webp",
        (Some(b"RIFF"), Some(b"WAVE")) => return "audio/wav",
        _ => {}
    }
    // The head may end within a character.
    let is_text = match std::str::from_utf8(head) {
        Ok(text) => !text.contains('\0'),
        Err(error) => error.error_len().is_none() && !head.contains(&0),
    };
    if !is_text {
        return "application/octet-stream";
    }
    let extension = name
        .rsplit_once('.')
        .map(|(_, extension)| extension.to_ascii_lowercase());
    match extension.as_deref() {
        Some("md" | "markdown") => "text/markdown",
        Some("json") => "application/json",
        Some("csv") => "text/csv",
        Some("html" | "htm") => "text/html",
        Some("svg") => "image/svg+xml",
        _ => TEXT,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_what_its_bytes_say() {
        for (name, head, expected) in [
            ("a.png", &b"\x89PNG\r\n\x1a\n123"[..], "image/png"),
            ("no-picture.png", b"just text", "text/plain"),
            ("photo", b"\xff\xd8\xff\xe0", "image/jpeg"),
            ("a.webp", b"RIFF\0\0\0\0WEBPVP8 ", "image/webp"),
            ("a.wav", b"RIFF\0\0\0\0WAVEfmt ", "audio/wav"),
            ("a.gif", b"GIF89a", "image/gif"),
            ("a.pdf", b"%PDF-1.7", "application/pdf"),
            ("main.rs", b"fn main() {}", "text/plain"),
            ("main.ts", b"let a: string", "text/plain"),
            ("README.MD", b"# Read", "text/markdown"),
            ("a.json", b"{}", "application/json"),
            ("Makefile", b"all:\n\tls", "text/plain"),
            ("empty", b"", "text/plain"),
            ("cut", "aé".as_bytes()[..2].as_ref(), "text/plain"),
            ("latin", b"caf\xe9 ", "application/octet-stream"),
            ("a.txt", b"a\0b", "application/octet-stream"),
        ] {
            assert_eq!(media_type(name, head), expected, "{name}");
        }
    }

    #[test]
    fn files_are_sent_to_the_chat_module_only() {
        for (url, expected) in [
            (
                "/api/chat/attachments/att_1",
                Some("/api/chat/attachments/att_1"),
            ),
            (
                "http://localhost/api/chat/attachments/a?b=c",
                Some("/api/chat/attachments/a?b=c"),
            ),
            ("https://files.example/api/chat/attachments/a", None),
            ("//files.example/api/chat/attachments/a", None),
            ("/sessions", None),
            ("/api/chat/../../sessions", None),
            ("/api/store/x", None),
            ("attachments/a", None),
            ("", None),
        ] {
            assert_eq!(own_path(url).as_deref(), expected, "{url}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let directory = tempfile::tempdir().expect("a directory");
        for (path, said) in [
            (directory.path().join("none.txt"), "none.txt: No such file"),
            (directory.path().to_owned(), "it is no file"),
        ] {
            let failure = read(&Source::File(path)).expect_err("there is nothing");
            assert!(failure.to_string().contains(said), "{failure}");
        }
        let path = directory.path().join("a.txt");
        std::fs::write(&path, "tea").expect("written");
        let (name, bytes) = read(&Source::File(path)).expect("there is one");
        assert_eq!((name.as_str(), &bytes[..]), ("a.txt", &b"tea"[..]));
    }
}
