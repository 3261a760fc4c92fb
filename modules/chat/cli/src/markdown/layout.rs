//! Markdown as lines of a width: a pure function of the source.
//!
//! What is local stays local, so that a line depends on the text before it and little behind: blocks are set apart where
//! the source has an empty line, line ends of the source are kept, and definitions of links are shown as they are
//! written instead of being looked up from elsewhere.

use std::ops::Range;

use pulldown_cmark::{CodeBlockKind, Event, HeadingLevel, LinkType, Parser, Tag, TagEnd};

use super::code::Code;
use super::literal::{OPTIONS, literal};
use super::style::{Line, Style};
use super::table::Table;
use super::wrap::{Flow, LongWords};

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

pub(crate) fn layout(source: &str, width: usize) -> Layout {
    let (text, escapes) = literal(source);
    let mut writer = Writer::new(&text, width);
    for (event, range) in Parser::new_ext(&text, OPTIONS).into_offset_iter() {
        writer.event(event, range);
    }
    writer.flush();
    let mut layout = writer.layout;
    for block in &mut layout.blocks {
        block.at -= escapes.iter().filter(|at| **at < block.at).count();
    }
    layout
}

/// What a block stands in: what its lines begin with.
struct Container {
    first: Line,
    rest: Line,
    is_quote: bool,
    is_begun: bool,
}

struct Writer<'a> {
    source: &'a str,
    width: usize,
    layout: Layout,
    containers: Vec<Container>,
    /// The number of the next item of each list, where it has one.
    lists: Vec<Option<u64>>,
    style: Style,
    styles: Vec<Style>,
    flow: Flow,
    /// Where the text of each open link begins, and where it goes.
    links: Vec<(usize, String)>,
    code: Option<Code>,
    table: Option<Table>,
    /// The last line that was looked at for an empty line before it.
    spaced_at: Option<usize>,
}

impl<'a> Writer<'a> {
    fn new(source: &'a str, width: usize) -> Writer<'a> {
        Writer {
            source,
            width,
            layout: Layout::default(),
            containers: Vec::new(),
            lists: Vec::new(),
            style: Style::default(),
            styles: Vec::new(),
            flow: Flow::default(),
            links: Vec::new(),
            code: None,
            table: None,
            spaced_at: None,
        }
    }

    fn event(&mut self, event: Event<'_>, range: Range<usize>) {
        if !matches!(event, Event::End(_)) {
            self.layout.open_table = None;
            self.layout.open_code = None;
        }
        match event {
            Event::Start(tag) => self.start(tag, range.start),
            Event::End(tag) => self.end(tag, range),
            Event::Text(text) => match &mut self.code {
                Some(code) => code.text.push_str(&text),
                None => self.flow.push(self.style, &text),
            },
            Event::Code(text) => self.flow.push(self.style.with(Style::CODE), &text),
            Event::InlineHtml(tag) if is_line_break(&tag) => self.line_break(),
            Event::Html(text) | Event::InlineHtml(text) => self.flow.push(self.style, &text),
            Event::SoftBreak | Event::HardBreak => self.line_break(),
            Event::Rule => {
                self.begin_block(range.start);
                self.rule();
            }
            Event::TaskListMarker(is_done) => {
                if let Some(item) = self.containers.last_mut().filter(|item| !item.is_begun) {
                    item.first = Line::of(Style::default(), if is_done { "☑ " } else { "☐ " });
                }
            }
            // Not asked of the parser.
            Event::FootnoteReference(text) | Event::InlineMath(text) | Event::DisplayMath(text) => {
                self.flow.push(self.style, &text);
            }
        }
    }

    fn start(&mut self, tag: Tag<'_>, at: usize) {
        match tag {
            Tag::Paragraph | Tag::HtmlBlock => self.begin_block(at),
            Tag::Heading { level, .. } => {
                self.begin_block(at);
                if self.source[at..].starts_with('#') {
                    let of_level = match level {
                        HeadingLevel::H1 => Style::BOLD.with(Style::UNDERLINED),
                        _ => Style::BOLD,
                    };
                    self.styled(of_level);
                } else {
                    // Underlined in the source, which makes a heading of lines that may be on the screen already.
                    self.styled(Style::default());
                }
            }
            Tag::BlockQuote(_) => {
                self.begin_block(at);
                let bar = Line::of(Style::DIM, "│ ");
                self.contain(bar.clone(), bar, true);
            }
            Tag::CodeBlock(kind) => {
                self.begin_block(at);
                let is_fenced = matches!(kind, CodeBlockKind::Fenced(_));
                let text = String::new();
                self.code = Some(Code { text, is_fenced });
            }
            Tag::List(first) => {
                self.begin_block(at);
                self.lists.push(first);
            }
            Tag::Item => {
                self.begin_block(at);
                let marker = self.marker();
                let rest = Line::of(Style::default(), &" ".repeat(marker.width()));
                self.contain(marker, rest, false);
            }
            Tag::Table(alignments) => {
                self.begin_block(at);
                let rows = Vec::new();
                self.table = Some(Table { alignments, rows });
            }
            Tag::TableHead => {
                self.row();
                self.styled(Style::BOLD);
            }
            Tag::TableRow => self.row(),
            Tag::Emphasis => self.styled(Style::ITALIC),
            Tag::Strong => self.styled(Style::BOLD),
            Tag::Strikethrough => self.styled(Style::STRUCK),
            Tag::Link {
                link_type,
                dest_url,
                ..
            } => {
                let is_shown = matches!(link_type, LinkType::Autolink | LinkType::Email);
                let to = if is_shown {
                    String::new()
                } else {
                    dest_url.into_string()
                };
                self.links.push((self.flow.len(), to));
                self.styled(Style::UNDERLINED);
            }
            Tag::Image { dest_url, .. } => {
                self.flow.push(self.style, "image: ");
                self.links.push((self.flow.len(), dest_url.into_string()));
                self.styled(Style::ITALIC);
            }
            // No events of their own, or not asked of the parser.
            Tag::TableCell
            | Tag::Superscript
            | Tag::Subscript
            | Tag::FootnoteDefinition(_)
            | Tag::DefinitionList
            | Tag::DefinitionListTitle
            | Tag::DefinitionListDefinition
            | Tag::MetadataBlock(_) => {}
        }
    }

    fn end(&mut self, tag: TagEnd, range: Range<usize>) {
        match tag {
            TagEnd::Paragraph | TagEnd::HtmlBlock => self.flush(),
            TagEnd::Heading(_) => {
                self.flush();
                self.unstyled();
                if !self.source[range.start..].starts_with('#') {
                    self.rule();
                }
            }
            TagEnd::BlockQuote(_) | TagEnd::Item => {
                self.flush();
                let is_begun = self
                    .containers
                    .last()
                    .is_none_or(|container| container.is_begun);
                if tag == TagEnd::Item && !is_begun {
                    self.line(&Line::default());
                }
                self.containers.pop();
            }
            TagEnd::CodeBlock => self.code_block(range),
            TagEnd::List(_) => {
                self.lists.pop();
            }
            TagEnd::Table => self.end_table(),
            TagEnd::TableHead => self.unstyled(),
            TagEnd::TableCell => {
                let cell = std::mem::take(&mut self.flow);
                if let Some(row) = self.table.as_mut().and_then(|table| table.rows.last_mut()) {
                    row.push(cell);
                }
            }
            TagEnd::Emphasis | TagEnd::Strong | TagEnd::Strikethrough => self.unstyled(),
            TagEnd::Link | TagEnd::Image => {
                self.unstyled();
                if let Some((from, to)) = self.links.pop()
                    && !to.is_empty()
                    && self.flow.text_from(from) != to
                {
                    let style = self.style.with(Style::DIM);
                    self.flow.push(style, &format!(" ({to})"));
                }
            }
            _ => {}
        }
    }

    /// What every block begins with: text that still stands before it, and an empty line if the source has one.
    fn begin_block(&mut self, at: usize) {
        self.flush();
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

    fn contain(&mut self, first: Line, rest: Line, is_quote: bool) {
        self.containers.push(Container {
            first,
            rest,
            is_quote,
            is_begun: false,
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

    fn styled(&mut self, style: Style) {
        self.styles.push(self.style);
        self.style = self.style.with(style);
    }

    fn unstyled(&mut self) {
        self.style = self.styles.pop().unwrap_or_default();
    }

    fn line_break(&mut self) {
        let end = if self.table.is_some() { " " } else { "\n" };
        self.flow.push(self.style, end);
    }

    fn row(&mut self) {
        if let Some(table) = &mut self.table {
            table.rows.push(Vec::new());
        }
    }

    fn flush(&mut self) {
        if self.flow.is_empty() {
            return;
        }
        let flow = std::mem::take(&mut self.flow);
        let mut lines = flow.lines(self.inner_width(), LongWords::Whole);
        // The end of an HTML block's last line.
        if lines.last().is_some_and(Line::is_empty) {
            lines.pop();
        }
        for line in &lines {
            self.line(line);
        }
    }

    fn rule(&mut self) {
        let width = self.inner_width().min(RULE_WIDTH_MAX);
        self.line(&Line::of(Style::DIM, &"─".repeat(width)));
    }

    fn end_table(&mut self) {
        let begin = self.layout.lines.len();
        if let Some(table) = self.table.take() {
            for line in table.lines(self.inner_width()) {
                self.line(&line);
            }
        }
        self.layout.open_table = Some(begin);
    }

    fn code_block(&mut self, range: Range<usize>) {
        let Some(code) = self.code.take() else { return };
        let begin = self.layout.lines.len();
        let block = code.block(&self.source[range], self.is_quoted());
        for line in &block.lines {
            self.line(line);
        }
        if block.is_open && self.is_outside() {
            self.layout.open_code = Some(begin + 1);
        }
    }

    fn is_outside(&self) -> bool {
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

    fn is_quoted(&self) -> bool {
        self.containers.iter().any(|container| container.is_quote)
    }

    fn inner_width(&self) -> usize {
        let containers = self.containers.iter();
        let taken: usize = containers.map(|container| container.rest.width()).sum();
        self.width.saturating_sub(taken).max(1)
    }
}

fn is_line_break(tag: &str) -> bool {
    let name = tag
        .trim_start_matches('<')
        .trim_end_matches('>')
        .trim_end_matches('/');
    name.trim().eq_ignore_ascii_case("br")
}

#[cfg(test)]
mod tests;
