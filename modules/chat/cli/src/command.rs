//! What a line at the prompt asks for, done.

use std::io::Write;

use crate::conversation::Conversation;
use crate::failure::Failure;
use crate::line::{COMMANDS, Line};
use crate::message::{Message, message};
use crate::task::{Named, Source};
use crate::terminal::Terminal;
use crate::text::one_line;
use crate::threads::{self, ThreadSummary};

/// Follows a line; `listed` are the threads that were shown last, whose numbers a person may use.
pub(crate) async fn follow<O: Write, E: Write>(
    line: Line<'_>,
    conversation: &mut Conversation,
    terminal: &mut Terminal<O, E>,
    listed: &mut Vec<ThreadSummary>,
) -> Result<(), Failure> {
    let note = match line {
        Line::Nothing | Line::Quit => return Ok(()),
        Line::Say(words) => return conversation.say(words, terminal).await,
        Line::Retry => match conversation.retry(terminal).await? {
            true => return Ok(()),
            false => "there is no message to answer again yet".to_owned(),
        },
        Line::New => {
            conversation.leave_thread();
            "the next message begins another thread".to_owned()
        }
        Line::Help => return help(terminal).map_err(Failure::Output),
        Line::Threads => {
            *listed = threads::newest(conversation.server()).await?;
            return list(listed, conversation.thread(), terminal).map_err(Failure::Output);
        }
        Line::Open(which) => match named(which, conversation, listed).await? {
            Some(thread) => return open(&thread, conversation, terminal).await,
            None => format!("there is no thread {which}: /threads lists them"),
        },
        Line::Title(title) => match conversation.thread().map(str::to_owned) {
            Some(thread) => {
                threads::rename(&thread, title, conversation.server()).await?;
                format!("the thread is named {title}")
            }
            None => "there is no thread yet: say something first".to_owned(),
        },
        Line::Attach(file) => {
            let file = Source::File(file.into());
            return attach(&file, conversation, terminal).await;
        }
        Line::Models => return models(conversation, terminal).await,
        Line::Model(name) => {
            conversation.ask_model(name);
            format!("the next message asks {name}")
        }
        Line::Unknown(words) => {
            format!("{words}: no such command (/help lists them); begin with a space to say it")
        }
    };
    terminal.note(&note).map_err(Failure::Output)
}

/// Goes on with a thread, and shows what was said in it last.
pub(crate) async fn open<O: Write, E: Write>(
    thread: &Named,
    conversation: &mut Conversation,
    terminal: &mut Terminal<O, E>,
) -> Result<(), Failure> {
    let opened = conversation.open(thread).await?;
    if let Some(title) = &opened.title {
        terminal.note(title).map_err(Failure::Output)?;
    }
    for message in opened.items.iter().filter_map(message) {
        recall(&message, terminal).map_err(Failure::Output)?;
    }
    Ok(())
}

/// Gives the chat module a file for the next message.
pub(crate) async fn attach<O: Write, E: Write>(
    file: &Source,
    conversation: &mut Conversation,
    terminal: &mut Terminal<O, E>,
) -> Result<(), Failure> {
    let attachment = conversation.attach(file).await?;
    let note = format!("attached {} ({} bytes)", attachment.name, attachment.bytes);
    terminal.remark(&note).map_err(Failure::Output)
}

/// A number is that of the list last shown; without one, of the list as it is now.
async fn named(
    which: &str,
    conversation: &mut Conversation,
    listed: &mut Vec<ThreadSummary>,
) -> Result<Option<Named>, Failure> {
    let Ok(number) = which.parse::<usize>() else {
        return Ok(Some(Named::parse(which)));
    };
    if listed.is_empty() {
        *listed = threads::newest(conversation.server()).await?;
    }
    let index = number.checked_sub(1);
    let thread = index.and_then(|index| listed.get(index));
    Ok(thread.map(|thread| Named::Id(thread.id.clone())))
}

async fn models<O: Write, E: Write>(
    conversation: &mut Conversation,
    terminal: &mut Terminal<O, E>,
) -> Result<(), Failure> {
    let asked = match conversation.model() {
        Some(model) => format!("messages ask {model}"),
        None => "the chat module chooses the model; /model NAME asks another".to_owned(),
    };
    terminal.note(&asked).map_err(Failure::Output)?;
    for model in conversation.server().models().await? {
        let name = one_line(model["id"].as_str().unwrap_or_default());
        terminal
            .print(&format!("  {name}\n"))
            .map_err(Failure::Output)?;
    }
    Ok(())
}

fn help<O: Write, E: Write>(terminal: &mut Terminal<O, E>) -> std::io::Result<()> {
    for (usage, meaning) in COMMANDS {
        terminal.note(&format!("{usage:<14}{meaning}"))?;
    }
    terminal.note("Ctrl-C stops an answer")
}

fn list<O: Write, E: Write>(
    threads: &[ThreadSummary],
    current: Option<&str>,
    terminal: &mut Terminal<O, E>,
) -> std::io::Result<()> {
    if threads.is_empty() {
        return terminal.note("no threads yet");
    }
    for (index, thread) in threads.iter().enumerate() {
        let mark = match Some(thread.id.as_str()) == current {
            true => '*',
            false => ' ',
        };
        let day = thread.created_at.get(..10).unwrap_or(&thread.created_at);
        let title = one_line(thread.title.as_deref().unwrap_or(&thread.id));
        terminal.print(&format!("{mark}{:>3}  {day}  {title}\n", index + 1))?;
    }
    Ok(())
}

fn recall<O: Write, E: Write>(
    message: &Message,
    terminal: &mut Terminal<O, E>,
) -> std::io::Result<()> {
    match message {
        Message::OfUser(text) => terminal.note(&format!("> {text}")),
        Message::OfAssistant(text) => {
            terminal.say(text)?;
            terminal.end_line()
        }
        Message::Aside(text) => terminal.remark(text),
    }
}

#[cfg(test)]
mod tests;
