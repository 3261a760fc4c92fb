//! `midplane completions SHELL`.

use clap::CommandFactory;

use super::arguments::ClientArgs;
use super::{Failure, Output};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    shell: clap_complete::Shell,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut script = Vec::new();
    let mut command = super::Arguments::command();
    clap_complete::generate(arguments.shell, &mut command, "midplane", &mut script);
    Output::of(&ClientArgs::default()).bytes(&script)
}
