//! Dictation: the user's speech goes to the provider's `audio/transcriptions`, and its words come back.
//!
//! The form is written here: it has three parts, and a crate for that would bring ten times as much for what is never sent.

use base64::engine::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use midplane_sdk::{Context, Problem};
use ring::rand::{SecureRandom, SystemRandom};
use serde::Deserialize;

use crate::attachments::kind::essence;
use crate::config::Config;
use crate::credential::Credential;
use crate::protocol::attachment::{Transcribe, Transcription};
use crate::provider::ProviderError;
use crate::upstream::{Answer, Upstream, UpstreamBody, UpstreamError};

/// Half an hour of a browser's Opus, eight minutes of AAC; OpenAI takes 25 MB.
const AUDIO_BYTES_MAX: usize = 8 << 20;
/// Of a request with that, which carries it as base64.
const REQUEST_BYTES_MAX: u64 = (AUDIO_BYTES_MAX as u64).div_ceil(3) * 4 + 64 * 1024;
/// More words than can be spoken in it.
const ANSWER_BYTES_MAX: usize = 1 << 20;
const PATH: &str = "/audio/transcriptions";

/// The audio that browsers and editors record, and the name by whose end providers tell it apart.
const TYPES: &[(&str, &str)] = &[
    ("audio/webm", "audio.webm"),
    ("video/webm", "audio.webm"),
    ("audio/ogg", "audio.ogg"),
    ("audio/mp4", "audio.mp4"),
    ("audio/x-m4a", "audio.m4a"),
    ("audio/m4a", "audio.m4a"),
    ("audio/mpeg", "audio.mp3"),
    ("audio/mp3", "audio.mp3"),
    ("audio/wav", "audio.wav"),
    ("audio/wave", "audio.wav"),
    ("audio/x-wav", "audio.wav"),
    ("audio/flac", "audio.flac"),
];

#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("there is no provider that could write speech down: the echo answers here")]
    NoProvider,
    #[error("`audio_base64` is no base64 text")]
    NotBase64,
    #[error("`audio_base64` is empty: record something first")]
    Empty,
    #[error("the recording has more than {AUDIO_BYTES_MAX} bytes: dictate in parts")]
    TooLarge,
    #[error(
        "recordings of type `{0}` are not taken: record audio/webm, audio/ogg, audio/mp4, audio/mpeg, audio/wav or audio/flac"
    )]
    Type(String),
    #[error(
        "the provider has no `{0}` to write speech down with: name one of its models in `transcription_model`"
    )]
    NoModel(String),
    #[error(
        "the provider did not take the recording (status {0}): it may be broken, silent or too short"
    )]
    Rejected(u16),
    #[error("{0}")]
    Provider(#[from] ProviderError),
    #[error(
        "the provider's answer is no transcription: check `base_url` and `transcription_model`"
    )]
    Malformed,
}

/// Raises what the kernel takes of a request to what a recording needs, if it lets itself be raised.
pub(crate) fn allow_recordings(ctx: &mut Context<Config>) {
    if let Err(error) = ctx.body_limit("/chatkit", REQUEST_BYTES_MAX) {
        tracing::warn!(%error, "recordings may be no larger than other requests");
    }
}

#[derive(Clone)]
pub(crate) struct Transcriber {
    upstream: Upstream,
    model: String,
}

impl Transcriber {
    pub(crate) fn new(upstream: Upstream, model: String) -> Transcriber {
        Transcriber { upstream, model }
    }

    /// The words of a recording. Dropping the future ends the provider's request at once.
    pub(crate) async fn transcribe(
        &self,
        request: Transcribe,
        credential: &dyn Credential,
    ) -> Result<Transcription, Refusal> {
        let recording = Recording::check(&request)?;
        let form = Form::of(&self.model, &recording, &boundary());
        let request = Request::post(PATH)
            .header(CONTENT_TYPE, form.content_type)
            .header(ACCEPT, "application/json")
            .body(UpstreamBody::Bytes(form.body))
            .expect("the path and the headers are valid");
        let answer = self.upstream.send(request, credential).await;
        let answer = answer.map_err(ProviderError::from)?;
        match answer.status() {
            StatusCode::OK => read(answer).await,
            StatusCode::NOT_FOUND => Err(Refusal::NoModel(self.model.clone())),
            refused => {
                tracing::warn!(
                    status = refused.as_u16(),
                    "the provider refused a recording"
                );
                Err(match refused.as_u16() {
                    status @ (400 | 413 | 415 | 422) => Refusal::Rejected(status),
                    // What an answer below 300 or a redirection would be is not known either.
                    ..400 => Refusal::Malformed,
                    status => ProviderError::of_status(status, None, None).into(),
                })
            }
        }
    }
}

impl Refusal {
    /// As a client is told.
    pub(crate) fn problem(&self) -> Problem {
        let (status, code) = match self {
            Refusal::NoProvider => (StatusCode::NOT_IMPLEMENTED, "not_offered"),
            Refusal::NotBase64 | Refusal::Empty => (StatusCode::BAD_REQUEST, "invalid_request"),
            Refusal::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "recording_too_large"),
            Refusal::Type(_) => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "type_not_allowed"),
            Refusal::Rejected(_) => (StatusCode::UNPROCESSABLE_ENTITY, "recording_rejected"),
            Refusal::Provider(ProviderError::RateLimited(_)) => {
                (StatusCode::SERVICE_UNAVAILABLE, "provider_busy")
            }
            Refusal::NoModel(_) | Refusal::Provider(_) | Refusal::Malformed => {
                (StatusCode::BAD_GATEWAY, "provider_failed")
            }
        };
        Problem::new(status, code, self.to_string())
    }
}

/// What was recorded, checked.
#[derive(Debug)]
struct Recording {
    audio: Vec<u8>,
    media_type: &'static str,
    file_name: &'static str,
}

impl Recording {
    fn check(request: &Transcribe) -> Result<Recording, Refusal> {
        let given = essence(&request.mime_type);
        let known = TYPES.iter().find(|(media_type, _)| *media_type == given);
        let Some((media_type, file_name)) = known else {
            return Err(Refusal::Type(given.chars().take(64).collect()));
        };
        let text = request.audio_base64.trim_ascii();
        if text.len() > AUDIO_BYTES_MAX.div_ceil(3) * 4 {
            return Err(Refusal::TooLarge);
        }
        let audio = STANDARD.decode(text).map_err(|_| Refusal::NotBase64)?;
        match audio.len() {
            0 => Err(Refusal::Empty),
            1..=AUDIO_BYTES_MAX => Ok(Recording {
                audio,
                media_type,
                file_name,
            }),
            _ => Err(Refusal::TooLarge),
        }
    }
}

/// A form with a file in it (RFC 7578).
struct Form {
    content_type: String,
    body: Bytes,
}

impl Form {
    fn of(model: &str, recording: &Recording, boundary: &str) -> Form {
        let Recording {
            audio,
            media_type,
            file_name,
        } = recording;
        let mut body = Vec::with_capacity(audio.len() + 1024);
        for (name, value) in [("model", model), ("response_format", "json")] {
            let part = format!(
                "--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
            );
            body.extend_from_slice(part.as_bytes());
        }
        let head = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{file_name}\"\r\n\
             Content-Type: {media_type}\r\n\r\n"
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(audio);
        body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        Form {
            content_type: format!("multipart/form-data; boundary={boundary}"),
            body: body.into(),
        }
    }
}

/// 128 random bits: no recording has them in it.
fn boundary() -> String {
    let mut bytes = [0_u8; 16];
    SystemRandom::new()
        .fill(&mut bytes)
        .expect("the operating system gives random bytes");
    format!("midplane-{:032x}", u128::from_ne_bytes(bytes))
}

async fn read(answer: Response<Answer>) -> Result<Transcription, Refusal> {
    #[derive(Deserialize)]
    struct Told {
        text: String,
    }

    let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX)
        .collect()
        .await;
    let body = body.map_err(|error| match error.downcast::<UpstreamError>() {
        Ok(broken) => Refusal::Provider(ProviderError::from(*broken)),
        Err(_) => Refusal::Malformed,
    })?;
    let told: Told = serde_json::from_slice(&body.to_bytes()).map_err(|_| Refusal::Malformed)?;
    Ok(Transcription { text: told.text })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(audio_base64: &str, mime_type: &str) -> Transcribe {
        Transcribe {
            audio_base64: audio_base64.to_owned(),
            mime_type: mime_type.to_owned(),
        }
    }

    #[test]
    fn a_form_has_the_model_and_the_recording() {
        let recording = Recording::check(&request("UklGRg==", "audio/webm;codecs=opus")).unwrap();
        let form = Form::of("whisper-1", &recording, "x");
        assert_eq!(form.content_type, "multipart/form-data; boundary=x");
        let expect = "--x\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n\
             --x\r\nContent-Disposition: form-data; name=\"response_format\"\r\n\r\njson\r\n\
             --x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"audio.webm\"\r\n\
             Content-Type: audio/webm\r\n\r\nRIFF\r\n--x--\r\n";
        assert_eq!(std::str::from_utf8(&form.body).unwrap(), expect);
        assert_ne!(boundary(), boundary());
    }

    #[test]
    fn what_is_no_recording_is_refused() {
        let check = |audio: &str, mime_type: &str, expect: &str| {
            let error = Recording::check(&request(audio, mime_type))
                .unwrap_err()
                .to_string();
            assert!(error.contains(expect), "{mime_type}: {error}");
        };
        check("", "audio/webm", "is empty");
        check("UklGRg", "audio/webm", "no base64");
        check("UklG*g==", "audio/webm", "no base64");
        check("UklGRg==", "image/png", "recordings of type `image/png`");
        check("UklGRg==", "", "recordings of type ``");
        check("UklGRg==", "audio/webm\r\nx", "are not taken");
        let most = STANDARD.encode(vec![0; AUDIO_BYTES_MAX]);
        assert_eq!(
            Recording::check(&request(&most, "audio/ogg"))
                .unwrap()
                .audio
                .len(),
            AUDIO_BYTES_MAX
        );
        check(
            &STANDARD.encode(vec![0; AUDIO_BYTES_MAX + 1]),
            "audio/ogg",
            "dictate in parts",
        );
        check(
            &"A".repeat(AUDIO_BYTES_MAX * 2),
            "audio/ogg",
            "dictate in parts",
        );
    }
}
