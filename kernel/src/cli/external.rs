//! `midplane WORD …` for any other word: runs `midplane-WORD`, as git does, so that a module brings commands of its own
//! without the kernel knowing it.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use clap::CommandFactory as _;

use super::failure::Failure;

/// Words more different than this are no slip of the fingers (as git's own threshold, roughly).
const LIKENESS_MIN: f64 = 0.75;

pub(super) fn run(words: &[OsString]) -> Result<ExitCode, Failure> {
    let (word, rest) = words.split_first().expect("clap gives the word first");
    let mut name = OsString::from("midplane-");
    name.push(word);
    let Some(program) = find(&name) else {
        return Err(Failure::Usage(unknown(word)));
    };
    // Only returns when it failed.
    Err(Failure::Start(Command::new(program).args(rest).exec()))
}

/// Beside this program, else on PATH.
fn find(name: &OsStr) -> Option<PathBuf> {
    // A word with a slash would leave the directories that are meant.
    if name.as_encoded_bytes().contains(&b'/') {
        return None;
    }
    let beside = std::env::current_exe()
        .ok()
        .and_then(|exe| Some(exe.parent()?.to_owned()));
    let path = std::env::var_os("PATH").unwrap_or_default();
    beside
        .into_iter()
        .chain(std::env::split_paths(&path))
        .map(|dir| dir.join(name))
        .find(|file| file.is_file())
}

fn unknown(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let command = super::Arguments::command();
    let known = command.get_subcommands().map(clap::Command::get_name);
    let nearest = known
        .map(|name| (strsim::jaro_winkler(name, &word), name))
        .max_by(|a, b| a.0.total_cmp(&b.0));
    match nearest {
        Some((likeness, name)) if likeness >= LIKENESS_MIN => {
            format!(
                "there is no command `{word}`, and no program midplane-{word}; did you mean `{name}`?"
            )
        }
        _ => format!(
            "there is no command `{word}`, and no program midplane-{word} beside this one or on PATH; see `midplane help`"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_told_from_other_words() {
        assert!(unknown(OsStr::new("statsu")).contains("did you mean `status`?"));
        assert!(unknown(OsStr::new("zzz")).contains("midplane help"));
    }

    #[test]
    fn a_word_with_a_slash_names_nothing() {
        assert_eq!(find(OsStr::new("midplane-../../bin/sh")), None);
    }
}
