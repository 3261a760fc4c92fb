//! The requests of a conversation, and what is kept between them: the thread, and the message a retry is about.
//!
//! One ChatKit request each (`chatkit/types.py`), to the chat module's one route. How things look is `terminal`'s, what
//! events mean is `event`'s.
//!
//! Every turn may be dropped at any time: that closes its response, which stops the turn in the module, and what was
//! learnt from the events so far (the thread, the message's id) holds.

use std::io::Write;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use midplane_client::{Client, Error, EventStream, checked};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::event::{Action, Reader};
use crate::failure::{self, Failure};
use crate::session::Access;
use crate::terminal::Terminal;

const ROUTE: &str = "/api/chat/chatkit";
/// As many threads as a person looks through, and as many items as fit a screen or two; the protocol's own default.
const PAGE_LEN: usize = 20;

pub(crate) struct Conversation {
    access: Access,
    thread: Option<String>,
    last: Option<Last>,
}

/// The user's last message.
enum Last {
    /// It did not reach the thread, or it is not known that it did.
    Unsent(String),
    Kept {
        item_id: String,
    },
}

/// A thread as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct ThreadSummary {
    pub(crate) id: String,
    pub(crate) title: Option<String>,
    pub(crate) created_at: String,
}

/// A message of an opened thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Message {
    OfUser(String),
    OfAssistant(String),
}

impl Conversation {
    pub(crate) fn new(access: Access) -> Conversation {
        Conversation {
            access,
            thread: None,
            last: None,
        }
    }

    /// The thread the next message goes to; none yet if it will be a new one.
    pub(crate) fn thread(&self) -> Option<&str> {
        self.thread.as_deref()
    }

    /// Leaves the thread; the next message begins another.
    pub(crate) fn leave_thread(&mut self) {
        self.thread = None;
        self.last = None;
    }

    /// One turn: says the words in the thread, and shows the answer as it comes.
    pub(crate) async fn say<O: Write, E: Write>(
        &mut self,
        words: &str,
        terminal: &mut Terminal<O, E>,
    ) -> Result<(), Failure> {
        self.last = Some(Last::Unsent(words.to_owned()));
        let input = json!({
            "content": [{"type": "input_text", "text": words}],
            "attachments": [],
            "inference_options": {},
        });
        let request = match &self.thread {
            None => json!({"type": "threads.create", "params": {"input": input}}),
            Some(thread) => json!({
                "type": "threads.add_user_message",
                "params": {"thread_id": thread, "input": input},
            }),
        };
        self.turn(&request, terminal).await
    }

    /// The last message's turn again, in place of the answer it had. False if there is no message yet.
    pub(crate) async fn retry<O: Write, E: Write>(
        &mut self,
        terminal: &mut Terminal<O, E>,
    ) -> Result<bool, Failure> {
        match (&self.last, &self.thread) {
            (Some(Last::Kept { item_id }), Some(thread)) => {
                let request = json!({
                    "type": "threads.retry_after_item",
                    "params": {"thread_id": thread, "item_id": item_id},
                });
                self.turn(&request, terminal).await?;
            }
            (Some(Last::Unsent(words)), _) => {
                let words = words.clone();
                self.say(&words, terminal).await?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The newest threads, newest first.
    pub(crate) async fn threads(&mut self) -> Result<Vec<ThreadSummary>, Failure> {
        let request = json!({
            "type": "threads.list",
            "params": {"limit": PAGE_LEN, "order": "desc"},
        });
        let page: Page<ThreadSummary> = self.ask(&request).await?;
        Ok(page.data)
    }

    /// Goes on with a thread; returns its title and its latest messages, in order.
    pub(crate) async fn open(
        &mut self,
        thread: &str,
    ) -> Result<(Option<String>, Vec<Message>), Failure> {
        let request = json!({"type": "threads.get_by_id", "params": {"thread_id": thread}});
        let thread: ThreadWithItems = self.ask(&request).await?;
        let mut items = thread.items.data;
        // The page a thread comes with is its first; the end is what one goes on from.
        if thread.items.has_more {
            let request = json!({
                "type": "items.list",
                "params": {"thread_id": thread.id, "limit": PAGE_LEN, "order": "desc"},
            });
            let latest: Page<Value> = self.ask(&request).await?;
            items = latest.data;
            items.reverse();
        }
        self.last = items
            .iter()
            .rev()
            .find(|item| item["type"] == "user_message")
            .and_then(|item| item["id"].as_str())
            .map(|id| Last::Kept {
                item_id: id.to_owned(),
            });
        self.thread = Some(thread.id);
        Ok((thread.title, items.iter().filter_map(message).collect()))
    }

    /// Ends the session.
    pub(crate) async fn end(self) {
        self.access.sign_out().await;
    }

    async fn turn<O: Write, E: Write>(
        &mut self,
        request: &Value,
        terminal: &mut Terminal<O, E>,
    ) -> Result<(), Failure> {
        let mut events = self.events(request).await?;
        let mut reader = Reader::default();
        let mut is_answered = false;
        while let Some(event) = events.next().await {
            let event = event.map_err(failure::of_client)?;
            terminal.event(&event.data).map_err(Failure::Output)?;
            for action in reader.read(&event.data)? {
                terminal.show(&action).map_err(Failure::Output)?;
                match action {
                    Action::Thread { id, .. } => self.thread = Some(id),
                    Action::Asked { item_id } => self.last = Some(Last::Kept { item_id }),
                    Action::Fail {
                        message,
                        allow_retry,
                    } => {
                        return Err(Failure::Turn {
                            message,
                            allow_retry,
                        });
                    }
                    Action::Answered => is_answered = true,
                    Action::Say(_) | Action::Progress(_) | Action::Note(_) => {}
                }
            }
        }
        match is_answered {
            true => Ok(()),
            false => Err(Failure::NoAnswer),
        }
    }

    async fn ask<T: DeserializeOwned>(&mut self, request: &Value) -> Result<T, Failure> {
        let client = self.access.client().await?;
        let mut answer = client.send(Method::POST, ROUTE, Some(request)).await;
        if is_of_token(&answer) {
            let client = self.access.client_anew().await?;
            answer = client.send(Method::POST, ROUTE, Some(request)).await;
        }
        answer.map_err(failure::of_client)
    }

    async fn events(&mut self, request: &Value) -> Result<EventStream, Failure> {
        let mut events = post(&self.access.client().await?, request).await;
        if is_of_token(&events) {
            events = post(&self.access.client_anew().await?, request).await;
        }
        events.map_err(failure::of_client)
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
struct Page<T> {
    data: Vec<T>,
    #[serde(default)]
    has_more: bool,
}

#[derive(Deserialize)]
struct ThreadWithItems {
    id: String,
    title: Option<String>,
    items: Page<Value>,
}

fn message(item: &Value) -> Option<Message> {
    let texts = item["content"].as_array()?.iter();
    let texts: Vec<&str> = texts.filter_map(|part| part["text"].as_str()).collect();
    let text = texts.join("\n\n");
    match item["type"].as_str()? {
        "user_message" => Some(Message::OfUser(text)),
        "assistant_message" => Some(Message::OfAssistant(text)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
