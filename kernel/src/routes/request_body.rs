//! The JSON bodies of the kernel's own routes.

use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http_body::Body as _;
use http_body_util::{BodyExt as _, Limited};
use serde::de::DeserializeOwned;

use super::Call;
use crate::problem::{Code, Problem};

/// No control request is longer: a module's configuration is the largest of them.
const CONTROL_BODY_LEN_MAX: usize = 1024 * 1024;

impl Call<'_> {
    /// The body as JSON. An empty one counts as `{}` where every member is optional.
    pub(super) async fn json<T: DeserializeOwned>(&mut self) -> Result<T, Problem> {
        let bytes = self.bytes().await?;
        let text = if bytes.is_empty() {
            b"{}".as_slice()
        } else {
            &bytes
        };
        if !bytes.is_empty() {
            self.check_type()?;
        }
        serde_json::from_slice(text).map_err(|error| {
            // serde's text names the member; where it stands helps only people who write JSON by hand.
            Problem::new(
                Code::InvalidRequest,
                format!("the body is not what this route takes: {error}"),
            )
        })
    }

    fn check_type(&self) -> Result<(), Problem> {
        let value = self
            .parts
            .headers
            .get(CONTENT_TYPE)
            .map(|value| value.to_str().unwrap_or_default());
        let media_type = value.map(|value| value.split(';').next().unwrap_or_default().trim());
        if media_type.is_some_and(|media_type| media_type.eq_ignore_ascii_case("application/json"))
        {
            return Ok(());
        }
        Err(Problem::new(
            Code::UnsupportedMediaType,
            "send the body as JSON, with `Content-Type: application/json`",
        ))
    }

    async fn bytes(&mut self) -> Result<Bytes, Problem> {
        // What is announced to be too long is refused before it comes (RFC 9110 section 15.5.14).
        if self.body.size_hint().lower() > CONTROL_BODY_LEN_MAX as u64 {
            return Err(too_large());
        }
        let timeout = self.kernel.config.limits.body_stall_timeout;
        let mut body = Limited::new(&mut self.body, CONTROL_BODY_LEN_MAX);
        let mut whole = Vec::new();
        loop {
            // The whole of it is small, so that a pause anywhere counts.
            match tokio::time::timeout(timeout, body.frame()).await {
                Err(_elapsed) => return Err(stalled(timeout)),
                Ok(None) => return Ok(whole.into()),
                Ok(Some(Ok(frame))) => {
                    whole.extend_from_slice(frame.data_ref().map_or(&[], |bytes| bytes))
                }
                Ok(Some(Err(error))) if error.is::<http_body_util::LengthLimitError>() => {
                    return Err(too_large());
                }
                Ok(Some(Err(_cut_off))) => {
                    return Err(Problem::new(Code::InvalidRequest, "the body ended early"));
                }
            }
        }
    }
}

fn too_large() -> Problem {
    Problem::new(
        Code::BodyTooLarge,
        format!("the body may have up to {CONTROL_BODY_LEN_MAX} bytes"),
    )
}

fn stalled(timeout: Duration) -> Problem {
    Problem::new(
        Code::RequestTimeout,
        format!(
            "no byte of the body came for {} s: send it without pauses",
            timeout.as_secs()
        ),
    )
}
