//! The second phase: an upload's bytes into a file, of which nobody sees half.

use std::sync::Arc;

use axum::body::Body;
use futures_util::StreamExt as _;
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use tokio::io::AsyncWriteExt as _;
use tokio::runtime::Handle;

use super::files::{Part, Standing};
use super::inspect::Inspection;
use super::kind::{self, Kind};
use super::limits::UPLOAD_TIME_MAX;
use super::{Attachments, Refusal, Shared, blocking};
use crate::protocol::attachment::Attachment;
use crate::protocol::id::AttachmentId;

impl Attachments {
    /// Takes an attachment's bytes. Dropping the future is the client leaving: what came goes.
    pub(super) async fn upload(
        &self,
        user: &str,
        id: &AttachmentId,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<Attachment, Refusal> {
        self.limits()?;
        let record = self.record(user, id).await?;
        check_type(headers, &record.attachment.mime_type)?;
        let _turn = Turn::take(&self.0, id)?;
        match self.standing(user, id).await? {
            Standing::Wanted => {}
            Standing::Whole => return Err(Refusal::AlreadyUploaded(id.clone())),
            Standing::Absent => return Err(Refusal::NotFound(id.clone())),
        }
        let announced = record.size_bytes;
        check_length(headers, announced)?;
        let (folder, begun) = (self.folder(user), id.clone());
        let (file, part) = blocking(move || folder.begin(&begun))
            .await
            .map_err(Refusal::disk("made"))?;
        let part = OnItsWay::new(part);
        let mut file = tokio::fs::File::from_std(file);
        let inspection = Inspection::new(Kind::of(&record.attachment.mime_type));
        tokio::time::timeout(
            UPLOAD_TIME_MAX,
            write(body, &mut file, announced, inspection),
        )
        .await
        .map_err(|_| Refusal::Slow)??;
        let file = file.into_std().await;
        let part = part.arrived();
        match blocking(move || part.finish(&file)).await {
            Ok(true) => Ok(record.attachment),
            Ok(false) => Err(Refusal::Unwanted(id.clone())),
            Err(error) => Err(Refusal::disk("kept")(error)),
        }
    }
}

/// Only what was announced, as it was announced.
async fn write(
    body: Body,
    file: &mut tokio::fs::File,
    announced: u64,
    mut inspection: Inspection,
) -> Result<(), Refusal> {
    let mut chunks = body.into_data_stream();
    let mut written = 0;
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| Refusal::BrokenOff(error.to_string()))?;
        written += chunk.len() as u64;
        if written > announced {
            return Err(Refusal::Longer(announced));
        }
        inspection.take(&chunk)?;
        file.write_all(&chunk)
            .await
            .map_err(Refusal::disk("written"))?;
    }
    if written < announced {
        return Err(Refusal::Shorter {
            given: written,
            wanted: announced,
        });
    }
    inspection.finish()?;
    file.flush().await.map_err(Refusal::disk("written"))
}

/// Before a byte is read: what says that it is something else is not taken.
fn check_type(headers: &HeaderMap, wanted: &str) -> Result<(), Refusal> {
    let Some(given) = headers.get(CONTENT_TYPE) else {
        return Ok(());
    };
    let given = kind::essence(&String::from_utf8_lossy(given.as_bytes()));
    match given.as_str() {
        "" | "application/octet-stream" => Ok(()),
        "multipart/form-data" => Err(Refusal::Form),
        given if kind::media_type(given, "").as_deref() == Some(wanted) => Ok(()),
        // Of the same file, an editor and a browser may know the types by other names.
        given if Kind::of(wanted) == Kind::Text && Kind::of(given) == Kind::Text => Ok(()),
        _ => Err(Refusal::OtherType {
            given: given.chars().take(64).collect(),
            wanted: wanted.to_owned(),
        }),
    }
}

/// The client's word, if it gives one; what comes is counted besides.
fn check_length(headers: &HeaderMap, announced: u64) -> Result<(), Refusal> {
    let given = headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    match given {
        Some(given) if given > announced => Err(Refusal::Longer(announced)),
        Some(given) if given < announced => Err(Refusal::Shorter {
            given,
            wanted: announced,
        }),
        _ => Ok(()),
    }
}

/// One upload of an attachment at a time.
struct Turn {
    shared: Arc<Shared>,
    id: AttachmentId,
}

impl Turn {
    fn take(shared: &Arc<Shared>, id: &AttachmentId) -> Result<Turn, Refusal> {
        let mut uploading = shared
            .uploading
            .lock()
            .expect("no code panics under this lock");
        if !uploading.insert(id.clone()) {
            return Err(Refusal::UnderWay(id.clone()));
        }
        Ok(Turn {
            shared: Arc::clone(shared),
            id: id.clone(),
        })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut uploading = self
            .shared
            .uploading
            .lock()
            .expect("no code panics under this lock");
        uploading.remove(&self.id);
    }
}

/// A part that, if it is left, is removed where that holds up nobody.
struct OnItsWay {
    part: Option<Part>,
    runtime: Handle,
}

impl OnItsWay {
    fn new(part: Part) -> OnItsWay {
        OnItsWay {
            part: Some(part),
            runtime: Handle::current(),
        }
    }

    fn arrived(mut self) -> Part {
        self.part.take().expect("it is taken once")
    }
}

impl Drop for OnItsWay {
    fn drop(&mut self) {
        if let Some(part) = self.part.take() {
            self.runtime.spawn_blocking(move || drop(part));
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(name: http::HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn a_type_that_is_named_is_that_which_was_announced() {
        let check = |given: &'static str, wanted: &str, expect: Result<(), &str>| {
            let told = check_type(&headers(CONTENT_TYPE, given), wanted)
                .map_err(|error| error.to_string());
            match expect {
                Ok(()) => assert!(told.is_ok(), "{given} {wanted}: {told:?}"),
                Err(expect) => assert!(
                    told.as_ref().is_err_and(|told| told.contains(expect)),
                    "{given}: {told:?}"
                ),
            }
        };
        check("image/png", "image/png", Ok(()));
        check("IMAGE/JPG; q=1", "image/jpeg", Ok(()));
        check("", "image/png", Ok(()));
        check("application/octet-stream", "image/png", Ok(()));
        check("text/x-rust", "text/plain", Ok(()));
        check("application/json", "text/plain", Ok(()));
        check(
            "text/html",
            "image/png",
            Err("the upload is of type text/html, but `image/png`"),
        );
        check("image/png", "text/plain", Err("of type image/png"));
        check(
            "application/x-www-form-urlencoded",
            "image/png",
            Err("send that as content-type, or none"),
        );
        check(
            "multipart/form-data; boundary=x",
            "image/png",
            Err("not a form"),
        );
        assert!(check_type(&HeaderMap::new(), "image/png").is_ok());
    }

    #[test]
    fn one_upload_of_an_attachment_at_a_time() {
        let store = Arc::new(crate::store::Memory::default());
        let Attachments(shared) = Attachments::new(None, "chat", "/nonexistent".as_ref(), store);
        let first = Turn::take(&shared, &"atc_1".into()).unwrap();
        let told = Turn::take(&shared, &"atc_1".into())
            .err()
            .unwrap()
            .to_string();
        assert!(
            told.contains("atc_1 is being uploaded by another request"),
            "{told}"
        );
        assert!(Turn::take(&shared, &"atc_2".into()).is_ok());
        drop(first);
        assert!(Turn::take(&shared, &"atc_1".into()).is_ok());
    }

    #[test]
    fn a_length_that_is_named_is_that_which_was_announced() {
        assert!(check_length(&HeaderMap::new(), 5).is_ok());
        assert!(check_length(&headers(CONTENT_LENGTH, "5"), 5).is_ok());
        assert!(matches!(
            check_length(&headers(CONTENT_LENGTH, "6"), 5),
            Err(Refusal::Longer(5))
        ));
        let short = check_length(&headers(CONTENT_LENGTH, "4"), 5);
        assert!(matches!(
            short,
            Err(Refusal::Shorter {
                given: 4,
                wanted: 5
            })
        ));
    }
}
