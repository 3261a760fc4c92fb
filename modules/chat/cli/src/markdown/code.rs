//! A block of code, as it is written: nothing is put before or into the lines that would be copied with them.

use super::style::{Line, Style};

/// What sets an indented block apart in the source.
const INDENT: &str = "    ";

#[derive(Debug, Default)]
pub(super) struct Code {
    pub(super) text: String,
    pub(super) is_fenced: bool,
}

/// The lines of a block.
pub(super) struct CodeBlock {
    pub(super) lines: Vec<Line>,
    /// It has an upper fence and no lower one yet.
    pub(super) is_open: bool,
}

impl Code {
    /// With the fences of `written`, the block's source; the lower one only if it is there.
    pub(super) fn block(&self, written: &str, is_quoted: bool) -> CodeBlock {
        let code = |text: &str| {
            let is_bare = self.is_fenced || text.is_empty();
            let mut line = Line::of(Style::default(), if is_bare { "" } else { INDENT });
            line.push(Style::CODE, text);
            line
        };
        let mut lines: Vec<Line> = self.text.lines().map(code).collect();
        if !self.is_fenced {
            let is_open = false;
            return CodeBlock { lines, is_open };
        }
        let written = written.trim_end_matches(['\n', ' ']);
        let opening = written.lines().next().unwrap_or_default().trim_end();
        lines.insert(0, Line::of(Style::DIM, opening));
        let last = written.lines().skip(1).last().map(|line| match is_quoted {
            true => line.trim_start_matches(['>', ' ', '\t']),
            false => line.trim_start(),
        });
        let closing = last.filter(|last| closes(opening, last));
        lines.extend(closing.map(|closing| Line::of(Style::DIM, closing)));
        let is_open = closing.is_none();
        CodeBlock { lines, is_open }
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
            let block = code.block(written, is_quoted);
            let texts = block.lines.iter().map(Line::text).collect::<Vec<_>>();
            (texts, block.is_open)
        };
        for (written, text, is_quoted, expected, is_open) in [
            ("```", "", false, &["```"][..], true),
            ("```rust\na\n", "a\n", false, &["```rust", "a"], true),
            (
                "```rust\na\n```\n",
                "a\n",
                false,
                &["```rust", "a", "```"],
                false,
            ),
            ("````\n```\n", "```\n", false, &["````", "```"], true),
            (
                "~~~\n```\n~~~~",
                "```\n",
                false,
                &["~~~", "```", "~~~~"],
                false,
            ),
            ("```\n> a\n> ```", "a\n", true, &["```", "a", "```"], false),
        ] {
            let found = lines(written, text, is_quoted);
            assert_eq!(
                (found.0, found.1),
                (expected.iter().map(ToString::to_string).collect(), is_open),
                "{written:?}"
            );
        }
        let indented = Code {
            text: "a\n\nb\n".to_owned(),
            is_fenced: false,
        };
        let texts: Vec<String> = indented
            .block("a", false)
            .lines
            .iter()
            .map(Line::text)
            .collect();
        assert_eq!(texts, ["    a", "", "    b"]);
    }
}
