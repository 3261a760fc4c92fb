//! The chat module as this program reaches it: one request and its answer, with a token that holds.
//!
//! Knows routes and forms of answers, not what they are about.

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use midplane_client::{Client, Error, EventStream, checked};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::failure::{self, Failure};
use crate::session::Access;

const ROUTE: &str = "/api/chat/chatkit";
const MODELS_ROUTE: &str = "/api/chat/v1/models";
/// What lists models: a provider with thousands of them stays far below.
const LIST_BYTES_MAX: usize = 4 * 1024 * 1024;

pub(crate) struct Server {
    access: Access,
}

impl Server {
    pub(crate) fn new(access: Access) -> Server {
        Server { access }
    }

    /// A ChatKit request that is answered at once.
    pub(crate) async fn ask<T: DeserializeOwned>(&mut self, request: &Value) -> Result<T, Failure> {
        let client = self.access.client().await?;
        let mut answer = client.send(Method::POST, ROUTE, Some(request)).await;
        if is_of_token(&answer) {
            let client = self.access.client_anew().await?;
            answer = client.send(Method::POST, ROUTE, Some(request)).await;
        }
        answer.map_err(failure::of_client)
    }

    /// A ChatKit request that is answered by events.
    pub(crate) async fn events(&mut self, request: &Value) -> Result<EventStream, Failure> {
        let mut events = post(&self.access.client().await?, request).await;
        if is_of_token(&events) {
            events = post(&self.access.client_anew().await?, request).await;
        }
        events.map_err(failure::of_client)
    }

    /// Sends the bytes of a file where the server said; `path` is one of this kernel's.
    pub(crate) async fn upload(
        &mut self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        bytes: Bytes,
    ) -> Result<(), Failure> {
        let mut request = Request::new(Full::new(bytes));
        *request.method_mut() = method;
        *request.uri_mut() = path
            .parse()
            .map_err(|error| Failure::Upload(Box::new(error)))?;
        *request.headers_mut() = headers;
        // Whom it goes to, and for whom, is not the server's to say.
        request.headers_mut().remove(AUTHORIZATION);
        request.headers_mut().remove(HOST);
        let client = self.access.client().await?;
        let answer = client.request(request).await.map_err(failure::of_client)?;
        checked(answer).await.map_err(failure::of_client)?;
        Ok(())
    }

    /// The provider's models, as it describes them.
    pub(crate) async fn models(&mut self) -> Result<Vec<Value>, Failure> {
        let client = self.access.client().await?;
        let request = Request::get(MODELS_ROUTE)
            .body(Full::<Bytes>::default())
            .expect("a constant path makes a request");
        let answer = client.request(request).await.map_err(failure::of_client)?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), LIST_BYTES_MAX)
            .collect()
            .await;
        let body = body
            .map_err(|error| Failure::Exchange(Error::Protocol(error)))?
            .to_bytes();
        match status.is_success() {
            true => {
                let list: ModelList = serde_json::from_slice(&body)
                    .map_err(|error| Failure::Exchange(Error::Protocol(error.into())))?;
                Ok(list.data)
            }
            false => Err(no_models(status, &body)),
        }
    }

    /// Ends the session.
    pub(crate) async fn leave(self) {
        self.access.sign_out().await;
    }
}

/// The kernel does not take the token: it may have been restarted, or the session revoked.
fn is_of_token<T>(answer: &Result<T, Error>) -> bool {
    matches!(answer, Err(Error::Problem { status, .. }) if *status == StatusCode::UNAUTHORIZED)
}

async fn post(client: &Client, request: &Value) -> Result<EventStream, Error> {
    let request = Request::builder()
        .method(Method::POST)
        .uri(ROUTE)
        .header(CONTENT_TYPE, "application/json")
        .header(ACCEPT, "text/event-stream")
        .body(Full::new(Bytes::from(request.to_string())))
        .expect("constant headers and a path make a request");
    let response = checked(client.request(request).await?).await?;
    Ok(EventStream::of(response))
}

#[derive(Deserialize)]
struct ModelList {
    data: Vec<Value>,
}

/// Refusals of the gateway have OpenAI's form, the kernel's are problem documents (RFC 9457).
fn no_models(status: StatusCode, body: &[u8]) -> Failure {
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    let words = [&answer["error"]["message"], &answer["detail"]];
    let words = words.into_iter().find_map(Value::as_str);
    let detail = match (status, words) {
        (StatusCode::NOT_FOUND, words) => {
            let words = words.map(|words| format!(" ({words})")).unwrap_or_default();
            format!(
                "this chat module lists no models: it has no gateway, or no provider behind it{words}"
            )
        }
        (_, Some(words)) => words.to_owned(),
        (_, None) => format!("the provider's models cannot be listed ({status})"),
    };
    Failure::Refused { detail, hint: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_list_says_why() {
        for (status, body, expected) in [
            (
                404,
                r#"{"detail": "the chat module has no such route", "code": "not_found"}"#,
                "this chat module lists no models: it has no gateway, or no provider behind it (the chat module has no such route)",
            ),
            (
                404,
                "",
                "this chat module lists no models: it has no gateway, or no provider behind it",
            ),
            (
                401,
                r#"{"error": {"message": "the key is wrong", "type": "x"}}"#,
                "the key is wrong",
            ),
            (503, r#"{"detail": "try again", "code": "x"}"#, "try again"),
            (
                502,
                "<html>",
                "the provider's models cannot be listed (502 Bad Gateway)",
            ),
        ] {
            let failure = no_models(
                StatusCode::from_u16(status).expect("a status"),
                body.as_bytes(),
            );
            assert_eq!(failure.to_string(), expected);
            assert_eq!(failure.exit_code(), 1);
        }
    }
}
