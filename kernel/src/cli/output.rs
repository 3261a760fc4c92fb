//! What commands print: tables for people, JSON for programs.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use serde::Serialize;

use super::failure::Failure;

/// Writes data to standard output.
pub(super) fn data(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
        .map_err(Failure::Output)
}

/// Writes a line of data.
pub(super) fn line(text: &str) -> Result<(), Failure> {
    data(&format!("{text}\n"))
}

/// Writes JSON, indented.
pub(super) fn json(value: &impl Serialize) -> Result<(), Failure> {
    line(&serde_json::to_string_pretty(value).expect("the API's values are plain JSON"))
}

/// Tells a person something, on standard error.
pub(super) fn note(text: &str) {
    // Nobody may be listening.
    let _ = writeln!(io::stderr(), "{text}");
}

/// Whether a person reads standard output.
pub(super) fn is_for_a_person() -> bool {
    io::stdout().is_terminal()
}

/// Columns under their names, as wide as they need to be.
pub(super) fn table(names: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or(0).max(names[column].chars().count())
    };
    let widths: Vec<usize> = (0..names.len()).map(width).collect();
    let render = |cells: Vec<&str>| {
        let padded: Vec<String> = cells
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        format!("{}\n", padded.join("  ").trim_end())
    };
    let header = render(names.to_vec());
    let body: String = rows
        .iter()
        .map(|row| render(row.iter().map(String::as_str).collect()))
        .collect();
    header + &body
}

/// Waits for `work`, and tells a person what it is waiting for when that takes more than a second.
pub(super) async fn patiently<T>(what: &str, work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    match tokio::time::timeout(Duration::from_secs(1), &mut work).await {
        Ok(done) => done,
        Err(_elapsed) => {
            note(&format!("{what}…"));
            work.await
        }
    }
}

/// A time from now, for example `in 9m` or `2h ago`.
pub(super) fn relative(at: u64, now: u64) -> String {
    let span = span(at.abs_diff(now));
    if at > now {
        format!("in {span}")
    } else {
        format!("{span} ago")
    }
}

/// Seconds in the largest unit that fits.
pub(super) fn span(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = [
            vec!["hello".to_owned(), "1".to_owned()],
            vec!["é".to_owned(), "22".to_owned()],
        ];
        assert_eq!(
            table(&["NAME", "GENERATION"], &rows),
            "NAME   GENERATION\nhello  1\né      22\n"
        );
        assert_eq!(table(&["NAME"], &[]), "NAME\n");
    }

    #[test]
    fn times_are_told_in_one_unit() {
        for (at, expect) in [
            (1000, "0s ago"),
            (1059, "in 59s"),
            (1060, "in 1m"),
            (940, "1m ago"),
            (8200, "in 2h"),
            (0, "16m ago"),
        ] {
            assert_eq!(relative(at, 1000), expect, "{at}");
        }
        assert_eq!(relative(400_000, 0), "in 4d");
    }
}
