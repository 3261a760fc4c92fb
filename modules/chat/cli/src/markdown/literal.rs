//! What of markdown is shown as it is written, because what it means depends on text far away.

use std::borrow::Cow;

use pulldown_cmark::{Event, Options, Parser, Tag};

/// What is parsed besides CommonMark.
pub(super) const OPTIONS: Options = Options::ENABLE_TABLES
    .union(Options::ENABLE_STRIKETHROUGH)
    .union(Options::ENABLE_TASKLISTS);
/// What is escaped can make another definition of what follows it; more often than that it does not.
const ROUNDS_MAX: usize = 4;

/// The source with a backslash before what is shown as written, and where in the result these are: definitions of links,
/// and tables whose head begins without `|`, which could be the beginning of any text.
pub(super) fn literal(source: &str) -> (Cow<'_, str>, Vec<usize>) {
    let mut text = Cow::Borrowed(source);
    let mut escapes: Vec<usize> = Vec::new();
    for _ in 0..ROUNDS_MAX {
        let parser = Parser::new_ext(&text, OPTIONS);
        let definitions = parser.reference_definitions().iter();
        let mut starts: Vec<usize> = definitions.map(|(_, found)| found.span.start).collect();
        starts.extend(
            parser
                .into_offset_iter()
                .filter_map(|(event, range)| match event {
                    Event::Start(Tag::Table(_)) => loose_table(&text, range.start),
                    _ => None,
                }),
        );
        if starts.is_empty() {
            break;
        }
        starts.sort_unstable();
        for start in starts.into_iter().rev() {
            text.to_mut().insert(start, '\\');
            for escape in &mut escapes {
                *escape += usize::from(*escape >= start);
            }
            escapes.push(start);
        }
    }
    (text, escapes)
}

/// Where the line below the head of the table at `start` begins, if the head does not begin with `|`.
fn loose_table(source: &str, start: usize) -> Option<usize> {
    let table = &source[start..];
    if table.starts_with('|') {
        return None;
    }
    let below = table.find('\n')? + 1;
    let marks = table[below..].find(|c: char| !matches!(c, ' ' | '\t' | '>'))?;
    Some(start + below + marks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_depends_on_text_far_away_is_escaped() {
        for (source, expected, at) in [
            ("plain [text](u)", "plain [text](u)", &[][..]),
            (
                "[a]: b\n[c]: d\n\n[a]",
                "\\[a]: b\n\\[c]: d\n\n[a]",
                &[8, 0],
            ),
            ("> [a]: b", "> \\[a]: b", &[2]),
            ("| a |\n|---|", "| a |\n|---|", &[]),
            ("a | b\n-|-\n1 | 2", "a | b\n\\-|-\n1 | 2", &[6]),
            ("> a | b\n> -|-", "> a | b\n> \\-|-", &[10]),
            ("```\n[a]: b\n```", "```\n[a]: b\n```", &[]),
        ] {
            let (text, escapes) = literal(source);
            assert_eq!(text, expected);
            assert_eq!(escapes.len(), at.len(), "{source}");
            for at in at {
                assert!(escapes.contains(at), "{source}: {escapes:?}");
            }
            assert!(
                Parser::new_ext(&text, OPTIONS)
                    .reference_definitions()
                    .iter()
                    .next()
                    .is_none()
            );
        }
    }
}
