//! Standard output: data and nothing else, readable or as JSON.

use std::io::{self, IsTerminal, Write};

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::arguments::ClientArgs;
use super::failure::Failure;

pub(super) struct Output {
    to: Box<dyn Write>,
    json: bool,
    terminal: bool,
    colour: bool,
}

impl Output {
    pub(super) fn of(args: &ClientArgs) -> Output {
        let terminal = io::stdout().is_terminal();
        // https://no-color.org: set and not empty.
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Output {
            to: Box::new(io::stdout()),
            json: args.json,
            terminal,
            colour: terminal && !no_colour,
        }
    }

    pub(super) fn colour(&self) -> bool {
        self.colour
    }

    pub(super) fn json(&self) -> bool {
        self.json
    }

    /// The answer as it came with `--json`, else as `readable` says it.
    pub(super) fn show<T: DeserializeOwned>(
        &mut self,
        answer: &Value,
        readable: impl FnOnce(T) -> String,
    ) -> Result<(), Failure> {
        if self.json {
            return self.value(answer);
        }
        let view = T::deserialize(answer).map_err(|error| {
            Failure::Refused(format!(
                "the kernel's answer has another form than this command knows ({error}); see it with --json"
            ))
        })?;
        self.text(&readable(view))
    }

    /// JSON: indented for a person, one line for a program.
    pub(super) fn value(&mut self, value: &Value) -> Result<(), Failure> {
        if self.terminal {
            self.text(&format!("{value:#}\n"))
        } else {
            self.text(&format!("{value}\n"))
        }
    }

    pub(super) fn text(&mut self, text: &str) -> Result<(), Failure> {
        self.bytes(text.as_bytes())
    }

    /// Written through at once: what streams is read while it comes.
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let written = self.to.write_all(bytes).and_then(|()| self.to.flush());
        written.map_err(Failure::Output)
    }
}

/// A remark for the person, on standard error.
pub(super) fn remark(text: &str) {
    // In one piece: lines of several programs may meet there.
    let _ = io::stderr().write_all(format!("midplane: {text}\n").as_bytes());
}
