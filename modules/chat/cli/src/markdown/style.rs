//! Styled lines of text, how wide they are, and the escape sequences they are written with.
//!
//! Every character comes in through [`Line::push`], which lets no control character pass.

use std::fmt::Write as _;

use unicode_width::UnicodeWidthChar;

use crate::text::is_harmful;

/// Terminals move to the next multiple of 8.
const TAB_COLUMNS: usize = 8;

/// How characters look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Style(u8);

impl Style {
    pub(crate) const BOLD: Style = Style(1);
    pub(crate) const ITALIC: Style = Style(1 << 1);
    pub(crate) const UNDERLINED: Style = Style(1 << 2);
    pub(crate) const STRUCK: Style = Style(1 << 3);
    pub(crate) const DIM: Style = Style(1 << 4);
    pub(crate) const CODE: Style = Style(1 << 5);

    pub(crate) fn with(self, other: Style) -> Style {
        Style(self.0 | other.0)
    }

    fn has(self, other: Style) -> bool {
        self.0 & other.0 != 0
    }

    /// The parameters of SGR (ECMA-48 section 8.3.117), each with a semicolon before it.
    fn parameters(self, colours: bool) -> String {
        [
            (Style::BOLD, ";1", true),
            (Style::ITALIC, ";3", true),
            (Style::UNDERLINED, ";4", true),
            (Style::STRUCK, ";9", true),
            (Style::DIM, ";2", colours),
            (Style::CODE, ";36", colours),
        ]
        .into_iter()
        .filter(|&(style, _, is_shown)| is_shown && self.has(style))
        .map(|(_, parameter, _)| parameter)
        .collect()
    }
}

/// A line; neighbours of the same style are one span.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Line {
    spans: Vec<(Style, String)>,
    width: usize,
}

impl Line {
    pub(crate) fn of(style: Style, text: &str) -> Line {
        let mut line = Line::default();
        line.push(style, text);
        line
    }

    /// Adds text; what could act on a terminal is left out, line ends included.
    pub(crate) fn push(&mut self, style: Style, text: &str) {
        for c in text.chars() {
            self.push_char(style, c);
        }
    }

    pub(crate) fn push_char(&mut self, style: Style, c: char) {
        if is_harmful(c) || c == '\n' {
            return;
        }
        self.width += columns(c, self.width);
        match self.spans.last_mut() {
            Some((last, text)) if *last == style => text.push(c),
            _ => self.spans.push((style, c.to_string())),
        }
    }

    pub(crate) fn append(&mut self, other: &Line) {
        for (style, text) in &other.spans {
            self.push(*style, text);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// In columns.
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    pub(crate) fn text(&self) -> String {
        self.spans.iter().map(|(_, text)| text.as_str()).collect()
    }

    /// Without the white space at its end.
    pub(crate) fn trimmed(&self) -> Line {
        let text = self.text();
        let keep = text.trim_end().chars().count();
        self.chars().take(keep).collect()
    }

    /// As much of it as fits.
    pub(crate) fn within(&self, columns_max: usize) -> Line {
        if self.width <= columns_max {
            return self.clone();
        }
        let mut line = Line::default();
        for (style, c) in self.chars() {
            if line.width + columns(c, line.width) > columns_max {
                break;
            }
            line.push_char(style, c);
        }
        line
    }

    /// What comes behind `shown`, if this line begins with it.
    pub(crate) fn behind(&self, shown: &Line) -> Option<Line> {
        let mut rest = self.chars();
        shown
            .chars()
            .all(|expected| rest.next() == Some(expected))
            .then(|| rest.collect())
    }

    /// Writes it with escape sequences, and leaves the terminal in its normal style.
    pub(crate) fn write(&self, colours: bool, out: &mut String) {
        for (style, text) in &self.spans {
            let parameters = style.parameters(colours);
            match parameters.is_empty() {
                true => out.push_str(text),
                false => {
                    write!(out, "\x1b[0{parameters}m{text}\x1b[0m")
                        .expect("strings take everything");
                }
            }
        }
    }

    fn chars(&self) -> impl Iterator<Item = (Style, char)> {
        let spans = self.spans.iter();
        spans.flat_map(|(style, text)| text.chars().map(|c| (*style, c)))
    }
}

impl FromIterator<(Style, char)> for Line {
    fn from_iter<T: IntoIterator<Item = (Style, char)>>(chars: T) -> Line {
        let mut line = Line::default();
        for (style, c) in chars {
            line.push_char(style, c);
        }
        line
    }
}

/// How many columns a character takes that begins in `column`.
fn columns(c: char, column: usize) -> usize {
    match c {
        '\t' => TAB_COLUMNS - column % TAB_COLUMNS,
        c => c.width().unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(line: &Line, colours: bool) -> String {
        let mut out = String::new();
        line.write(colours, &mut out);
        out
    }

    #[test]
    fn neighbours_of_one_style_are_written_as_one() {
        let mut line = Line::of(Style::default(), "a");
        line.push(Style::BOLD, "b");
        line.push(Style::BOLD, "c");
        line.push(Style::CODE.with(Style::BOLD), "d");
        line.push(Style::DIM, "e");
        assert_eq!(
            written(&line, true),
            "a\x1b[0;1mbc\x1b[0m\x1b[0;1;36md\x1b[0m\x1b[0;2me\x1b[0m"
        );
        assert_eq!(
            written(&line, false),
            "a\x1b[0;1mbc\x1b[0m\x1b[0;1md\x1b[0me"
        );
        assert_eq!((line.width(), line.text().as_str()), (5, "abcde"));
    }

    #[test]
    fn a_line_holds_nothing_that_acts_on_a_terminal() {
        let line = Line::of(Style::BOLD, "\x1b[31ma\nb\u{9b}\u{202e}\u{7}");
        assert_eq!(line.text(), "[31mab");
    }

    #[test]
    fn widths_are_columns() {
        for (text, width) in [
            ("abc", 3),
            ("茶", 2),
            ("e\u{301}", 1),
            ("a\tb", 9),
            ("\tb", 9),
        ] {
            assert_eq!(Line::of(Style::default(), text).width(), width, "{text:?}");
        }
        let line = Line::of(Style::default(), "a茶b");
        for (columns, expected) in [
            (0, ""),
            (1, "a"),
            (2, "a"),
            (3, "a茶"),
            (4, "a茶b"),
            (9, "a茶b"),
        ] {
            assert_eq!(line.within(columns).text(), expected, "{columns}");
        }
    }

    #[test]
    fn a_line_goes_on_where_its_beginning_ended() {
        let mut whole = Line::of(Style::BOLD, "ab");
        whole.push(Style::DIM, "c");
        assert_eq!(whole.behind(&Line::default()), Some(whole.clone()));
        let begun = Line::of(Style::BOLD, "a");
        assert_eq!(
            whole.behind(&begun).map(|rest| rest.text()),
            Some("bc".to_owned())
        );
        assert_eq!(whole.behind(&whole), Some(Line::default()));
        assert_eq!(whole.behind(&Line::of(Style::DIM, "a")), None);
        assert_eq!(begun.behind(&whole), None);
        assert_eq!(Line::of(Style::DIM, "a  ").trimmed().text(), "a");
    }
}
