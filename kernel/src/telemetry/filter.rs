//! Which log lines are written: `info,hello=debug,hello::provider=trace`, as text and as a decision.

use std::fmt;
use std::str::FromStr;

use tracing::level_filters::LevelFilter;

/// A default level, and levels for targets and what is below them; the longest target that fits decides.
///
/// Not `tracing_subscriber::filter::Targets`: there `hello=debug` also names `hellos`, which is another module here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Filter {
    default: LevelFilter,
    /// Longest first.
    targets: Vec<(String, LevelFilter)>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "log filter: `{part}` is not a level (off, error, warn, info, debug, trace) nor TARGET=LEVEL"
)]
pub(crate) struct FilterError {
    part: String,
}

impl FromStr for Filter {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Filter, FilterError> {
        let mut filter = Filter {
            default: LevelFilter::OFF,
            targets: Vec::new(),
        };
        for part in text.split(',').map(str::trim) {
            let refused = || FilterError {
                part: part.escape_debug().to_string(),
            };
            match part.split_once('=') {
                None => filter.default = level(part).ok_or_else(refused)?,
                Some((target, name)) if is_target(target) => {
                    let level = level(name).ok_or_else(refused)?;
                    // the last word on a target holds
                    filter.targets.retain(|(known, _)| known != target);
                    filter.targets.push((target.to_owned(), level));
                }
                Some(_) => return Err(refused()),
            }
        }
        filter
            .targets
            .sort_by(|(a, _), (b, _)| b.len().cmp(&a.len()).then(a.cmp(b)));
        Ok(filter)
    }
}

/// Reads back as the same filter.
impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.default)?;
        self.targets
            .iter()
            .rev()
            .try_for_each(|(target, level)| write!(f, ",{target}={level}"))
    }
}

impl Filter {
    pub(super) fn enables(&self, target: &str, level: tracing::Level) -> bool {
        level <= self.level_of(target)
    }

    /// The most verbose level that any target has.
    pub(super) fn max(&self) -> LevelFilter {
        self.targets
            .iter()
            .map(|(_, level)| *level)
            .fold(self.default, LevelFilter::max)
    }

    /// The most verbose level that `module` or anything below it has.
    pub(super) fn max_of(&self, module: &str) -> LevelFilter {
        self.targets
            .iter()
            .filter(|(target, _)| is_below(target, module))
            .map(|(_, level)| *level)
            .fold(self.level_of(module), LevelFilter::max)
    }

    fn level_of(&self, target: &str) -> LevelFilter {
        self.targets
            .iter()
            .find(|(named, _)| is_below(target, named))
            .map_or(self.default, |(_, level)| *level)
    }
}

/// `above` itself counts.
fn is_below(target: &str, above: &str) -> bool {
    target
        .strip_prefix(above)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

fn is_target(target: &str) -> bool {
    !target.is_empty()
        && target
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b':'))
}

fn level(name: &str) -> Option<LevelFilter> {
    Some(match name {
        "off" => LevelFilter::OFF,
        "error" => LevelFilter::ERROR,
        "warn" => LevelFilter::WARN,
        "info" => LevelFilter::INFO,
        "debug" => LevelFilter::DEBUG,
        "trace" => LevelFilter::TRACE,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Level;

    #[test]
    fn the_longest_target_decides() {
        let filter: Filter = "info,hello=debug,hello::inner=trace,quiet=off"
            .parse()
            .unwrap();
        for (target, level, enabled) in [
            ("kernel", Level::INFO, true),
            ("kernel", Level::DEBUG, false),
            ("hello", Level::DEBUG, true),
            ("hello::other", Level::TRACE, false),
            ("hello::inner", Level::TRACE, true),
            ("quiet", Level::ERROR, false),
            ("hello2", Level::DEBUG, false),
        ] {
            assert_eq!(filter.enables(target, level), enabled, "{target} {level}");
        }
        assert_eq!(filter.max(), LevelFilter::TRACE);
        assert_eq!(filter.max_of("hello"), LevelFilter::TRACE);
        assert_eq!(filter.max_of("quiet"), LevelFilter::OFF);
        assert_eq!(filter.max_of("other"), LevelFilter::INFO);
        assert_eq!(filter.to_string().parse::<Filter>().unwrap(), filter);
    }

    #[test]
    fn the_bad_part_is_named() {
        for (text, part) in [
            ("", ""),
            ("info,", ""),
            ("loud", "loud"),
            ("info,hello=loud", "hello=loud"),
            ("info,=debug", "=debug"),
            ("INFO", "INFO"),
            ("3", "3"),
            ("info,a b=debug", "a b=debug"),
        ] {
            assert_eq!(text.parse::<Filter>().unwrap_err().part, part, "{text}");
        }
    }
}
