//! A block of code, as it is written: nothing is put before or into the lines that would be copied with them.

use super::style::{Line, Style};

/// What sets an indented block apart in the source.
const INDENT: &str = "    ";

#[derive(Debug, Default)]
pub(super) struct Code {
    pub(super) text: String,
    pub(super) is_fenced: bool,
}

impl Code {
    /// Its lines, with the fences of `written`, the block's source; the lower one only if it is there.
    pub(super) fn lines(&self, written: &str, is_quoted: bool) -> Vec<Line> {
        let code = |text: &str| {
            let indent = if self.is_fenced || text.is_empty() {
                ""
            } else {
                INDENT
            };
            let mut line = Line::of(Style::default(), indent);
            line.push(Style::CODE, text);
            line
        };
        let mut lines: Vec<Line> = self.text.lines().map(code).collect();
        if !self.is_fenced {
            return lines;
        }
        let written = written.trim_end_matches(['\n', ' ']);
        let opening = written.lines().next().unwrap_or_default().trim_end();
        lines.insert(0, Line::of(Style::DIM, opening));
        let last = written.lines().skip(1).last().map(|line| match is_quoted {
            true => line.trim_start_matches(['>', ' ', '\t']),
            false => line.trim_start(),
        });
        if let Some(last) = last.filter(|last| closes(opening, last)) {
            lines.push(Line::of(Style::DIM, last));
        }
        lines
    }
}

/// Whether the last line of a block is the fence that belongs to the first (CommonMark section 4.5).
fn closes(opening: &str, last: &str) -> bool {
    let Some(fence) = opening.chars().next() else {
        return false;
    };
    let opening_len = opening.chars().take_while(|c| *c == fence).count();
    last.len() >= opening_len && last.chars().all(|c| c == fence)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fences_are_shown_as_far_as_they_are_there() {
        let lines = |written: &str, text: &str, is_quoted| {
            let code = Code {
                text: text.to_owned(),
                is_fenced: true,
            };
            let lines = code.lines(written, is_quoted).into_iter();
            lines.map(|line| line.text()).collect::<Vec<_>>()
        };
        for (written, text, is_quoted, expected) in [
            ("```", "", false, &["```"][..]),
            ("```rust\na\n", "a\n", false, &["```rust", "a"]),
            ("```rust\na\n```\n", "a\n", false, &["```rust", "a", "```"]),
            ("````\n```\n", "```\n", false, &["````", "```"]),
            ("~~~\n```\n~~~~", "```\n", false, &["~~~", "```", "~~~~"]),
            ("```\n> a\n> ```", "a\n", true, &["```", "a", "```"]),
        ] {
            assert_eq!(lines(written, text, is_quoted), expected, "{written:?}");
        }
        let indented = Code {
            text: "a\n\nb\n".to_owned(),
            is_fenced: false,
        };
        let texts: Vec<String> = indented.lines("a", false).iter().map(Line::text).collect();
        assert_eq!(texts, ["    a", "", "    b"]);
    }
}
