//! `midplane chat`: a conversation in the terminal, over the kernel's socket.
//!
//! Arguments -> conversation -> exit code. What is said goes through the chat module like anybody's: this program has no
//! way of its own to a model.

mod arguments;
mod conversation;
mod dialogue;
mod event;
mod failure;
mod interrupt;
#[expect(dead_code, reason = "wip")]
mod markdown;
mod prompt;
mod session;
mod terminal;
mod text;

#[cfg(test)]
mod mock;

use std::io::{self, IsTerminal, Read, Write};
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use crate::arguments::{Arguments, MAX_INPUT_BYTES, Task};
use crate::conversation::Conversation;
use crate::dialogue::Ended;
use crate::failure::Failure;
use crate::interrupt::Interrupts;
use crate::prompt::Prompt;
use crate::session::Access;
use crate::terminal::{Look, Terminal};

/// `EX_USAGE` of sysexits.h.
const WRONG_USAGE: u8 = 64;
/// What a shell reports of a program that SIGINT (2) ended: 128 and the signal.
const STOPPED: u8 = 130;

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // If it cannot be shown there is no one to show it to.
            let _ = error.print();
            return match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
                _ => ExitCode::from(WRONG_USAGE),
            };
        }
    };
    let look = Look::of_process(arguments.json);
    let mut terminal = Terminal::new(io::stdout(), io::stderr(), look);
    match run(arguments, look, &mut terminal) {
        Ok(Ended::Complete) => ExitCode::SUCCESS,
        Ok(Ended::Stopped) => ExitCode::from(STOPPED),
        Err(failure) => {
            if !failure.is_closed_pipe() {
                // Nothing more can be done for someone who cannot be told.
                let _ = terminal.error(&failure.to_string());
            }
            ExitCode::from(failure.exit_code())
        }
    }
}

fn run<O: Write, E: Write>(
    arguments: Arguments,
    look: Look,
    terminal: &mut Terminal<O, E>,
) -> Result<Ended, Failure> {
    let task = arguments::task(
        &arguments.words,
        piped().map_err(Failure::Input)?,
        arguments.json,
    )?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::Start)?;
    runtime.block_on(async {
        let mut interrupts = Interrupts::listen().map_err(Failure::Start)?;
        let mut conversation = Conversation::new(Access::new(
            arguments.socket,
            arguments.host_key_file,
            arguments.secret_key_id,
        ));
        let ended = match task {
            Task::Say(words) => {
                dialogue::one_turn(&words, &mut conversation, terminal, &mut interrupts).await
            }
            Task::Converse => {
                let prompt = Prompt::open(look.err_colours).map_err(Failure::Prompt)?;
                dialogue::at_prompt(prompt, &mut conversation, terminal, &mut interrupts)
                    .await
                    .map(|()| Ended::Complete)
            }
        };
        conversation.end().await;
        ended
    })
}

/// What is piped in, up to one byte more than may be said.
fn piped() -> io::Result<Option<Vec<u8>>> {
    let stdin = io::stdin();
    if stdin.is_terminal() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    stdin
        .lock()
        .take(MAX_INPUT_BYTES as u64 + 1)
        .read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}
