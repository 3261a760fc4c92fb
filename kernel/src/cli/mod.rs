//! The command line: noun, then verb; one file per command.
//!
//! Data goes to standard output, everything else to standard error. Exit codes: 0 done, 1 refused, 64 usage or
//! configuration, 69 no kernel, 70 internal, 73 the socket cannot be created, 75 a kernel runs there already.

mod call;
mod completions;
mod connection;
mod documents;
mod external;
mod failure;
mod keys;
mod log_level;
mod module;
mod output;
mod session;
mod status;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::Flags;
use failure::EXIT_USAGE;

/// The local backend of an editor extension: sessions, secrets and modules on a private Unix socket.
#[derive(Parser)]
#[command(name = "midplane", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the kernel in the foreground
    Serve(Flags),
    /// Tell whether a kernel runs, and what it has loaded
    Status(status::Arguments),
    /// Issue, list, renew and revoke sessions
    #[command(subcommand)]
    Session(session::Command),
    /// List, load, reload and unload modules
    #[command(subcommand)]
    Module(module::Command),
    /// Send one request and stream its answer
    Call(call::Arguments),
    /// Signing keys
    #[command(subcommand)]
    Keys(keys::Command),
    /// Show or set what the kernel logs
    LogLevel(log_level::Arguments),
    /// Print the API's OpenAPI document
    Openapi(documents::Arguments),
    /// Print the kernel's metrics (OpenMetrics)
    Metrics(documents::Arguments),
    /// Print what happens in the kernel, as it happens
    Events(documents::Arguments),
    /// Print shell completions
    Completions(completions::Arguments),
    /// Any other word runs `midplane-<word>`, found beside this program or on PATH
    #[command(external_subcommand)]
    External(Vec<OsString>),
}

/// Starts no thread before `serve`, which blocks signals first.
pub(crate) fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // A closed pipe is the reader's choice.
            let _ = error.print();
            return if error.use_stderr() {
                ExitCode::from(EXIT_USAGE)
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    let outcome = match arguments.command {
        Command::Serve(flags) => return crate::serve(&flags),
        Command::Completions(arguments) => completions::run(&arguments),
        Command::External(words) => external::run(&words),
        Command::Status(arguments) => connection::run(status::run(&arguments)),
        Command::Session(command) => connection::run(session::run(&command)),
        Command::Module(command) => connection::run(module::run(&command)),
        Command::Call(arguments) => connection::run(call::run(&arguments)),
        Command::Keys(command) => connection::run(keys::run(&command)),
        Command::LogLevel(arguments) => connection::run(log_level::run(&arguments)),
        Command::Openapi(arguments) => connection::run(documents::openapi(&arguments)),
        Command::Metrics(arguments) => connection::run(documents::metrics(&arguments)),
        Command::Events(arguments) => connection::run(documents::events(&arguments)),
    };
    match outcome {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn other_words_are_external_commands() {
        let parsed =
            Arguments::try_parse_from(["midplane", "frobnicate", "--hard", "now"]).unwrap();
        match parsed.command {
            Command::External(words) => assert_eq!(words, ["frobnicate", "--hard", "now"]),
            _ => panic!("`frobnicate` was taken for a command of ours"),
        }
    }
}
