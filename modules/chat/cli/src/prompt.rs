//! The prompt: reads a line with editing and history, and says what it asks for.
//!
//! Talks to the terminal itself (`/dev/tty`), so that standard output holds answers only. History lives in memory: what
//! was said is the kernel's to keep, not a file's of ours.

use std::cell::Cell;

use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::MemHistory;
use rustyline::validate::Validator;
use rustyline::{Behavior, Config, Context, Editor, Helper};

/// What can be asked for besides an answer, and what it does.
pub(crate) const COMMANDS: &[(&str, &str)] = &[
    ("/help", "this list"),
    ("/new", "begin another thread"),
    ("/threads", "list the latest threads"),
    (
        "/open N",
        "go on with a thread, by its number in the list or its id",
    ),
    ("/retry", "answer the last message again"),
    ("/quit", "leave; so does Ctrl-D"),
];

/// A line, understood.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line<'a> {
    Nothing,
    Say(&'a str),
    Help,
    New,
    Threads,
    Open(&'a str),
    Retry,
    Quit,
    /// What looks like a command and is none, or has the wrong number of words.
    Unknown(&'a str),
}

/// Understands a line. A command stands at its very beginning: behind a space, or with a second slash (a path), it is
/// something to say.
pub(crate) fn understand(line: &str) -> Line<'_> {
    let words = line.trim();
    if words.is_empty() {
        return Line::Nothing;
    }
    let (command, rest) = line
        .split_once(char::is_whitespace)
        .map_or((line, ""), |(command, rest)| (command, rest.trim()));
    if !command.starts_with('/') || command[1..].contains('/') || command == "/" {
        return Line::Say(words);
    }
    match (command, rest) {
        ("/help", "") => Line::Help,
        ("/new", "") => Line::New,
        ("/threads", "") => Line::Threads,
        ("/open", thread) if !thread.is_empty() => Line::Open(thread),
        ("/retry", "") => Line::Retry,
        ("/quit" | "/exit", "") => Line::Quit,
        _ => Line::Unknown(words),
    }
}

/// What a person did at the prompt.
#[derive(Debug)]
pub(crate) enum Input {
    Line(String),
    /// Ctrl-C, and whether there was nothing on the line.
    Interrupted {
        was_empty: bool,
    },
    /// Ctrl-D.
    End,
}

pub(crate) struct Prompt {
    editor: Editor<Assistance, MemHistory>,
}

impl Prompt {
    pub(crate) fn open(colours: bool) -> Result<Prompt, ReadlineError> {
        let config = Config::builder()
            .behavior(Behavior::PreferTerm)
            .auto_add_history(true)
            .history_ignore_space(false)
            .build();
        let history = MemHistory::with_config(&config);
        let mut editor = Editor::with_history(config, history)?;
        editor.set_helper(Some(Assistance {
            colours,
            line_is_empty: Cell::new(true),
        }));
        Ok(Prompt { editor })
    }

    /// Waits for the person; blocks the thread.
    pub(crate) fn ask(&mut self) -> Result<Input, ReadlineError> {
        match self.editor.readline("> ") {
            Ok(line) => Ok(Input::Line(line)),
            Err(ReadlineError::Interrupted) => Ok(Input::Interrupted {
                was_empty: self
                    .editor
                    .helper()
                    .is_none_or(|assistance| assistance.line_is_empty.get()),
            }),
            Err(ReadlineError::Eof) => Ok(Input::End),
            Err(error) => Err(error),
        }
    }
}

/// Completes commands, and keeps what the editor does not say of an interrupted line.
struct Assistance {
    colours: bool,
    line_is_empty: Cell<bool>,
}

impl Helper for Assistance {}
impl Validator for Assistance {}

impl Highlighter for Assistance {
    fn highlight_hint<'h>(&self, hint: &'h str) -> std::borrow::Cow<'h, str> {
        match self.colours {
            true => format!("\x1b[2m{hint}\x1b[0m").into(),
            false => hint.into(),
        }
    }
}

impl Completer for Assistance {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        position: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        Ok((0, completions(&line[..position])))
    }
}

impl Hinter for Assistance {
    type Hint = String;

    /// Asked for after every change of the line, which makes it the place to see that it is empty.
    fn hint(&self, line: &str, position: usize, _: &Context<'_>) -> Option<String> {
        self.line_is_empty.set(line.is_empty());
        // Without colours a hint looks like something that was typed.
        if !self.colours || position < line.len() {
            return None;
        }
        match completions(line).as_slice() {
            [only] => only.strip_prefix(line).map(str::to_owned),
            _ => None,
        }
    }
}

/// The commands that the line begins to spell.
fn completions(line: &str) -> Vec<String> {
    if !line.starts_with('/') {
        return Vec::new();
    }
    let names = COMMANDS
        .iter()
        .map(|(usage, _)| match usage.split_once(' ') {
            Some((name, _)) => format!("{name} "),
            None => (*usage).to_owned(),
        });
    names.filter(|name| name.starts_with(line)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_command_or_words() {
        for (line, expected) in [
            ("", Line::Nothing),
            (" \t", Line::Nothing),
            ("hello there ", Line::Say("hello there")),
            ("/help", Line::Help),
            ("/help ", Line::Help),
            ("/new", Line::New),
            ("/threads", Line::Threads),
            ("/open 3", Line::Open("3")),
            ("/open  thr_1 ", Line::Open("thr_1")),
            ("/open", Line::Unknown("/open")),
            ("/retry", Line::Retry),
            ("/quit", Line::Quit),
            ("/exit", Line::Quit),
            ("/new thing", Line::Unknown("/new thing")),
            ("/explode", Line::Unknown("/explode")),
            (" /new", Line::Say("/new")),
            ("/", Line::Say("/")),
            ("//new", Line::Say("//new")),
            ("/etc/hosts says?", Line::Say("/etc/hosts says?")),
            ("/é", Line::Unknown("/é")),
        ] {
            assert_eq!(understand(line), expected, "{line:?}");
        }
    }

    #[test]
    fn every_command_in_the_list_is_understood() {
        for (usage, _) in COMMANDS {
            let line = understand(usage);
            assert!(!matches!(line, Line::Unknown(_) | Line::Say(_)), "{usage}");
        }
    }

    #[test]
    fn commands_are_completed() {
        for (line, expected) in [
            ("/r", &["/retry"][..]),
            ("/o", &["/open "]),
            ("/open 3", &[]),
            ("/x", &[]),
            ("r", &[]),
            ("", &[]),
        ] {
            assert_eq!(completions(line), expected, "{line:?}");
        }
        assert_eq!(completions("/").len(), COMMANDS.len());
    }
}
