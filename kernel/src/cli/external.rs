//! `midplane NAME` runs `midplane-NAME`, as git finds its commands.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use clap::CommandFactory;

use super::Failure;

/// Below this, two names have too little in common to be taken for each other.
const SIMILARITY_MIN: f64 = 0.75;

/// Becomes the command: beside this program, else on PATH. Returns only if it cannot.
pub(super) fn run(words: &[OsString]) -> Failure {
    let (name, arguments) = words.split_first().expect("clap names the command");
    // A path would leave the two places where commands are looked for.
    if !is_command_name(name) {
        return unknown(name);
    }
    let mut file = OsString::from("midplane-");
    file.push(name);
    let program = beside(&file).unwrap_or_else(|| PathBuf::from(&file));
    let error = Command::new(&program).args(arguments).exec();
    if error.kind() == io::ErrorKind::NotFound {
        return unknown(name);
    }
    Failure::Refused(format!("cannot run {}: {error}", program.display()))
}

fn is_command_name(name: &OsStr) -> bool {
    let bytes = name.as_encoded_bytes();
    !bytes.is_empty() && !bytes.contains(&b'/') && !bytes.starts_with(b"-")
}

fn beside(file: &OsStr) -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?.with_file_name(file);
    program.is_file().then_some(program)
}

fn unknown(name: &OsStr) -> Failure {
    let name = name.to_string_lossy();
    let hint = nearest(&name).map_or_else(
        || "see `midplane --help`".to_owned(),
        |near| format!("did you mean `midplane {near}`?"),
    );
    Failure::Usage(format!("there is no command {name:?}; {hint}"))
}

pub(super) fn nearest(name: &str) -> Option<String> {
    super::Arguments::command()
        .get_subcommands()
        .map(|command| {
            (
                strsim::jaro_winkler(name, command.get_name()),
                command.get_name(),
            )
        })
        .filter(|(similarity, _)| *similarity >= SIMILARITY_MIN)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, near)| near.to_owned())
}
