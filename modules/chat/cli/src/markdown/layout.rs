//! Markdown as lines of a width: a pure function of the source.
//!
//! What is local stays local, so that a line depends on the text before it and little behind: blocks are set apart where
//! the source has an empty line, line ends of the source are kept, and definitions of links are shown as they are
//! written instead of being looked up from elsewhere.

use std::ops::Range;

use pulldown_cmark::{CodeBlockKind, Event, HeadingLevel, LinkType, Parser, Tag, TagEnd};

use super::code::Code;
use super::frame::Frame;
pub(crate) use super::frame::{Block, Layout};
use super::literal::{OPTIONS, literal};
use super::style::{Line, Style};
use super::table::Table;
use super::wrap::{Flow, LongWords};

pub(crate) fn layout(source: &str, width: usize) -> Layout {
    let (text, escapes) = literal(source);
    let mut writer = Writer::new(&text, width);
    for (event, range) in Parser::new_ext(&text, OPTIONS).into_offset_iter() {
        writer.event(event, range);
    }
    writer.flush();
    let mut layout = writer.frame.layout;
    for block in &mut layout.blocks {
        block.at -= escapes.iter().filter(|at| **at < block.at).count();
    }
    layout
}

struct Writer<'a> {
    source: &'a str,
    frame: Frame<'a>,
    style: Style,
    styles: Vec<Style>,
    flow: Flow,
    /// Where the text of each open link begins, and where it goes.
    links: Vec<(usize, String)>,
    code: Option<Code>,
    table: Option<Table>,
}

impl<'a> Writer<'a> {
    fn new(source: &'a str, width: usize) -> Writer<'a> {
        Writer {
            source,
            frame: Frame::new(source, width),
            style: Style::default(),
            styles: Vec::new(),
            flow: Flow::default(),
            links: Vec::new(),
            code: None,
            table: None,
        }
    }

    fn event(&mut self, event: Event<'_>, range: Range<usize>) {
        if !matches!(event, Event::End(_)) {
            self.frame.layout.open_table = None;
            self.frame.layout.open_code = None;
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
                self.frame.rule();
            }
            Event::TaskListMarker(is_done) => self.frame.mark_task(is_done),
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
                self.frame.begin_quote();
            }
            Tag::CodeBlock(kind) => {
                self.begin_block(at);
                let is_fenced = matches!(kind, CodeBlockKind::Fenced(_));
                let text = String::new();
                self.code = Some(Code { text, is_fenced });
            }
            Tag::List(first) => {
                self.begin_block(at);
                self.frame.begin_list(first);
            }
            Tag::Item => {
                self.begin_block(at);
                self.frame.begin_item();
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
                    self.frame.rule();
                }
            }
            TagEnd::BlockQuote(_) | TagEnd::Item => {
                self.flush();
                self.frame.end_container();
            }
            TagEnd::CodeBlock => self.code_block(range),
            TagEnd::List(_) => self.frame.end_list(),
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
        let mut lines = flow.lines(self.frame.inner_width(), LongWords::Whole);
        // The end of an HTML block's last line.
        if lines.last().is_some_and(Line::is_empty) {
            lines.pop();
        }
        self.frame.lines(&lines);
    }

    fn end_table(&mut self) {
        let begin = self.frame.layout.lines.len();
        if let Some(table) = self.table.take() {
            let lines = table.lines(self.frame.inner_width());
            self.frame.lines(&lines);
        }
        self.frame.layout.open_table = Some(begin);
    }

    fn code_block(&mut self, range: Range<usize>) {
        let Some(code) = self.code.take() else { return };
        let block = code.block(&self.source[range], self.frame.is_quoted());
        let begin = self.frame.layout.lines.len();
        self.frame.lines(&block.lines);
        if block.is_open && self.frame.is_outside() {
            self.frame.layout.open_code = Some(begin + 1);
        }
    }

    /// What every block begins with: text that still stands before it, and its place.
    fn begin_block(&mut self, at: usize) {
        self.flush();
        self.frame.begin_block(at);
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
