//! ChatKit's requests over one WebSocket: several at once, each under an `id` of the client's that every answer carries.
//!
//! A text message is a request of the protocol with an `id` beside it, or `{"type": "cancel", "id": …}`. It is answered by one
//! message with `result` or `problem`; a streaming request by messages with an `event` each, and one with `end`. What a client
//! does not read holds back its own turns only, and nothing is queued here for it.
//!
//! Pings, the sizes of messages and their rate are the kernel's.

mod message;

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use futures_util::stream::{
    self, AbortHandle, BoxStream, SelectAll, SplitSink, SplitStream, Stream, StreamExt, abortable,
};
use futures_util::{SinkExt, future};
use http::StatusCode;
use midplane_sdk::ws::{Message, WebSocket, WebSocketUpgrade};
use midplane_sdk::{Problem, Session};

use self::message::{Answer, End, Id, Incoming};
use crate::conversation::{Conversations, Reply};
use crate::protocol::request::Request;

/// Requests at once. More than a page shows; each may hold a connection to the provider.
const REQUESTS_MAX: usize = 16;
/// Answers that wait to be read, among them refusals of what was sent beyond [`REQUESTS_MAX`]. Nothing more is received while
/// there are so many.
const ANSWERING_MAX: usize = 64;

pub(crate) async fn open(
    State(conversations): State<Arc<Conversations>>,
    session: Session,
    upgrade: WebSocketUpgrade,
) -> Response {
    upgrade.on_upgrade(|socket| Connection::new(conversations, session, socket).serve())
}

struct Connection {
    conversations: Arc<Conversations>,
    session: Session,
    messages: SplitStream<WebSocket>,
    sink: SplitSink<WebSocket, Message>,
    answers: SelectAll<BoxStream<'static, Answer>>,
    /// The requests under way.
    requests: HashMap<Id, AbortHandle>,
}

impl Connection {
    fn new(conversations: Arc<Conversations>, session: Session, socket: WebSocket) -> Connection {
        let (sink, messages) = socket.split();
        Connection {
            conversations,
            session,
            messages,
            sink,
            answers: SelectAll::new(),
            requests: HashMap::new(),
        }
    }

    /// Ends with the socket. What is dropped with it is a client that left: its turns stop, and keep what was said.
    async fn serve(mut self) {
        // The sink holds an answer that the socket has not taken yet.
        let mut unsent = false;
        loop {
            tokio::select! {
                message = self.messages.next(), if self.answers.len() < ANSWERING_MAX => match message {
                    Some(Ok(Message::Text(text))) => self.take(&text),
                    Some(Ok(Message::Binary(_))) => self.refuse(None, not_a_request("a binary message")),
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return self.left(),
                },
                answer = next(&mut self.sink, &mut self.answers), if unsent || !self.answers.is_empty() => {
                    let Ok(answer) = answer else { return self.left() };
                    unsent = answer.is_some();
                    if answer.is_some_and(|answer| self.send(answer).is_err()) {
                        return self.left();
                    }
                }
            }
        }
    }

    /// Leaves the answer to the sink, which has room for one whenever an answer was taken.
    fn send(&mut self, answer: Answer) -> midplane_sdk::Result<()> {
        if let (Some(id), true) = (&answer.id, answer.is_last()) {
            self.requests.remove(id);
        }
        self.sink.start_send_unpin(Message::text(answer.to_text()))
    }

    fn take(&mut self, text: &str) {
        let incoming = match message::read(text) {
            Ok(incoming) => incoming,
            Err(error) => return self.refuse(None, not_a_request(&error.to_string())),
        };
        match incoming {
            // A request that has ended meanwhile is no mistake of the client's.
            Incoming::Cancel { id } => {
                if let Some(request) = self.requests.get(&id) {
                    request.abort();
                }
            }
            Incoming::Request { id } if self.requests.contains_key(&id) => {
                let detail = "a request with this `id` is under way: give each one of its own";
                let problem = Problem::new(StatusCode::CONFLICT, "id_in_use", detail);
                self.refuse(None, problem);
            }
            Incoming::Request { id } if self.requests.len() >= REQUESTS_MAX => {
                let detail = format!("{REQUESTS_MAX} requests are under way: wait for one to end");
                let status = StatusCode::TOO_MANY_REQUESTS;
                self.refuse(Some(id), Problem::new(status, "too_many_requests", detail));
            }
            Incoming::Request { id } => match Request::parse(text.as_bytes()) {
                Ok(request) => self.begin(id, request),
                Err(error) => self.refuse(Some(id), error.problem()),
            },
        }
    }

    fn begin(&mut self, id: Id, request: Request) {
        let (conversations, session) = (Arc::clone(&self.conversations), self.session.clone());
        let answers = stream::once(process(conversations, session, request)).flatten();
        let (answers, handle) = abortable(answers);
        let aborted = handle.clone();
        let end = stream::once(async move {
            match aborted.is_aborted() {
                true => message::Content::End(End::Cancelled),
                false => message::Content::End(End::Complete),
            }
        });
        self.requests.insert(id.clone(), handle);
        // Nothing follows a result or a problem.
        let answers = answers.chain(end).scan(false, |over, content| {
            let content = (!*over).then_some(content);
            *over |= content.as_ref().is_some_and(message::Content::is_last);
            future::ready(content)
        });
        let answers = answers.map(move |content| Answer {
            id: Some(id.clone()),
            content,
        });
        self.answers.push(answers.boxed());
    }

    fn refuse(&mut self, id: Option<Id>, problem: Problem) {
        let content = message::Content::Problem(problem);
        let answer = stream::once(future::ready(Answer { id, content }));
        self.answers.push(answer.boxed());
    }

    /// The client left, or the module is being replaced. Then what was begun is finished without it, and found in its thread.
    fn left(self) {
        if self.conversations.is_draining() && !self.requests.is_empty() {
            let rest = self.answers.for_each(|_| future::ready(()));
            self.conversations.saves().detach(rest);
        }
    }
}

/// The next answer, once the socket has taken the one before; none where nothing is to be answered. Cancel-safe.
async fn next(
    sink: &mut SplitSink<WebSocket, Message>,
    answers: &mut SelectAll<BoxStream<'static, Answer>>,
) -> midplane_sdk::Result<Option<Answer>> {
    future::poll_fn(|cx| sink.poll_flush_unpin(cx)).await?;
    future::poll_fn(|cx| sink.poll_ready_unpin(cx)).await?;
    Ok(answers.next().await)
}

async fn process(
    conversations: Arc<Conversations>,
    session: Session,
    request: Request,
) -> impl Stream<Item = message::Content> + Send {
    match conversations.process(session, request).await {
        Ok(Reply::Events(events)) => events
            .map(|event| message::Content::Event(Box::new(event)))
            .boxed(),
        Ok(Reply::Json(result)) => once(message::Content::Result(result)),
        Err(refusal) => once(message::Content::Problem(refusal.problem())),
    }
}

fn once(content: message::Content) -> BoxStream<'static, message::Content> {
    stream::once(future::ready(content)).boxed()
}

fn not_a_request(what: &str) -> Problem {
    let detail = format!(
        "not a request: {what}. Send a text message with one JSON object: a ChatKit request and an `id`, which is a string of 1 \
         to {} bytes",
        message::ID_BYTES_MAX
    );
    Problem::new(StatusCode::BAD_REQUEST, "invalid_request", detail)
}

#[cfg(test)]
mod tests;
