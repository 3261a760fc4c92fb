//! The prompt: reads a line with editing and history.
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

use crate::line::COMMANDS;

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
    fn commands_are_completed() {
        for (line, expected) in [
            ("/r", &["/retry"][..]),
            ("/t", &["/threads", "/title "]),
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
