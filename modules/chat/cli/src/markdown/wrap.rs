//! Text flowed into lines of a width.
//!
//! Greedy, so that a line never changes for what comes behind it but the word that follows: lines can be shown before
//! the text is whole.

use unicode_width::UnicodeWidthChar;

use super::style::{Line, Style};

/// Text as it comes: runs of one style, and the line ends that stay.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    runs: Vec<(Style, String)>,
}

/// What becomes of a word that is wider than a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LongWords {
    /// Stays whole on a line of its own, which the terminal wraps: an address can be copied and opened.
    Whole,
    /// Is cut into pieces, as in a column of a table.
    Cut,
}

impl Flow {
    pub(crate) fn push(&mut self, style: Style, text: &str) {
        if !text.is_empty() {
            self.runs.push((style, text.to_owned()));
        }
    }

    pub(crate) fn extend(&mut self, other: &Flow) {
        self.runs.extend_from_slice(&other.runs);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// The text from the run with this index on.
    pub(crate) fn text_from(&self, run: usize) -> String {
        let runs = self.runs.iter().skip(run);
        runs.map(|(_, text)| text.as_str()).collect()
    }

    /// How many runs there are.
    pub(crate) fn len(&self) -> usize {
        self.runs.len()
    }

    /// The lines, each as wide as `width` at most, white space put together; `\n` ends one. At least one.
    pub(crate) fn lines(&self, width: usize, long_words: LongWords) -> Vec<Line> {
        let mut wrap = Wrap {
            width,
            long_words,
            done: Vec::new(),
            line: Line::default(),
            space: None,
            word: Line::default(),
        };
        for (style, text) in &self.runs {
            for c in text.chars() {
                wrap.take(*style, c);
            }
        }
        wrap.end_line();
        wrap.done
    }
}

struct Wrap {
    width: usize,
    long_words: LongWords,
    done: Vec<Line>,
    line: Line,
    /// White space between the line and the word.
    space: Option<Style>,
    word: Line,
}

impl Wrap {
    fn take(&mut self, style: Style, c: char) {
        match c {
            '\n' => self.end_line(),
            ' ' | '\t' | '\r' => {
                self.end_word();
                if !self.line.is_empty() {
                    self.space.get_or_insert(style);
                }
            }
            // Text in wide characters has no spaces: a line may end between any two.
            c if c.width() == Some(2) => {
                self.end_word();
                self.word.push_char(style, c);
                self.end_word();
            }
            c => self.word.push_char(style, c),
        }
    }

    fn end_word(&mut self) {
        if self.word.is_empty() {
            return;
        }
        let word = std::mem::take(&mut self.word);
        let space = self.space.take();
        let needed = self.line.width() + usize::from(space.is_some()) + word.width();
        if needed > self.width && !self.line.is_empty() {
            self.done.push(std::mem::take(&mut self.line));
        } else if let Some(style) = space {
            self.line.push_char(style, ' ');
        }
        self.line.append(&word);
        while self.long_words == LongWords::Cut && self.line.width() > self.width {
            let piece = self.line.within(self.width);
            let Some(rest) = self.line.behind(&piece).filter(|_| !piece.is_empty()) else {
                return; // not even one character fits
            };
            self.done.push(piece);
            self.line = rest;
        }
    }

    fn end_line(&mut self) {
        self.end_word();
        self.space = None;
        self.done.push(std::mem::take(&mut self.line));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrapped(text: &str, width: usize, long_words: LongWords) -> Vec<String> {
        let mut flow = Flow::default();
        flow.push(Style::default(), text);
        let lines = flow.lines(width, long_words).into_iter();
        lines.map(|line| line.text()).collect()
    }

    #[test]
    fn lines_end_between_words() {
        for (text, width, expected) in [
            ("", 5, &[""][..]),
            ("one two three", 7, &["one two", "three"]),
            ("one two three", 8, &["one two", "three"]),
            ("  one   two  ", 20, &["one two"]),
            ("one\ntwo", 20, &["one", "two"]),
            ("one \n\n two", 20, &["one", "", "two"]),
            ("a\u{a0}b c", 3, &["a\u{a0}b", "c"]),
            ("茶茶茶 茶", 4, &["茶茶", "茶", "茶"]),
            ("see茶", 4, &["see", "茶"]),
            ("a longest b", 4, &["a", "longest", "b"]),
        ] {
            assert_eq!(
                wrapped(text, width, LongWords::Whole),
                expected,
                "{text:?} {width}"
            );
        }
        for (text, width, expected) in [
            ("a longest b", 4, &["a", "long", "est", "b"][..]),
            ("longest b", 4, &["long", "est", "b"]),
            ("茶", 1, &["茶"]),
            ("longestest", 5, &["longe", "stest"]),
        ] {
            assert_eq!(
                wrapped(text, width, LongWords::Cut),
                expected,
                "{text:?} {width}"
            );
        }
    }

    #[test]
    fn a_word_may_have_several_styles() {
        let mut flow = Flow::default();
        flow.push(Style::default(), "an un");
        flow.push(Style::BOLD, "believ");
        flow.push(Style::default(), "able thing");
        let lines = flow.lines(12, LongWords::Whole);
        let texts: Vec<String> = lines.iter().map(Line::text).collect();
        assert_eq!(texts, ["an", "unbelievable", "thing"]);
        assert_eq!(
            (flow.len(), flow.text_from(1).as_str()),
            (3, "believable thing")
        );
    }
}
