//! Where lines stand: in which lists and quotes, with which marks before them, and which of them are set apart.
//!
//! Knows where blocks begin and end, not what is in them.

use super::style::{Line, Style};

/// A rule as long as a wide screen says no more than a short one.
const RULE_WIDTH_MAX: usize = 40;

/// The lines of some markdown.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) lines: Vec<Line>,
    /// Where a table begins that more rows could follow: what its columns are is known at its end.
    pub(crate) open_table: Option<usize>,
    /// Where the lines of a block of code begin that is in no other and has not ended.
    pub(crate) open_code: Option<usize>,
    /// The blocks that are in no other.
    pub(crate) blocks: Vec<Block>,
}

/// Where a block begins, the empty line before it included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Block {
    /// In bytes of the source.
    pub(crate) at: usize,
    /// In lines of the layout.
    pub(crate) line: usize,
}

/// The lines so far, and what the next one stands in.
pub(super) struct Frame<'a> {
    source: &'a str,
    width: usize,
    pub(super) layout: Layout,
    containers: Vec<Container>,
    /// The number of the next item of each list, where it has one.
    lists: Vec<Option<u64>>,
    /// The last line that was looked at for an empty line before it.
    spaced_at: Option<usize>,
}

/// A quote or an item: what its lines begin with.
struct Container {
    first: Line,
    rest: Line,
    is_quote: bool,
    is_begun: bool,
}

impl<'a> Frame<'a> {
    pub(super) fn new(source: &'a str, width: usize) -> Frame<'a> {
        Frame {
            source,
            width,
            layout: Layout::default(),
            containers: Vec::new(),
            lists: Vec::new(),
            spaced_at: None,
        }
    }

    /// What every block begins with: an empty line, if the source has one there.
    pub(super) fn begin_block(&mut self, at: usize) {
        let start = self.source[..at].rfind('\n').map_or(0, |end| end + 1);
        if self.spaced_at == Some(start) {
            return;
        }
        self.spaced_at = Some(start);
        let before = self.source[..start].strip_suffix('\n').map(|before| {
            let line = before.rfind('\n').map_or(0, |end| end + 1);
            (line, &before[line..])
        });
        let is_quoted = self.is_quoted();
        let before = before.filter(|(_, line)| {
            line.chars()
                .all(|c| c.is_whitespace() || c == '>' && is_quoted)
        });
        if self.is_outside() {
            let at = before.map_or(start, |(line, _)| line);
            let line = self.layout.lines.len();
            self.layout.blocks.push(Block { at, line });
        }
        if before.is_some() && self.containers.iter().all(|container| container.is_begun) {
            self.line(&Line::default());
        }
    }

    pub(super) fn begin_quote(&mut self) {
        let bar = Line::of(Style::DIM, "│ ");
        self.contain(bar.clone(), bar, true);
    }

    pub(super) fn begin_list(&mut self, first: Option<u64>) {
        self.lists.push(first);
    }

    pub(super) fn end_list(&mut self) {
        self.lists.pop();
    }

    pub(super) fn begin_item(&mut self) {
        let marker = self.marker();
        let rest = Line::of(Style::default(), &" ".repeat(marker.width()));
        self.contain(marker, rest, false);
    }

    /// The item is one of a list of tasks.
    pub(super) fn mark_task(&mut self, is_done: bool) {
        if let Some(item) = self.containers.last_mut().filter(|item| !item.is_begun) {
            item.first = Line::of(Style::default(), if is_done { "☑ " } else { "☐ " });
        }
    }

    /// Ends a quote or an item; an item without text shows its mark.
    pub(super) fn end_container(&mut self) {
        let is_bare = |container: &Container| !container.is_quote && !container.is_begun;
        if self.containers.last().is_some_and(is_bare) {
            self.line(&Line::default());
        }
        self.containers.pop();
    }

    pub(super) fn lines(&mut self, lines: &[Line]) {
        for line in lines {
            self.line(line);
        }
    }

    pub(super) fn rule(&mut self) {
        let width = self.inner_width().min(RULE_WIDTH_MAX);
        self.line(&Line::of(Style::DIM, &"─".repeat(width)));
    }

    /// In no list or quote.
    pub(super) fn is_outside(&self) -> bool {
        self.containers.is_empty() && self.lists.is_empty()
    }

    fn line(&mut self, content: &Line) {
        let mut line = Line::default();
        for container in &mut self.containers {
            let is_begun = std::mem::replace(&mut container.is_begun, true);
            line.append(if is_begun {
                &container.rest
            } else {
                &container.first
            });
        }
        line.append(content);
        let line = if content.is_empty() {
            line.trimmed()
        } else {
            line
        };
        self.layout.lines.push(line);
    }

    pub(super) fn is_quoted(&self) -> bool {
        self.containers.iter().any(|container| container.is_quote)
    }

    /// What is left of the width.
    pub(super) fn inner_width(&self) -> usize {
        let containers = self.containers.iter();
        let taken: usize = containers.map(|container| container.rest.width()).sum();
        self.width.saturating_sub(taken).max(1)
    }

    fn contain(&mut self, first: Line, rest: Line, is_quote: bool) {
        let is_begun = false;
        self.containers.push(Container {
            first,
            rest,
            is_quote,
            is_begun,
        });
    }

    fn marker(&mut self) -> Line {
        let depth = self.lists.len();
        match self.lists.last_mut() {
            Some(Some(number)) => {
                let marker = format!("{number}. ");
                *number += 1;
                Line::of(Style::default(), &marker)
            }
            _ if depth % 2 == 1 => Line::of(Style::default(), "• "),
            _ => Line::of(Style::default(), "◦ "),
        }
    }
}
