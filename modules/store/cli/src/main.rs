//! `midplane store`: export, import, back up and check what modules keep.
//!
//! Works on the file itself, also while kernels use it: the database's locks keep the processes apart. Asks no kernel.

mod arguments;
mod backup;
mod check;
mod export;
mod failure;
mod import;
mod interrupts;
mod stats;

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use crate::arguments::{Arguments, Command};
use crate::failure::Failure;

/// `EX_USAGE` of sysexits.h.
const WRONG_USAGE: u8 = 64;

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
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.is_closed_pipe() {
                let _ = writeln!(io::stderr(), "midplane-store: {failure}");
            }
            ExitCode::from(failure.exit_code())
        }
    }
}

fn run(arguments: Arguments) -> Result<(), Failure> {
    let file = arguments::file(arguments.file, arguments.data_dir, |name| {
        std::env::var_os(name)
    })?;
    let mut stdout = io::stdout().lock();
    match arguments.command {
        Command::Export { module } => export::run(&file, module.as_deref(), &mut stdout),
        Command::Import { from, merge } => import::run(&file, from.as_deref(), merge),
        Command::Backup { to } => backup::run(&file, &to),
        Command::Check => check::run(&file, &mut stdout),
        Command::Stats { json } => stats::run(&file, json, &mut stdout),
    }
}
