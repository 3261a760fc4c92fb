//! A table, as columns with lines between where they fit, and else as one record below the other.

use pulldown_cmark::Alignment;

use super::style::{Line, Style};
use super::wrap::{Flow, LongWords};

/// A column narrower than this cuts most words.
const COLUMN_WIDTH_MIN: usize = 8;
const BETWEEN: &str = " │ ";

/// The cells of a table; the first row is its head.
#[derive(Debug, Default)]
pub(crate) struct Table {
    pub(crate) alignments: Vec<Alignment>,
    pub(crate) rows: Vec<Vec<Flow>>,
}

impl Table {
    pub(crate) fn lines(&self, width: usize) -> Vec<Line> {
        match self.column_widths(width) {
            Some(widths) => self.in_columns(&widths),
            None => self.as_records(width),
        }
    }

    /// As wide as the cells are, or as narrow as they have to be: the widest gives way first.
    fn column_widths(&self, width: usize) -> Option<Vec<usize>> {
        let between = BETWEEN.chars().count() * self.alignments.len().saturating_sub(1);
        let available = width.checked_sub(between)?;
        let natural = (0..self.alignments.len()).map(|column| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(natural_width).max().unwrap_or(0)
        });
        let mut widths: Vec<usize> = natural.collect();
        let mut excess = widths.iter().sum::<usize>().saturating_sub(available);
        while excess > 0 {
            let widest = widths.iter_mut().max()?;
            if *widest <= COLUMN_WIDTH_MIN {
                return None;
            }
            *widest -= 1;
            excess -= 1;
        }
        Some(widths)
    }

    fn in_columns(&self, widths: &[usize]) -> Vec<Line> {
        let mut lines = Vec::new();
        for (index, row) in self.rows.iter().enumerate() {
            let cells = row.iter().zip(widths);
            let cells: Vec<Vec<Line>> = cells
                .map(|(cell, width)| cell.lines(*width, LongWords::Cut))
                .collect();
            let height = cells.iter().map(Vec::len).max().unwrap_or(0);
            for at in 0..height {
                let mut line = Line::default();
                for (column, width) in widths.iter().enumerate() {
                    if column > 0 {
                        line.push(Style::DIM, BETWEEN);
                    }
                    let cell = cells.get(column).and_then(|cell| cell.get(at));
                    let cell = cell.cloned().unwrap_or_default();
                    self.pad(&cell, *width, self.alignments[column], &mut line);
                }
                lines.push(line.trimmed());
            }
            if index == 0 {
                let rules = widths.iter().map(|width| "─".repeat(*width));
                let rule = rules.collect::<Vec<_>>().join("─┼─");
                lines.push(Line::of(Style::DIM, &rule));
            }
        }
        lines
    }

    fn pad(&self, cell: &Line, width: usize, alignment: Alignment, line: &mut Line) {
        let space = width.saturating_sub(cell.width());
        let before = match alignment {
            Alignment::Right => space,
            Alignment::Center => space / 2,
            Alignment::Left | Alignment::None => 0,
        };
        line.push(Style::default(), &" ".repeat(before));
        line.append(cell);
        line.push(Style::default(), &" ".repeat(space - before));
    }

    /// A line for each cell, with its column's name before it, and a rule between the rows.
    fn as_records(&self, width: usize) -> Vec<Line> {
        let Some((head, rows)) = self.rows.split_first() else {
            return Vec::new();
        };
        let mut lines = Vec::new();
        for row in rows {
            if !lines.is_empty() {
                lines.push(Line::of(Style::DIM, "───"));
            }
            for (name, cell) in head.iter().zip(row) {
                let mut record = Flow::default();
                record.push(Style::BOLD, &name.text_from(0));
                record.push(Style::DIM, ": ");
                record.extend(cell);
                lines.extend(record.lines(width, LongWords::Whole));
            }
        }
        match lines.is_empty() {
            true => head
                .iter()
                .flat_map(|name| name.lines(width, LongWords::Whole))
                .collect(),
            false => lines,
        }
    }
}

fn natural_width(cell: &Flow) -> usize {
    let lines = cell.lines(usize::MAX, LongWords::Whole);
    lines.iter().map(Line::width).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(rows: &[&[&str]]) -> Table {
        let cell = |text: &&str| {
            let mut flow = Flow::default();
            flow.push(Style::default(), text);
            flow
        };
        Table {
            alignments: [Alignment::None, Alignment::Right, Alignment::Center]
                .into_iter()
                .cycle()
                .take(rows[0].len())
                .collect(),
            rows: rows
                .iter()
                .map(|row| row.iter().map(cell).collect())
                .collect(),
        }
    }

    fn lines(rows: &[&[&str]], width: usize) -> Vec<String> {
        table(rows).lines(width).iter().map(Line::text).collect()
    }

    #[test]
    fn columns_are_as_wide_as_their_cells() {
        let rows: &[&[&str]] = &[
            &["name", "n", "mark"],
            &["tea", "120", "x"],
            &["茶", "1", "ok"],
        ];
        assert_eq!(
            lines(rows, 80),
            [
                "name │   n │ mark",
                "─────┼─────┼─────",
                "tea  │ 120 │  x",
                "茶   │   1 │  ok",
            ]
        );
    }

    #[test]
    fn columns_give_way_where_there_is_no_room() {
        let rows: &[&[&str]] = &[&["k", "what it does"], &["a", "brews tea for everybody"]];
        assert_eq!(
            lines(rows, 20),
            [
                "k │     what it does",
                "──┼─────────────────",
                "a │    brews tea for",
                "  │        everybody",
            ]
        );
        for width in 0..60 {
            for line in table(rows).lines(width) {
                let longest_word = "everybody".len();
                assert!(
                    line.width() <= width.max(longest_word + 3),
                    "{width} {line:?}"
                );
            }
        }
    }

    #[test]
    fn a_table_of_many_columns_becomes_records() {
        let rows: &[&[&str]] = &[
            &["alphabet", "betatest", "gammaray"],
            &["onetwothree", "2", "3"],
            &["4", "five and a half", "6"],
        ];
        assert_eq!(
            lines(rows, 20),
            [
                "alphabet:",
                "onetwothree",
                "betatest: 2",
                "gammaray: 3",
                "───",
                "alphabet: 4",
                "betatest: five and a",
                "half",
                "gammaray: 6",
            ]
        );
        assert_eq!(lines(&rows[..1], 20), ["alphabet", "betatest", "gammaray"]);
    }
}
