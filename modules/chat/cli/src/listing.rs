//! What can be asked for instead of a conversation: threads listed, one shown or deleted, and the models.
//!
//! On a terminal for people, else for programs: one record a line, with tabs between, or with `--json` as JSON.

use std::io::Write;
use std::time::SystemTime;

use serde_json::Value;

use crate::ago::ago;
use crate::failure::Failure;
use crate::look::Look;
use crate::message::{Message, message};
use crate::server::Server;
use crate::task::{Inquiry, Named};
use crate::terminal::Terminal;
use crate::text::one_line;
use crate::threads;

/// As wide as the longest time that is told by its distance: `59 minutes ago`.
const AGO_WIDTH: usize = 14;

/// Answers what was asked for instead of a conversation.
pub(crate) async fn answer<O: Write, E: Write>(
    inquiry: &Inquiry,
    now: SystemTime,
    look: Look,
    server: &mut Server,
    terminal: &mut Terminal<O, E>,
) -> Result<(), Failure> {
    match inquiry {
        Inquiry::List { limit } => list(*limit, now, look, server, terminal).await,
        Inquiry::Show(thread) => show(thread, look, server, terminal).await,
        Inquiry::Delete(thread) => delete(thread, server, terminal).await,
        Inquiry::Models => models(look, server, terminal).await,
    }
}

/// A line for each thread, newest first.
async fn list<O: Write, E: Write>(
    limit: Option<usize>,
    now: SystemTime,
    look: Look,
    server: &mut Server,
    terminal: &mut Terminal<O, E>,
) -> Result<(), Failure> {
    let mut pages = threads::all(limit);
    let mut is_empty = true;
    while let Some(page) = pages.next(server).await? {
        for thread in &page {
            is_empty = false;
            let line = match look.raw {
                true => thread.to_string(),
                false => row(thread, now, look.out_is_terminal),
            };
            terminal
                .print(&format!("{line}\n"))
                .map_err(Failure::Output)?;
        }
    }
    match is_empty {
        true => terminal.remark("no threads yet").map_err(Failure::Output),
        false => Ok(()),
    }
}

fn row(thread: &Value, now: SystemTime, is_for_people: bool) -> String {
    let member = |name: &str| one_line(thread[name].as_str().unwrap_or_default());
    let (id, time, title) = (member("id"), member("created_at"), member("title"));
    match is_for_people {
        true => format!("{id}  {:<AGO_WIDTH$}  {title}", ago(&time, now))
            .trim_end()
            .to_owned(),
        false => format!("{id}\t{time}\t{title}"),
    }
}

/// All that was said in a thread.
async fn show<O: Write, E: Write>(
    thread: &Named,
    look: Look,
    server: &mut Server,
    terminal: &mut Terminal<O, E>,
) -> Result<(), Failure> {
    let id = threads::id_of(thread, server).await?;
    let mut pages = threads::items(&id);
    let mut is_first = true;
    while let Some(page) = pages.next(server).await? {
        for item in &page {
            if look.raw {
                terminal
                    .print(&format!("{item}\n"))
                    .map_err(Failure::Output)?;
            } else if let Some(message) = message(item) {
                if !std::mem::take(&mut is_first) {
                    terminal.print("\n").map_err(Failure::Output)?;
                }
                put(&message, terminal).map_err(Failure::Output)?;
            }
        }
    }
    Ok(())
}

fn put<O: Write, E: Write>(
    message: &Message,
    terminal: &mut Terminal<O, E>,
) -> std::io::Result<()> {
    match message {
        Message::OfUser(text) => terminal.quote(text),
        Message::OfAssistant(text) => {
            terminal.say(text)?;
            terminal.end_line()
        }
        Message::Aside(text) => terminal.print(&format!("[{}]\n", one_line(text))),
    }
}

async fn delete<O: Write, E: Write>(
    thread: &Named,
    server: &mut Server,
    terminal: &mut Terminal<O, E>,
) -> Result<(), Failure> {
    let id = threads::id_of(thread, server).await?;
    threads::delete(&id, server).await?;
    terminal
        .remark(&format!("deleted {id}"))
        .map_err(Failure::Output)
}

/// A line for each model.
async fn models<O: Write, E: Write>(
    look: Look,
    server: &mut Server,
    terminal: &mut Terminal<O, E>,
) -> Result<(), Failure> {
    for model in server.models().await? {
        let line = match look.raw {
            true => model.to_string(),
            false => one_line(model["id"].as_str().unwrap_or_default()),
        };
        terminal
            .print(&format!("{line}\n"))
            .map_err(Failure::Output)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
