//! `PUT`, `GET`, `HEAD` and `DELETE /attachments/{id}`.

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::put;
use http::StatusCode;
use http::header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE,
    HeaderMap, HeaderValue, X_CONTENT_TYPE_OPTIONS,
};
use midplane_sdk::{Problem, Session};
use tokio_util::io::ReaderStream;

use super::Attachments;
use super::kind::Kind;
use crate::protocol::attachment::Attachment;
use crate::protocol::id::AttachmentId;

/// Below the module's prefix.
pub(crate) const PATH: &str = "/attachments/{id}";
/// As much as the kernel takes of an answer at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// An uploaded page is no page of the webview's: it loads nothing, runs nothing and has an origin of its own.
const POLICY: HeaderValue = HeaderValue::from_static("default-src 'none'; sandbox");
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");
/// What a user deletes is nowhere else.
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const BINARY: HeaderValue = HeaderValue::from_static("application/octet-stream");

pub(crate) fn router(attachments: Attachments) -> Router {
    let routes = put(upload)
        .get(download)
        .delete(delete)
        .fallback(no_such_method);
    Router::new().route(PATH, routes).with_state(attachments)
}

async fn upload(
    State(attachments): State<Attachments>,
    session: Session,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<axum::Json<Attachment>, Problem> {
    let uploaded = attachments
        .upload(session.user(), &parse(&id)?, &headers, body)
        .await;
    uploaded
        .map(axum::Json)
        .map_err(|refusal| refusal.problem())
}

/// `HEAD` too: axum leaves the body out.
async fn download(
    State(attachments): State<Attachments>,
    session: Session,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let id = parse(&id)?;
    let (attachment, opened) = attachments
        .open(session.user(), &id)
        .await
        .map_err(|refusal| refusal.problem())?;
    let Some((file, bytes)) = opened else {
        return Err(attachments.not_uploaded(attachment).problem());
    };
    let file = tokio::fs::File::from_std(file);
    let mut response = Response::new(Body::from_stream(ReaderStream::with_capacity(
        file,
        CHUNK_BYTES,
    )));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, content_type(&attachment.mime_type));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(bytes));
    headers.insert(CONTENT_DISPOSITION, disposition(&attachment));
    headers.insert(CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    headers.insert(CACHE_CONTROL, NO_STORE);
    Ok(response)
}

async fn delete(
    State(attachments): State<Attachments>,
    session: Session,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let deleted = attachments.delete(session.user(), &parse(&id)?).await;
    deleted
        .map(|()| StatusCode::NO_CONTENT)
        .map_err(|refusal| refusal.problem())
}

async fn no_such_method() -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "use PUT to upload, GET, HEAD or DELETE here",
    )
}

/// Of an id that nobody can have, as of one that nobody has.
fn parse(id: &str) -> Result<AttachmentId, Problem> {
    AttachmentId::parse(id).map_err(|error| {
        let detail = format!("no such attachment: {error}");
        Problem::new(StatusCode::NOT_FOUND, "attachment_not_found", detail)
    })
}

/// Images as what they were found to be; text as nothing but text, whatever it is the source of.
fn content_type(media_type: &str) -> HeaderValue {
    match Kind::of(media_type) {
        Kind::Text => PLAIN,
        Kind::Image(_) | Kind::Pdf | Kind::Other => {
            HeaderValue::from_str(media_type).unwrap_or(BINARY)
        }
    }
}

/// Only images are for looking at where they are. The name stands as RFC 8187 has it, which any name can.
fn disposition(attachment: &Attachment) -> HeaderValue {
    let kind = match Kind::of(&attachment.mime_type) {
        Kind::Image(_) => "inline",
        Kind::Pdf | Kind::Text | Kind::Other => "attachment",
    };
    let mut text = format!("{kind}; filename*=UTF-8''");
    for byte in attachment.name.bytes() {
        match byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte) {
            true => text.push(char::from(byte)),
            false => text.push_str(&format!("%{byte:02X}")),
        }
    }
    HeaderValue::from_str(&text).expect("visible ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::attachment::AttachmentKind;

    fn attachment(name: &str, mime_type: &str) -> Attachment {
        Attachment {
            id: "atc_1".into(),
            name: name.to_owned(),
            mime_type: mime_type.to_owned(),
            upload_descriptor: None,
            thread_id: None,
            kind: AttachmentKind::File,
        }
    }

    #[test]
    fn only_images_are_shown_and_names_end_nothing() {
        let check = |name: &str, mime_type: &str, expect: &str| {
            assert_eq!(disposition(&attachment(name, mime_type)), expect, "{name}");
        };
        check("cat.png", "image/png", "inline; filename*=UTF-8''cat.png");
        check("a.html", "text/html", "attachment; filename*=UTF-8''a.html");
        check(
            "a.svg",
            "image/svg+xml",
            "attachment; filename*=UTF-8''a.svg",
        );
        check(
            "a.pdf",
            "application/pdf",
            "attachment; filename*=UTF-8''a.pdf",
        );
        check(
            "a\"; é/%",
            "text/plain",
            "attachment; filename*=UTF-8''a%22%3B%20%C3%A9%2F%25",
        );
    }

    #[test]
    fn what_a_browser_would_run_is_plain_text() {
        for source in [
            "text/html",
            "image/svg+xml",
            "application/xhtml+xml",
            "application/javascript",
        ] {
            assert_eq!(
                content_type(source),
                "text/plain; charset=utf-8",
                "{source}"
            );
        }
        assert_eq!(content_type("image/png"), "image/png");
        assert_eq!(content_type("application/pdf"), "application/pdf");
    }
}
