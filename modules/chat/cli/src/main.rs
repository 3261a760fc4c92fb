//! `midplane chat`: a conversation in the terminal, over the kernel's socket.
//!
//! Arguments -> task -> exit code. What is said goes through the chat module like anybody's: this program has no way of
//! its own to a model.
//!
//! | file | concern |
//! |---|---|
//! | `arguments`, `task` | what may be asked for on the command line, and what it comes to |
//! | `dialogue`, `command`, `listing` | a run: turns, what a line at the prompt asks for, what is no conversation |
//! | `prompt`, `line`, `interrupt` | the person: a line and what it means, Ctrl-C |
//! | `conversation`, `threads`, `attachment` | requests, and what is kept between them |
//! | `server`, `session` | one request and its answer; the token it is made with |
//! | `event`, `message` | what events and stored items mean |
//! | `terminal`, `markdown`, `look`, `text`, `ago` | how things look |

mod ago;
mod arguments;
mod attachment;
mod command;
mod conversation;
mod dialogue;
mod event;
mod failure;
mod interrupt;
mod line;
mod listing;
mod look;
mod markdown;
mod message;
mod prompt;
mod server;
mod session;
mod task;
mod terminal;
mod text;
mod threads;

#[cfg(test)]
mod mock;

use std::io::{self, IsTerminal, Read, Write};
use std::process::ExitCode;
use std::time::SystemTime;

use clap::Parser;
use clap::error::ErrorKind;

use crate::arguments::Arguments;
use crate::conversation::Conversation;
use crate::dialogue::{Ended, Opening};
use crate::failure::Failure;
use crate::interrupt::Interrupts;
use crate::look::Look;
use crate::prompt::Prompt;
use crate::server::Server;
use crate::session::{Access, Wanted};
use crate::task::Task;
use crate::terminal::Terminal;

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
    let look = Look::of_process(arguments.json, arguments.plain);
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
    let task = task::task(&arguments, piped).map_err(Failure::Input)??;
    let instructions = arguments.instructions.as_deref().map(task::instructions);
    let wanted = Wanted {
        instructions: instructions.transpose()?,
        socket: arguments.socket,
        host_key_file: arguments.host_key_file,
        secret_key_id: arguments.secret_key_id,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::Start)?;
    runtime.block_on(async {
        let mut interrupts = Interrupts::listen().map_err(Failure::Start)?;
        let server = Server::new(Access::new(wanted));
        let mut conversation = Conversation::new(server, arguments.model);
        let ended = perform(task, look, &mut conversation, terminal, &mut interrupts).await;
        conversation.end().await;
        ended
    })
}

async fn perform<O: Write, E: Write>(
    task: Task,
    look: Look,
    conversation: &mut Conversation,
    terminal: &mut Terminal<O, E>,
    interrupts: &mut Interrupts,
) -> Result<Ended, Failure> {
    match task {
        Task::Say {
            words,
            files,
            thread,
        } => {
            let opening = Opening { thread, files };
            dialogue::one_turn(&words, &opening, conversation, terminal, interrupts).await
        }
        Task::Converse { files, thread } => {
            let opening = Opening { thread, files };
            let prompt = Prompt::open(look.err_colours).map_err(Failure::Prompt)?;
            dialogue::at_prompt(prompt, &opening, conversation, terminal, interrupts)
                .await
                .map(|()| Ended::Complete)
        }
        Task::Inquire(inquiry) => {
            let server = conversation.server();
            let answer = listing::answer(&inquiry, SystemTime::now(), look, server, terminal);
            let done = interrupts.stops(answer).await;
            dialogue::end(done, terminal)
        }
    }
}

/// What is piped in, up to so many bytes; nothing where the input is a terminal.
fn piped(bytes_max: usize) -> io::Result<Option<Vec<u8>>> {
    let stdin = io::stdin();
    if stdin.is_terminal() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    stdin
        .lock()
        .take(bytes_max as u64)
        .read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}
