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
mod tests {
    use super::*;

    const ALL: Look = Look {
        out_is_terminal: true,
        out_moves: false,
        out_colours: false,
        err_moves: true,
        err_colours: true,
        raw: false,
    };

    /// What the actions leave on standard output and standard error.
    fn shown(look: Look, actions: &[Action]) -> (String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut terminal = Terminal::new(&mut out, &mut err, look);
        for action in actions {
            terminal.show(action).unwrap();
        }
        (
            String::from_utf8(out).unwrap(),
            String::from_utf8(err).unwrap(),
        )
    }

    fn say(text: &str) -> Action {
        Action::Say(text.to_owned())
    }

    fn note(text: &str) -> Action {
        Action::Note(text.to_owned())
    }

    #[test]
    fn answer_and_asides_do_not_mix() {
        let turn = [
            note("echo"),
            Action::Progress("thinking".to_owned()),
            say("a"),
            note("a tool"),
            note("echo"),
            say("b"),
            Action::Answered,
            Action::Answered,
        ];
        let check = |look, out: &str, err: &str| {
            assert_eq!(shown(look, &turn), (out.to_owned(), err.to_owned()));
        };
        check(Look::default(), "ab\n", "echo\na tool\n");
        check(
            ALL,
            "a\nb\n",
            "\x1b[2mecho\x1b[0m\n\r\x1b[K\x1b[2mthinking\x1b[0m\r\x1b[K\x1b[2ma tool\x1b[0m\n",
        );
        let no_colour = Look {
            err_colours: false,
            ..ALL
        };
        check(
            no_colour,
            "a\nb\n",
            "echo\n\r\x1b[Kthinking\r\x1b[Ka tool\n",
        );
        let raw = Look {
            raw: true,
            ..Look::default()
        };
        check(raw, "", "");
    }

    #[test]
    fn a_terminal_is_not_written_to_by_an_answer() {
        let text = "\x1b]52;c;aGk=\x07a\r\u{9b}2Jb\u{202e}c\td\n";
        let (out, _) = shown(ALL, &[say(text)]);
        assert_eq!(out, "]52;c;aGk=a2Jbc\td\n");
        let (_, err) = shown(ALL, &[note("\x1b[2Jx")]);
        assert_eq!(err, "\x1b[2m[2Jx\x1b[0m\n");
        // A file gets what was said.
        let (out, _) = shown(Look::default(), &[say(text)]);
        assert_eq!(out, text);
    }

    #[test]
    fn markdown_is_shown_where_it_can_be() {
        let markdown = Look {
            out_moves: true,
            out_colours: true,
            ..ALL
        };
        let turn = [
            say("# Te"),
            say("a\n\n**gre"),
            note("a tool"),
            Action::Progress("looking".to_owned()),
            say("en**"),
            Action::Answered,
            say("\n\nmore"),
            Action::Answered,
        ];
        let (out, err) = shown(markdown, &turn);
        let heading = "\x1b[0;1;4mTe\x1b[0m\x1b[0;1;4ma\x1b[0m\n\n";
        assert_eq!(
            out,
            format!("{heading}**gre\r\x1b[K\x1b[0;1mgreen\x1b[0m\n\nmore\n")
        );
        assert_eq!(
            err,
            "\x1b[2ma tool\x1b[0m\n\r\x1b[K\x1b[2mlooking\x1b[0m\r\x1b[K"
        );
        // A file gets the words, to the byte.
        let (out, _) = shown(Look::default(), &turn);
        assert_eq!(out, "# Tea\n\n**green**\n\n\nmore\n");
    }

    #[test]
    fn remarks_are_for_someone_who_watches() {
        let remark = [Action::Aside("thought for 3 s".to_owned())];
        assert_eq!(shown(ALL, &remark).1, "\x1b[2mthought for 3 s\x1b[0m\n");
        assert_eq!(shown(Look::default(), &remark).1, "");
    }

    #[test]
    fn what_the_user_said_is_quoted() {
        let quoted = |look| {
            let mut out = Vec::new();
            Terminal::new(&mut out, Vec::new(), look)
                .quote("a\x1b[2J\nb")
                .unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(quoted(ALL), "> a[2J\n> b\n");
        assert_eq!(quoted(Look::default()), "> a\x1b[2J\n> b\n");
    }

    #[test]
    fn progress_stays_on_its_line() {
        let long = Action::Progress("x\n".repeat(80));
        let (_, err) = shown(ALL, std::slice::from_ref(&long));
        assert!(!err.contains('\n'));
        assert_eq!(err.matches('x').count(), PROGRESS_CHARS_MAX / 2);
        let (_, err) = shown(ALL, &[say("mid"), long]);
        assert_eq!(err, "");
    }

    #[test]
    fn events_are_printed_raw_on_one_line() {
        let mut out = Vec::new();
        let look = Look {
            raw: true,
            ..Look::default()
        };
        let mut terminal = Terminal::new(&mut out, Vec::new(), look);
        terminal.event("{\n\"type\":\"x\"}").unwrap();
        assert_eq!(out, b"{ \"type\":\"x\"}\n");
    }
}
