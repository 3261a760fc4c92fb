//! What a run of the program is: one turn, or turns at a prompt until the person leaves.

use std::io::Write;

use crate::command::{self, follow};
use crate::conversation::Conversation;
use crate::failure::Failure;
use crate::interrupt::Interrupts;
use crate::line::{Line, understand};
use crate::prompt::{Input, Prompt};
use crate::task::{Named, Source};
use crate::terminal::Terminal;

/// How a turn ended that did not fail.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Complete,
    /// By the person.
    Stopped,
}

/// What a conversation begins with.
pub(crate) struct Opening {
    pub(crate) thread: Option<Named>,
    pub(crate) files: Vec<Source>,
}

/// Says the words and shows the answer.
pub(crate) async fn one_turn<O: Write, E: Write>(
    words: &str,
    opening: &Opening,
    conversation: &mut Conversation,
    terminal: &mut Terminal<O, E>,
    interrupts: &mut Interrupts,
) -> Result<Ended, Failure> {
    let turn = interrupts.stops(async {
        if let Some(thread) = &opening.thread {
            conversation.go_on(thread).await?;
        }
        for file in &opening.files {
            command::attach(file, conversation, terminal).await?;
        }
        conversation.say(words, terminal).await
    });
    let turn = turn.await;
    end(turn, terminal)
}

/// Asks, and does what is asked, until the person leaves. What fails is said, and does not end it.
pub(crate) async fn at_prompt<O: Write, E: Write>(
    mut prompt: Prompt,
    opening: &Opening,
    conversation: &mut Conversation,
    terminal: &mut Terminal<O, E>,
    interrupts: &mut Interrupts,
) -> Result<(), Failure> {
    let opened = interrupts.stops(async {
        if let Some(thread) = &opening.thread {
            command::open(thread, conversation, terminal).await?;
        }
        for file in &opening.files {
            command::attach(file, conversation, terminal).await?;
        }
        Ok(())
    });
    let opened = opened.await;
    // What was asked for cannot be had: better to leave than to go on with something else.
    if end(opened, terminal)? == Ended::Stopped {
        return Ok(());
    }
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
pub(crate) fn end<O: Write, E: Write>(
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
