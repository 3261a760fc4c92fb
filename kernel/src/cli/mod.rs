//! The command line: one file per command.
//!
//! Reads arguments, dispatches, and turns what failed into one line and an exit code. No thread and no runtime exists before
//! `serve` has taken over, because it blocks signals first; client commands make a runtime of their own.

mod arguments;
mod bridge;
mod call;
mod completions;
mod documents;
mod events;
mod external;
mod failure;
mod keys;
mod log_level;
mod module;
mod output;
mod process;
mod progress;
mod receipt;
mod session;
mod status;
mod table;

use std::ffi::OsString;
use std::future::Future;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::Flags;
use crate::isolation::worker;
use crate::modules::trial;
use arguments::ClientArgs;
use failure::{EXIT_USAGE, Failure};
use midplane_client::Client;
use output::Output;

/// Sessions, secrets and modules on a private Unix socket
#[derive(Debug, Parser)]
#[command(name = "midplane", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the kernel
    Serve(Flags),
    /// Show how the kernel is and what it has loaded
    Status(ClientArgs),
    /// Issue, list, renew and revoke sessions
    #[command(subcommand)]
    Session(session::Command),
    /// List, load, reload and unload modules
    #[command(subcommand)]
    Module(module::Command),
    /// Send a request and print the answer as it comes
    Call(call::Arguments),
    /// Change the keys that tokens are signed with
    #[command(subcommand)]
    Keys(keys::Command),
    /// Show or set what the kernel logs
    LogLevel(log_level::Arguments),
    /// Print the OpenAPI document of the kernel, or of a module
    Openapi(documents::OpenapiArguments),
    /// Print the kernel's metrics (OpenMetrics)
    Metrics(ClientArgs),
    /// Print what happens in the kernel, as it happens
    Events(ClientArgs),
    /// Give a running kernel its secrets from here: asked for at this terminal, from variables or from commands
    Bridge(bridge::Arguments),
    /// Print the completions of a shell
    Completions(completions::Arguments),
    /// Open a library and end: how the kernel finds out whether it can be opened
    #[command(name = trial::COMMAND, hide = true)]
    Trial { path: PathBuf },
    /// Run one module in this process: how the kernel runs those with `isolation = "process"`
    #[command(name = worker::COMMAND, hide = true)]
    Worker,
    /// `midplane NAME` runs `midplane-NAME`
    #[command(external_subcommand)]
    External(Vec<OsString>),
}

pub(crate) fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Nobody may be reading; help and version come this way, too.
            let _ = error.print();
            let usage = error.use_stderr();
            return ExitCode::from(if usage { EXIT_USAGE } else { 0 });
        }
    };
    match dispatch(arguments.command) {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}

fn dispatch(command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Serve(flags) => return Ok(crate::serve_command(&flags)),
        Command::Trial { path } => return Ok(trial::child(&path)),
        Command::Worker => return Ok(worker::run()),
        Command::External(words) => return Err(external::run(&words)),
        Command::Completions(arguments) => completions::run(&arguments)?,
        Command::Status(args) => block_on(status::run(&args, &mut Output::of(&args)))?,
        Command::Session(command) => block_on(session::run(command))?,
        Command::Module(command) => block_on(module::run(command))?,
        // Blocks signals first, as `serve` does.
        Command::Bridge(arguments) => return bridge::run(&arguments),
        Command::Call(arguments) => return block_on(call::run(arguments)),
        Command::Keys(command) => block_on(keys::run(command))?,
        Command::LogLevel(arguments) => block_on(log_level::run(&arguments))?,
        Command::Openapi(arguments) => block_on(documents::openapi(&arguments))?,
        Command::Metrics(args) => block_on(documents::metrics(&args))?,
        Command::Events(args) => block_on(events::run(&args))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs a client command to its end, on this thread.
fn block_on<T>(command: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .map_err(Failure::Runtime)?;
    runtime.block_on(command)
}

#[cfg(test)]
mod tests;
