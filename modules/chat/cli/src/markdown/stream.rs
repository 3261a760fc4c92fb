//! Text that comes bit by bit, as what has to be written to a terminal meanwhile.
//!
//! A line is written for good once it is final. Below those there is one line that is rewritten in place as its text
//! grows; nothing above it is ever touched, so that what has scrolled away stays right.

use super::layout::{Block, Layout, layout};
use super::settle::{Doubt, settled, whole_lines};
use super::style::Line;

/// Below this the open block is laid out again for every bit of text; above, when it has grown by a part, so that a
/// block of any length costs time in proportion to it.
const EAGER_BYTES_MAX: usize = 4 * 1024;
const GROWTH_PARTS: usize = 32;
const REWRITE: &str = "\r\x1b[K";

/// One text after the other.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    colours: bool,
    /// Of the terminal, in columns; holds for a block, since its first lines cannot be wrapped anew.
    width: usize,
    /// The source from the first block on that is not written whole.
    open: String,
    /// How much of it was laid out last.
    laid_out_len: usize,
    /// How many of its lines are written for good.
    written: usize,
    /// What kept lines from being final the last time.
    doubt: Doubt,
    /// What the line below those shows.
    shown: Line,
    /// The text, or one before it, has shown something.
    is_begun: bool,
    is_first_block: bool,
}

impl Stream {
    pub(crate) fn new(colours: bool) -> Stream {
        Stream {
            colours,
            is_first_block: true,
            ..Stream::default()
        }
    }

    /// Whether the cursor stands behind something.
    pub(crate) fn is_mid_line(&self) -> bool {
        !self.shown.is_empty()
    }

    /// Takes more of the text; `columns` is how wide the terminal is now.
    pub(crate) fn push(&mut self, text: &str, columns: usize, out: &mut String) {
        if self.open.is_empty() {
            self.width = columns;
        }
        self.open.push_str(text);
        if self.is_first_block && !self.begin(out) {
            return;
        }
        let grown = self.open.len() - self.laid_out_len;
        if self.open.len() > EAGER_BYTES_MAX && grown < self.open.len() / GROWTH_PARTS {
            return;
        }
        let layout = layout(&self.open, self.width);
        let settled = settled(
            &self.open,
            &layout,
            self.written,
            self.width,
            &mut self.doubt,
        );
        self.write(&layout, settled, out);
        let growing = layout.lines.get(self.written).cloned().unwrap_or_default();
        self.show(&growing.within(self.width), out);
        self.laid_out_len = self.open.len();
        match layout.blocks.as_slice() {
            [_] => self.forget_code(&layout),
            _ => self.forget_written(&layout),
        }
    }

    /// Shows the rest of the text; what comes next is another one.
    pub(crate) fn finish(&mut self, out: &mut String) {
        let layout = layout(&self.open, self.width);
        self.write(&layout, layout.lines.len(), out);
        self.show(&Line::default(), out);
        self.open.clear();
        self.laid_out_len = 0;
        self.written = 0;
        self.is_first_block = true;
    }

    /// Takes the unfinished line away, for something that is written in between.
    pub(crate) fn hide(&mut self, out: &mut String) {
        self.show(&Line::default(), out);
    }

    /// Drops empty lines before the text; false while there is nothing else. A text that begins with them is set apart
    /// from the one before.
    fn begin(&mut self, out: &mut String) -> bool {
        let Some(first) = self.open.find(|c: char| !c.is_whitespace()) else {
            return false;
        };
        let start = self.open[..first].rfind('\n').map_or(0, |end| end + 1);
        if start > 0 && self.is_begun {
            out.push('\n');
        }
        self.open.drain(..start);
        self.is_begun = true;
        self.is_first_block = false;
        true
    }

    fn write(&mut self, layout: &Layout, until: usize, out: &mut String) {
        for line in layout.lines.get(self.written..until).unwrap_or_default() {
            self.show(line, out);
            out.push('\n');
            self.shown = Line::default();
        }
        self.written = self.written.max(until);
    }

    fn show(&mut self, line: &Line, out: &mut String) {
        match line.behind(&self.shown) {
            Some(rest) => rest.write(self.colours, out),
            None => {
                out.push_str(REWRITE);
                line.write(self.colours, out);
            }
        }
        self.shown = line.clone();
    }

    /// Drops the source of blocks that are written whole.
    fn forget_written(&mut self, layout: &Layout) {
        let is_written = |block: &&Block| block.at > 0 && block.line <= self.written;
        if !layout.blocks.iter().any(|block| is_written(&block)) {
            return;
        }
        // A last line that is not whole can make it seem that a block begins.
        let certain = self::layout(whole_lines(&self.open), self.width).blocks;
        let mut blocks = layout.blocks.iter().filter(is_written).rev();
        let last = blocks.find(|block| certain.contains(block));
        if let Some(block) = last {
            self.open.drain(..block.at);
            self.written -= block.line;
            self.laid_out_len = self.open.len();
        }
    }

    /// Drops the written lines of a block of code that goes on, which are lines of the source: such blocks are long.
    fn forget_code(&mut self, layout: &Layout) {
        let Some(begin) = layout.open_code.filter(|begin| *begin < self.written) else {
            return;
        };
        let mut ends = self.open.match_indices('\n').map(|(at, _)| at + 1);
        // The upper fence and, before it, an empty line stay.
        let code = ends.by_ref().nth(begin - 1);
        if let (Some(from), Some(to)) = (code, ends.nth(self.written - begin - 1)) {
            self.open.drain(from..to);
            self.written = begin;
            self.laid_out_len = self.open.len();
        }
    }
}

#[cfg(test)]
mod tests;
