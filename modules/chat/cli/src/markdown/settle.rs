//! Which lines of an unfinished text are final: those that come out the same however it goes on.
//!
//! Found by going on, in each way that could still change something: every mark that the text may have opened is closed,
//! and every block ended. That asks the parser itself, instead of repeating its rules here.

use std::borrow::Cow;

use super::layout::{Layout, layout};

/// How many lengths of backtick runs are tried; more are not written.
const RUN_LENGTHS_MAX: usize = 8;

/// What closes or changes what these characters may have begun. The letter keeps a mark from touching one before it.
const ENDINGS: &[(char, &[&str])] = &[
    (
        '*',
        &["*", "**", "***", "x*", "x**", "x***", "x**x*", "x*x**"],
    ),
    (
        '_',
        &["_", "__", "___", "x_", "x__", "x___", "x__ x_", "x_ x__"],
    ),
    ('~', &["~", "~~", "x~", "x~~"]),
    ('[', &["](u)", "x](u)", "x](u)](u)", "x)", "(u)", "u)"]),
    ('<', &[">", "x>", "\">", "'>", "-->", "?>", "]]>"]),
    ('&', &[";", "x;"]),
];
/// What another line, block or word changes.
const CONTINUATIONS: &[&str] = &[
    "x", " x", "    x", "> x", ">     x", "\nx", "\n\nx", "\n---", "\n===", "\n- x", "\n> x",
];

/// The way to go on that changed a line the last time: while a mark is open it is the same again and again.
#[derive(Debug, Default)]
pub(crate) struct Doubt(Option<Cow<'static, str>>);

/// How many of the lines of `now`, which is the layout of `source`, are final; more than `known` or `known`.
pub(crate) fn settled(
    source: &str,
    now: &Layout,
    known: usize,
    width: usize,
    doubt: &mut Doubt,
) -> usize {
    let stable = without_table_head(source);
    let mut count = now.open_table.unwrap_or(now.lines.len());
    // False once nothing is left to find out.
    let mut agree = |source: &str| {
        if count > known {
            let then = layout(source, width);
            let same = now.lines.iter().zip(&then.lines);
            let same = same.take_while(|(now, then)| now == then).count();
            count = count.min(same).min(then.open_table.unwrap_or(usize::MAX));
        }
        count > known
    };
    if stable.len() < source.len() && !agree(stable) {
        return known;
    }
    let (whole_lines, last) = split_last_line(stable);
    let may_be_no_block = last.trim_start().starts_with(|c: char| !c.is_alphabetic());
    let bases = [Some(stable), may_be_no_block.then_some(whole_lines)];
    let doubted = doubt.0.take().into_iter().map(|end| (stable, end));
    let all = bases.into_iter().flatten();
    let all = all.flat_map(|base| endings(base).map(move |end| (base, end)));
    for (base, end) in doubted.chain(all) {
        if !agree(&[base, &end].concat()) {
            doubt.0 = Some(end);
            return known;
        }
    }
    count.max(known)
}

/// The source without its last line, if that is not whole, and without the one before, if a table may begin there.
pub(crate) fn whole_lines(source: &str) -> &str {
    split_last_line(without_table_head(source)).0
}

/// The ways to go on that can change something.
fn endings(source: &str) -> impl Iterator<Item = Cow<'static, str>> {
    let begun = ENDINGS
        .iter()
        .filter(|(opening, _)| source.contains(*opening));
    let marks = begun.flat_map(|(_, ends)| ends.iter().copied());
    let runs = backtick_runs(source).into_iter().flat_map(|length| {
        let run = "`".repeat(length);
        [Cow::Owned(format!("x{run}")), Cow::Owned(run)]
    });
    CONTINUATIONS
        .iter()
        .copied()
        .chain(marks)
        .map(Cow::Borrowed)
        .chain(runs)
}

/// The source up to a last line that a line of dashes would make the head of a table.
fn without_table_head(source: &str) -> &str {
    let (before, last) = split_last_line(source);
    if last
        .chars()
        .all(|c| matches!(c, '|' | '-' | ':' | ' ' | '\t' | '>'))
        && let Some(before) = before.strip_suffix('\n')
    {
        let (before, head) = split_last_line(before);
        if is_row(head) {
            return before;
        }
    }
    match is_row(last) {
        true => before,
        false => source,
    }
}

/// Whether the line begins with `|`, behind the marks of what it may stand in.
fn is_row(line: &str) -> bool {
    let marks =
        |c: char| matches!(c, ' ' | '\t' | '>' | '-' | '*' | '+' | '.' | ')') || c.is_ascii_digit();
    line.trim_start_matches(marks).starts_with('|')
}

fn split_last_line(text: &str) -> (&str, &str) {
    text.split_at(text.rfind('\n').map_or(0, |end| end + 1))
}

/// The lengths of the runs of backticks, each once.
fn backtick_runs(source: &str) -> Vec<usize> {
    let mut lengths: Vec<usize> = source
        .split(|c| c != '`')
        .map(str::len)
        .filter(|length| *length > 0)
        .collect();
    lengths.sort_unstable();
    lengths.dedup();
    lengths.truncate(RUN_LENGTHS_MAX);
    lengths
}
