//! The turns of a conversation, and what is kept between them: the thread, the model, the files for the next message,
//! and the message a retry is about.
//!
//! How things look is `terminal`'s, what events mean is `event`'s.
//!
//! Every turn may be dropped at any time: that closes its response, which stops the turn in the module, and what was
//! learnt from the events so far (the thread, the message's id) holds.

use std::io::Write;

use serde_json::{Value, json};

use crate::attachment::{self, Attachment};
use crate::event::{Action, Reader};
use crate::failure::{self, Failure};
use crate::message;
use crate::server::Server;
use crate::task::{Named, Source};
use crate::terminal::Terminal;
use crate::threads::{self, Opened};

pub(crate) struct Conversation {
    server: Server,
    thread: Option<String>,
    model: Option<String>,
    /// For the next message that reaches its thread.
    attached: Vec<Attachment>,
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

impl Conversation {
    pub(crate) fn new(server: Server, model: Option<String>) -> Conversation {
        Conversation {
            server,
            thread: None,
            model,
            attached: Vec::new(),
            last: None,
        }
    }

    /// For requests that are no turns.
    pub(crate) fn server(&mut self) -> &mut Server {
        &mut self.server
    }

    /// The thread the next message goes to; none yet if it will be a new one.
    pub(crate) fn thread(&self) -> Option<&str> {
        self.thread.as_deref()
    }

    /// The model that messages ask for; none if the chat module chooses.
    pub(crate) fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }

    pub(crate) fn ask_model(&mut self, name: &str) {
        self.model = Some(name.to_owned());
    }

    /// Leaves the thread; the next message begins another.
    pub(crate) fn leave_thread(&mut self) {
        self.thread = None;
        self.last = None;
    }

    /// Goes on with a thread.
    pub(crate) async fn open(&mut self, named: &Named) -> Result<Opened, Failure> {
        let id = threads::id_of(named, &mut self.server).await?;
        let opened = threads::open(&id, &mut self.server).await?;
        self.last = message::last_of_user(&opened.items).map(|item_id| Last::Kept { item_id });
        self.thread = Some(opened.id.clone());
        Ok(opened)
    }

    /// Goes on with a thread whose messages need not be known.
    pub(crate) async fn go_on(&mut self, named: &Named) -> Result<(), Failure> {
        self.thread = Some(threads::id_of(named, &mut self.server).await?);
        Ok(())
    }

    /// Gives the chat module a file, which goes with the next message.
    pub(crate) async fn attach(&mut self, source: &Source) -> Result<&Attachment, Failure> {
        let attachment = attachment::attach(source, &mut self.server).await?;
        self.attached.push(attachment);
        Ok(self.attached.last().expect("it was just put there"))
    }

    /// One turn: says the words in the thread, and shows the answer as it comes.
    pub(crate) async fn say<O: Write, E: Write>(
        &mut self,
        words: &str,
        terminal: &mut Terminal<O, E>,
    ) -> Result<(), Failure> {
        let ids: Vec<&str> = self.attached.iter().map(|file| file.id.as_str()).collect();
        let mut options = json!({});
        if let Some(model) = &self.model {
            options["model"] = json!(model);
        }
        let input = json!({
            "content": [{"type": "input_text", "text": words}],
            "attachments": ids,
            "inference_options": options,
        });
        let request = match &self.thread {
            None => json!({"type": "threads.create", "params": {"input": input}}),
            Some(thread) => json!({
                "type": "threads.add_user_message",
                "params": {"thread_id": thread, "input": input},
            }),
        };
        self.last = Some(Last::Unsent(words.to_owned()));
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

    /// Ends the session.
    pub(crate) async fn end(self) {
        self.server.leave().await;
    }

    async fn turn<O: Write, E: Write>(
        &mut self,
        request: &Value,
        terminal: &mut Terminal<O, E>,
    ) -> Result<(), Failure> {
        let mut events = self.server.events(request).await?;
        let mut reader = Reader::default();
        let mut is_answered = false;
        while let Some(event) = events.next().await {
            let event = event.map_err(failure::of_client)?;
            terminal.event(&event.data).map_err(Failure::Output)?;
            for action in reader.read(&event.data)? {
                terminal.show(&action).map_err(Failure::Output)?;
                match action {
                    Action::Thread { id, .. } => self.thread = Some(id),
                    Action::Asked { item_id } => {
                        self.last = Some(Last::Kept { item_id });
                        self.attached.clear();
                    }
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
                    Action::Say(_) | Action::Progress(_) | Action::Note(_) | Action::Aside(_) => {}
                }
            }
        }
        match is_answered {
            true => Ok(()),
            false => Err(Failure::NoAnswer),
        }
    }
}

#[cfg(test)]
mod tests;
