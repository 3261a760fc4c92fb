//! Shows a conversation: the answer on standard output, everything else on standard error.
//!
//! Decides how things look, not what is said. A terminal gets answers as markdown, or as they are, in either case without
//! control characters: an escape sequence in an answer must not act on the reader's terminal. A file or a program gets
//! them as they are.

use std::borrow::Cow;
use std::collections::HashSet;
use std::io::{self, Write};

use crate::event::Action;
use crate::look::Look;
use crate::markdown::Stream;
use crate::text::{harmless, one_line};

/// A line of progress must not wrap, or it could not be wiped; 80 columns less a margin.
const PROGRESS_CHARS_MAX: usize = 72;

const DIM: &str = "\x1b[2m";
const RED: &str = "\x1b[31m";
const PLAIN: &str = "\x1b[0m";
const WIPE_LINE: &str = "\r\x1b[K";

pub(crate) struct Terminal<O, E> {
    out: O,
    err: E,
    look: Look,
    /// How answers are shown where that is as markdown.
    markdown: Option<Stream>,
    /// Where the answer's last character left the cursor of standard output.
    is_mid_line: bool,
    shows_progress: bool,
    noted: HashSet<String>,
}

impl<O: Write, E: Write> Terminal<O, E> {
    pub(crate) fn new(out: O, err: E, look: Look) -> Terminal<O, E> {
        Terminal {
            out,
            err,
            markdown: look.out_moves.then(|| Stream::new(look.out_colours)),
            look,
            is_mid_line: false,
            shows_progress: false,
            noted: HashSet::new(),
        }
    }

    /// An event as it came, for programs.
    pub(crate) fn event(&mut self, data: &str) -> io::Result<()> {
        if self.look.raw {
            // The format joins an event's lines by line feeds, which JSON takes for white space.
            writeln!(self.out, "{}", data.replace('\n', " "))?;
            self.out.flush()?;
        }
        Ok(())
    }

    /// What an event means, for people.
    pub(crate) fn show(&mut self, action: &Action) -> io::Result<()> {
        if self.look.raw {
            return Ok(());
        }
        match action {
            Action::Say(text) => self.say(text),
            Action::Answered => self.end_line(),
            Action::Progress(text) => {
                self.progress(text);
                Ok(())
            }
            // The same every turn (no model answers here …): once is enough.
            Action::Note(text) if self.noted.insert(text.clone()) => self.note(text),
            Action::Aside(text) => self.remark(text),
            Action::Note(_)
            | Action::Thread { .. }
            | Action::Asked { .. }
            | Action::Fail { .. } => Ok(()),
        }
    }

    /// More of the answer.
    pub(crate) fn say(&mut self, text: &str) -> io::Result<()> {
        self.wipe_progress();
        let columns = self.look.columns();
        self.draw(|markdown, out| markdown.push(&harmless(text), columns, out))?;
        if self.markdown.is_none() {
            self.print(text)?;
        }
        Ok(())
    }

    /// Something that is printed as it is: what a list holds.
    pub(crate) fn print(&mut self, text: &str) -> io::Result<()> {
        self.wipe_progress();
        let text = match self.look.out_is_terminal {
            true => harmless(text),
            false => Cow::Borrowed(text),
        };
        if let Some(last) = text.bytes().last() {
            self.is_mid_line = last != b'\n';
        }
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }

    /// What the user said earlier.
    pub(crate) fn quote(&mut self, text: &str) -> io::Result<()> {
        let quoted: String = text.lines().map(|line| format!("> {line}\n")).collect();
        let quoted = match self.look.out_is_terminal {
            true => harmless(&quoted),
            false => Cow::Borrowed(quoted.as_str()),
        };
        self.end_line()?;
        match self.look.out_colours {
            true => write!(self.out, "{DIM}{quoted}{PLAIN}")?,
            false => write!(self.out, "{quoted}")?,
        }
        self.out.flush()
    }

    /// Lets what comes next begin on a line of its own; what is said next is another answer.
    pub(crate) fn end_line(&mut self) -> io::Result<()> {
        self.wipe_progress();
        self.draw(Stream::finish)?;
        if std::mem::take(&mut self.is_mid_line) {
            self.out.write_all(b"\n")?;
            self.out.flush()?;
        }
        Ok(())
    }

    /// Something beside the answer.
    pub(crate) fn note(&mut self, text: &str) -> io::Result<()> {
        self.aside(DIM, text)
    }

    /// Something for someone who watches; a file has no use for it.
    pub(crate) fn remark(&mut self, text: &str) -> io::Result<()> {
        match self.look.err_moves {
            true => self.note(text),
            false => Ok(()),
        }
    }

    /// What went wrong.
    pub(crate) fn error(&mut self, text: &str) -> io::Result<()> {
        self.aside(RED, &format!("midplane-chat: {text}"))
    }

    fn aside(&mut self, colour: &str, text: &str) -> io::Result<()> {
        self.wipe_progress();
        // In a file the answer goes on where it was; on a terminal the two would run into each other.
        match self.markdown {
            Some(_) => self.draw(Stream::hide)?,
            None if self.look.out_is_terminal => self.end_line()?,
            None => {}
        }
        let text = match self.look.err_moves {
            true => harmless(text),
            false => Cow::Borrowed(text),
        };
        // A standard error that nobody reads must not end the answer.
        let _ = match self.look.err_colours {
            true => writeln!(self.err, "{colour}{text}{PLAIN}"),
            false => writeln!(self.err, "{text}"),
        };
        Ok(())
    }

    fn progress(&mut self, text: &str) {
        let is_mid_line =
            self.is_mid_line || self.markdown.as_ref().is_some_and(Stream::is_mid_line);
        if !self.look.err_moves || (self.look.out_is_terminal && is_mid_line) {
            return;
        }
        let text: String = one_line(text).chars().take(PROGRESS_CHARS_MAX).collect();
        let (colour, plain) = match self.look.err_colours {
            true => (DIM, PLAIN),
            false => ("", ""),
        };
        let _ = write!(self.err, "{WIPE_LINE}{colour}{text}{plain}");
        let _ = self.err.flush();
        self.shows_progress = true;
    }

    /// Writes what the markdown asks for.
    fn draw(&mut self, act: impl FnOnce(&mut Stream, &mut String)) -> io::Result<()> {
        let Some(markdown) = &mut self.markdown else {
            return Ok(());
        };
        let mut out = String::new();
        act(markdown, &mut out);
        if out.is_empty() {
            return Ok(());
        }
        self.out.write_all(out.as_bytes())?;
        self.out.flush()
    }

    fn wipe_progress(&mut self) {
        if std::mem::take(&mut self.shows_progress) {
            let _ = write!(self.err, "{WIPE_LINE}");
            let _ = self.err.flush();
        }
    }
}

#[cfg(test)]
impl<O, E> Terminal<O, E> {
    pub(crate) fn into_outputs(self) -> (O, E) {
        (self.out, self.err)
    }
}

#[cfg(test)]
impl Terminal<Vec<u8>, Vec<u8>> {
    /// What was written to standard output and standard error.
    pub(crate) fn written(&self) -> (&str, &str) {
        let text = |bytes| std::str::from_utf8(bytes).expect("text");
        (text(&self.out), text(&self.err))
    }
}

#[cfg(test)]
mod tests;
