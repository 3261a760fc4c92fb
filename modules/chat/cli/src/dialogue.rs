//! What a run of the program is: one turn, or turns at a prompt until the person leaves.

use std::io::Write;

use crate::conversation::{Conversation, Message, ThreadSummary};
use crate::failure::Failure;
use crate::interrupt::Interrupts;
use crate::prompt::{COMMANDS, Input, Line, Prompt, understand};
use crate::terminal::Terminal;

/// How a turn ended that did not fail.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Complete,
    /// By the person.
    Stopped,
}

/// Says the words and shows the answer.
pub(crate) async fn one_turn<O: Write, E: Write>(
    words: &str,
    conversation: &mut Conversation,
    terminal: &mut Terminal<O, E>,
    interrupts: &mut Interrupts,
) -> Result<Ended, Failure> {
    let turn = interrupts.stops(conversation.say(words, terminal)).await;
    end(turn, terminal)
}

/// Asks, and does what is asked, until the person leaves. What fails is said, and does not end it.
pub(crate) async fn at_prompt<O: Write, E: Write>(
    mut prompt: Prompt,
    conversation: &mut Conversation,
    terminal: &mut Terminal<O, E>,
    interrupts: &mut Interrupts,
) -> Result<(), Failure> {
    terminal
        .note("/help lists the commands, Ctrl-D leaves")
        .map_err(Failure::Output)?;
    let mut listed = Vec::new();
    loop {
        // On a thread of its own: the connection to the kernel is looked after while a person thinks.
        let (input, same) = tokio::task::spawn_blocking(move || (prompt.ask(), prompt))
            .await
            .expect("the prompt does not panic, and nothing aborts it");
        prompt = same;
        let done = match input.map_err(Failure::Prompt)? {
            Input::End => return Ok(()),
            Input::Interrupted { was_empty: false } => continue,
            Input::Interrupted { was_empty: true } => terminal
                .note("Ctrl-D or /quit leaves")
                .map_err(Failure::Output),
            Input::Line(line) => match understand(&line) {
                Line::Quit => return Ok(()),
                line => {
                    let work = follow(line, conversation, terminal, &mut listed);
                    let ended = interrupts.stops(work).await;
                    end(ended, terminal).map(drop)
                }
            },
        };
        match done {
            Ok(()) => {}
            Err(failure @ (Failure::Output(_) | Failure::Prompt(_))) => return Err(failure),
            Err(failure) => tell(&failure, terminal).map_err(Failure::Output)?,
        }
    }
}

/// Leaves the terminal at the beginning of a line, and says that a turn was stopped.
fn end<O: Write, E: Write>(
    turn: Option<Result<(), Failure>>,
    terminal: &mut Terminal<O, E>,
) -> Result<Ended, Failure> {
    if !matches!(&turn, Some(Err(Failure::Output(_)))) {
        terminal.end_line().map_err(Failure::Output)?;
    }
    match turn {
        Some(result) => result.map(|()| Ended::Complete),
        None => {
            terminal.note("stopped").map_err(Failure::Output)?;
            Ok(Ended::Stopped)
        }
    }
}

async fn follow<O: Write, E: Write>(
    line: Line<'_>,
    conversation: &mut Conversation,
    terminal: &mut Terminal<O, E>,
    listed: &mut Vec<ThreadSummary>,
) -> Result<(), Failure> {
    match line {
        Line::Nothing | Line::Quit => {}
        Line::Say(words) => conversation.say(words, terminal).await?,
        Line::Retry => {
            if !conversation.retry(terminal).await? {
                terminal
                    .note("there is no message to answer again yet")
                    .map_err(Failure::Output)?;
            }
        }
        Line::New => {
            conversation.leave_thread();
            terminal
                .note("the next message begins another thread")
                .map_err(Failure::Output)?;
        }
        Line::Help => help(terminal).map_err(Failure::Output)?,
        Line::Threads => {
            *listed = conversation.threads().await?;
            list(listed, conversation.thread(), terminal).map_err(Failure::Output)?;
        }
        Line::Open(which) => {
            let Some(id) = thread_id(which, conversation, listed).await? else {
                let note = format!("there is no thread {which}: /threads lists them");
                return terminal.note(&note).map_err(Failure::Output);
            };
            let (title, messages) = conversation.open(&id).await?;
            recall(title.as_deref(), &messages, terminal).map_err(Failure::Output)?;
        }
        Line::Unknown(words) => terminal
            .note(&format!(
                "{words}: no such command (/help lists them); begin with a space to say it"
            ))
            .map_err(Failure::Output)?,
    }
    Ok(())
}

/// A number is that of the list last shown; without one, of the list as it is now.
async fn thread_id(
    which: &str,
    conversation: &mut Conversation,
    listed: &mut Vec<ThreadSummary>,
) -> Result<Option<String>, Failure> {
    let Ok(number) = which.parse::<usize>() else {
        return Ok(Some(which.to_owned()));
    };
    if listed.is_empty() {
        *listed = conversation.threads().await?;
    }
    let index = number.checked_sub(1);
    Ok(index
        .and_then(|index| listed.get(index))
        .map(|thread| thread.id.clone()))
}

fn help<O: Write, E: Write>(terminal: &mut Terminal<O, E>) -> std::io::Result<()> {
    for (usage, meaning) in COMMANDS {
        terminal.note(&format!("{usage:<10}{meaning}"))?;
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
        let mark = if Some(thread.id.as_str()) == current {
            '*'
        } else {
            ' '
        };
        let day = thread.created_at.get(..10).unwrap_or(&thread.created_at);
        let title = thread.title.as_deref().unwrap_or(&thread.id);
        // A title is one line, whatever it holds.
        let title = title.split_whitespace().collect::<Vec<_>>().join(" ");
        terminal.say(&format!("{mark}{:>3}  {day}  {title}\n", index + 1))?;
    }
    Ok(())
}

fn recall<O: Write, E: Write>(
    title: Option<&str>,
    messages: &[Message],
    terminal: &mut Terminal<O, E>,
) -> std::io::Result<()> {
    if let Some(title) = title {
        terminal.note(title)?;
    }
    for message in messages {
        match message {
            Message::OfUser(text) => terminal.note(&format!("> {text}"))?,
            Message::OfAssistant(text) => {
                terminal.say(text)?;
                terminal.end_line()?;
            }
        }
    }
    Ok(())
}

fn tell<O: Write, E: Write>(
    failure: &Failure,
    terminal: &mut Terminal<O, E>,
) -> std::io::Result<()> {
    terminal.error(&failure.to_string())?;
    match failure {
        Failure::Turn {
            allow_retry: true, ..
        }
        | Failure::NoAnswer
        | Failure::NoKernel { .. }
        | Failure::Exchange(_) => terminal.note("/retry tries again"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
