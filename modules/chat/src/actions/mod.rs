//! Custom actions, carried out by another module.
//!
//! A client dispatches an action of its own, or a widget's button does. Chat knows nothing of what it means: it posts it to
//! `/chatkit/actions` of the module that `actions` names, checks what is answered, and keeps it. The other module has no
//! other way into a thread.
//!
//! An event of ours, `midplane.respond`, ends a stream and lets the model go on from what the thread holds then.
//!
//! What is posted: `{"type", "thread", "item"?, "action", "user"}`, the type that of the request, the item the widget it comes
//! from. What is answered to `threads.custom_action`: an event stream of ChatKit's events, or 204; to
//! `threads.sync_custom_action`: `{"updated_item"?}`, or 204. A problem's `detail` is told to the user.

mod apply;
mod event;
mod event_stream;
mod performance;

use axum::body::{Body, to_bytes};
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{Request, Response, StatusCode};
use midplane_sdk::{CallError, Session};
use serde::{Deserialize, Serialize};

use self::event::Given;
pub(crate) use self::performance::Performance;
use crate::protocol::item::Item;
use crate::protocol::request::Action;
use crate::protocol::thread::ThreadMetadata;
use crate::turn::{Failure, sentence};

/// Below the other module's prefix; it must be one of its internal routes.
const PATH: &str = "/chatkit/actions";
/// Of an answer that is no stream: one widget, or a problem.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;
/// Of a problem's detail: a sentence or two.
const DETAIL_CHARS_MAX: usize = 500;

/// The module that carries out actions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hook {
    pub(crate) module: String,
}

/// What the other module is asked.
#[derive(Debug, Serialize)]
pub(crate) struct Asked {
    pub(crate) r#type: &'static str,
    pub(crate) thread: ThreadMetadata,
    /// The widget that the action comes from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) item: Option<Item>,
    pub(crate) action: Action,
    pub(crate) user: String,
}

#[derive(Default, Deserialize)]
struct SyncAnswer {
    #[serde(default)]
    updated_item: Option<Given>,
}

#[derive(Deserialize)]
struct ProblemBody {
    detail: String,
}

impl Hook {
    /// Carries out an action of which a client waits for one item.
    pub(crate) async fn perform(
        &self,
        session: &Session,
        asked: &Asked,
    ) -> Result<Option<Item>, Failure> {
        let answer = self.call(session, asked, "application/json").await?;
        if answer.status() == StatusCode::NO_CONTENT {
            return Ok(None);
        }
        let bytes = to_bytes(answer.into_body(), ANSWER_BYTES_MAX)
            .await
            .map_err(|_| self.wrong("broke off its answer, or it was too long"))?;
        let answer: SyncAnswer = serde_json::from_slice(&bytes).map_err(|error| {
            self.wrong(&format!(
                "answered what is not `{{\"updated_item\"}}`: {error}"
            ))
        })?;
        let item = answer
            .updated_item
            .map(|item| item.into_item(&asked.thread.id));
        item.transpose()
            .map_err(|error| self.wrong(&error.to_string()))
    }

    async fn call(
        &self,
        session: &Session,
        asked: &Asked,
        accept: &'static str,
    ) -> Result<Response<Body>, Failure> {
        let body = serde_json::to_vec(asked).expect("the protocol's types have string keys only");
        let request = Request::post(PATH)
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, accept)
            .body(Body::from(body))
            .expect("the head is well formed");
        let answer = match session.call(&self.module, request).await {
            Ok(answer) => answer,
            Err(error @ (CallError::NotGranted { .. } | CallError::NotLoaded { .. })) => {
                return Err(Failure::to_mend(sentence(&error.to_string()), true));
            }
            Err(error) => {
                tracing::warn!(module = self.module, %error, "an action could not be sent");
                return Err(Failure::passing(sentence(&error.to_string())));
            }
        };
        match answer.status() {
            StatusCode::OK | StatusCode::NO_CONTENT => Ok(answer),
            status if status.is_client_error() => Err(self.refusal(answer).await),
            status => Err(Failure::passing(format!(
                "The module {} failed to carry out the action (status {}): try again.",
                self.module,
                status.as_u16()
            ))),
        }
    }

    /// What the other module says of an action that it will not carry out.
    async fn refusal(&self, answer: Response<Body>) -> Failure {
        let status = answer.status().as_u16();
        let body = to_bytes(answer.into_body(), ANSWER_BYTES_MAX).await;
        let problem = body
            .ok()
            .and_then(|bytes| serde_json::from_slice::<ProblemBody>(&bytes).ok());
        let message = match problem {
            Some(problem) => problem.detail.chars().take(DETAIL_CHARS_MAX).collect(),
            None => format!(
                "The module {} refused the action (status {status}): its log says why, or it has no internal route {PATH}.",
                self.module
            ),
        };
        Failure::to_mend(message, false)
    }

    /// The other module does not keep to what was agreed. Its author can mend that, and nobody else.
    fn wrong(&self, why: &str) -> Failure {
        let module = &self.module;
        tracing::warn!(module, why, "an action's answer is not taken");
        Failure::unmendable(format!("The module {module} {why}."))
    }
}
