//! What the two outputs are, and what may be written to them.

use std::io::{self, IsTerminal};

/// Of a terminal that does not say.
const COLUMNS_DEFAULT: usize = 80;
/// On less than this no word fits beside the marks of a list.
const COLUMNS_MIN: usize = 20;

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Look {
    pub(crate) out_is_terminal: bool,
    /// Standard output understands escape sequences, and answers are wanted as markdown.
    pub(crate) out_moves: bool,
    pub(crate) out_colours: bool,
    /// Standard error understands escape sequences.
    pub(crate) err_moves: bool,
    pub(crate) err_colours: bool,
    /// Events are printed as they come, instead of what they mean.
    pub(crate) raw: bool,
}

/// What the environment says about terminals.
#[derive(Debug, Clone, Copy, Default)]
struct Environment {
    is_dumb: bool,
    no_colour: bool,
}

impl Look {
    /// Of this process.
    pub(crate) fn of_process(raw: bool, plain: bool) -> Look {
        let environment = Environment::of(|name| std::env::var(name).ok());
        let (out, err) = (io::stdout().is_terminal(), io::stderr().is_terminal());
        Look::of(environment, out, err, raw, plain)
    }

    fn of(environment: Environment, out: bool, err: bool, raw: bool, plain: bool) -> Look {
        let understands = |is_terminal| is_terminal && !environment.is_dumb;
        let has_colours = |is_terminal| understands(is_terminal) && !environment.no_colour;
        Look {
            out_is_terminal: out,
            out_moves: understands(out) && !plain && !raw,
            out_colours: has_colours(out) && !plain,
            err_moves: understands(err),
            err_colours: has_colours(err),
            raw,
        }
    }

    /// How wide standard output is now.
    pub(crate) fn columns(&self) -> usize {
        let size = self
            .out_moves
            .then(|| terminal_size::terminal_size_of(io::stdout()))
            .flatten();
        let columns = size.map_or(COLUMNS_DEFAULT, |(width, _)| usize::from(width.0));
        columns.max(COLUMNS_MIN)
    }
}

impl Environment {
    /// `NO_COLOR` takes the colours away when it is not empty (no-color.org), and so does `CLICOLOR=0`
    /// (bixense.com/clicolors).
    fn of(variable: impl Fn(&str) -> Option<String>) -> Environment {
        Environment {
            is_dumb: variable("TERM").is_none_or(|term| term.is_empty() || term == "dumb"),
            no_colour: variable("NO_COLOR").is_some_and(|value| !value.is_empty())
                || variable("CLICOLOR").is_some_and(|value| value == "0"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(set: &[(&str, &str)]) -> Environment {
        Environment::of(|name| {
            let found = set.iter().find(|(set, _)| *set == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn the_environment_takes_colours_and_more_away() {
        const XTERM: (&str, &str) = ("TERM", "xterm-256color");
        for (set, out_moves, out_colours) in [
            (&[XTERM][..], true, true),
            (&[XTERM, ("NO_COLOR", "1")], true, false),
            (&[XTERM, ("NO_COLOR", "")], true, true),
            (&[XTERM, ("CLICOLOR", "0")], true, false),
            (&[XTERM, ("CLICOLOR", "1")], true, true),
            (&[("TERM", "dumb")], false, false),
            (&[("TERM", "")], false, false),
            (&[], false, false),
        ] {
            let look = Look::of(environment(set), true, true, false, false);
            assert_eq!(
                (look.out_moves, look.out_colours),
                (out_moves, out_colours),
                "{set:?}"
            );
            assert_eq!(
                (look.err_moves, look.err_colours),
                (out_moves, out_colours),
                "{set:?}"
            );
            assert!(look.out_is_terminal);
        }
    }

    #[test]
    fn markdown_is_for_terminals_and_those_who_want_it() {
        for (out, err, raw, plain, out_moves, err_moves) in [
            (true, true, false, false, true, true),
            (false, true, false, false, false, true),
            (true, false, false, false, true, false),
            (true, true, true, false, false, true),
            (true, true, false, true, false, true),
        ] {
            let look = Look::of(environment(&[("TERM", "xterm")]), out, err, raw, plain);
            assert_eq!(
                (look.out_moves, look.err_moves),
                (out_moves, err_moves),
                "{look:?}"
            );
        }
    }
}
