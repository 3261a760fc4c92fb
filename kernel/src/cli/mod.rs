//! The command line: one file per command.

use std::process::ExitCode;

use clap::Parser;

use crate::config::Flags;

#[derive(Parser)]
#[command(name = "midplane", version)]
enum Command {
    Serve(Flags),
}

pub(crate) fn main() -> ExitCode {
    let Command::Serve(flags) = Command::parse();
    crate::serve(&flags)
}
