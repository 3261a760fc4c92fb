//! What may be called how, and which names are taken. What a module gives is a claim.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::limits::{BOUNDS_MAX, HELP_LEN_MAX, LABEL_VALUE_LEN_MAX, LABELS_MAX, NAME_LEN_MAX};
use super::refusal::Refusal;
use crate::exposition::label;

/// What OpenMetrics 1.0 ("Suffixes") gives to samples, and what is added here: a metric that ended so could be taken for a part
/// of another one.
const SUFFIXES: [&str; 9] = [
    "_total",
    "_created",
    "_count",
    "_sum",
    "_bucket",
    "_info",
    "_gcount",
    "_gsum",
    SESSION_SUFFIX,
];
/// Ends the name of what is counted for sessions.
pub(super) const SESSION_SUFFIX: &str = "_by_session";
/// The kernel's own, and OpenMetrics' for histograms and summaries.
const LABELS_TAKEN: [&str; 4] = ["module", "session", "le", "quantile"];

/// A metric's name, without what is put in front.
pub(super) fn metric(name: &[u8]) -> Result<&str, Refusal> {
    let name = std::str::from_utf8(name).map_err(|_not_text| Refusal::Name)?;
    let well = is_name(name) && !SUFFIXES.iter().any(|suffix| name.ends_with(suffix));
    well.then_some(name).ok_or(Refusal::Name)
}

/// `midplane_module_chat_tokens`
pub(super) fn full_name(module: &str, metric: &str) -> String {
    format!("midplane_module_{}_{metric}", module.replace('-', "_"))
}

/// A metric's help.
pub(super) fn help(help: &[u8]) -> Result<&str, Refusal> {
    let help = std::str::from_utf8(help).map_err(|_not_text| Refusal::Help)?;
    if help.len() > HELP_LEN_MAX || !is_plain(help) {
        return Err(Refusal::Help);
    }
    Ok(help)
}

/// A histogram's bounds.
pub(super) fn bounds(bounds: &[f64]) -> Result<(), Refusal> {
    let grow = bounds.is_sorted_by(|a, b| a < b);
    let well = (1..=BOUNDS_MAX).contains(&bounds.len()) && grow;
    (well
        && bounds
            .iter()
            .all(|bound| bound.is_finite() && *bound >= 0.0))
    .then_some(())
    .ok_or(Refusal::Bounds)
}

/// Names and values.
pub(super) type Labels<'a> = Vec<(&'a str, &'a str)>;

/// The labels of a series, as they are shown, in the order of their names: what tells it from others.
pub(super) fn labels<'a>(
    given: impl ExactSizeIterator<Item = (&'a [u8], &'a [u8])>,
) -> Result<(String, Labels<'a>), Refusal> {
    if given.len() > LABELS_MAX {
        return Err(Refusal::Labels);
    }
    let mut labels = Vec::with_capacity(given.len());
    for (name, value) in given {
        let text = |bytes| std::str::from_utf8(bytes).map_err(|_not_text| Refusal::Labels);
        let (name, value) = (text(name)?, text(value)?);
        let well = is_name(name) && !LABELS_TAKEN.contains(&name);
        if !well || value.len() > LABEL_VALUE_LEN_MAX || !is_plain(value) {
            return Err(Refusal::Labels);
        }
        labels.push((name, value));
    }
    labels.sort_unstable();
    if labels.windows(2).any(|two| two[0].0 == two[1].0) {
        return Err(Refusal::Labels);
    }
    let mut shown = String::with_capacity(64);
    for (name, value) in &labels {
        if !shown.is_empty() {
            shown.push(',');
        }
        shown.push_str(&label(name, value));
    }
    Ok((shown, labels))
}

/// OpenMetrics 1.0, `metricname-initial-char` and `label-name`, without colons, which are for recording rules.
fn is_name(name: &str) -> bool {
    let initial = |c: char| c.is_ascii_alphabetic() || c == '_';
    let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    name.len() <= NAME_LEN_MAX
        && name.starts_with(initial)
        && !name.starts_with("__")
        && name.bytes().all(inner)
}

/// Readers differ in what they do with other control characters.
fn is_plain(text: &str) -> bool {
    !text.contains(|c: char| c.is_control() && c != '\n')
}

/// The full names that are taken: two modules' could be the same, as `a-b` and `a_b`, and one of the kernel's.
pub(super) struct Names {
    own: HashSet<&'static str>,
    modules: Mutex<HashMap<String, Arc<str>>>,
}

impl Names {
    pub(super) fn new(own: impl IntoIterator<Item = &'static str>) -> Names {
        Names {
            own: own.into_iter().collect(),
            modules: Mutex::default(),
        }
    }

    /// Takes `full` for `module`, if no other has it.
    pub(super) fn take(&self, full: &str, module: &Arc<str>) -> Result<(), Refusal> {
        if self.own.contains(full) {
            return Err(Refusal::Taken);
        }
        let mut modules = self.modules();
        match modules.get(full) {
            Some(other) if other != module => Err(Refusal::Taken),
            Some(_) => Ok(()),
            None => {
                modules.insert(full.to_owned(), Arc::clone(module));
                Ok(())
            }
        }
    }

    /// The module has no metrics any more.
    pub(super) fn give_back(&self, module: &Arc<str>) {
        self.modules().retain(|_full, taker| taker != module);
    }

    fn modules(&self) -> MutexGuard<'_, HashMap<String, Arc<str>>> {
        self.modules.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_openmetrics() {
        for name in ["tokens", "_x", "A9_b", "answer_seconds", &"a".repeat(64)] {
            assert_eq!(metric(name.as_bytes()), Ok(name));
        }
        for name in [
            "",
            "9a",
            "a-b",
            "a:b",
            "a b",
            "__a",
            "é",
            "tokens_total",
            "x_count",
            "x_by_session",
            "x_bucket",
            "a\nb",
            "a\0",
            &"a".repeat(65),
        ] {
            assert_eq!(metric(name.as_bytes()), Err(Refusal::Name), "{name:?}");
        }
        assert_eq!(metric(b"a\xff"), Err(Refusal::Name));
    }

    fn shown(given: &[(&str, &str)]) -> Result<String, Refusal> {
        let given = given
            .iter()
            .map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        labels(given).map(|(shown, _)| shown)
    }

    #[test]
    fn labels_are_sorted_and_escaped() {
        for (given, expect) in [
            (&[][..], ""),
            (&[("b", "2"), ("a", "1")], r#"a="1",b="2""#),
            (&[("a", "q\" b\\ n\n")], r#"a="q\" b\\ n\n""#),
            (&[("a", "")], r#"a="""#),
            (&[("a", "Zoë 🦀")], r#"a="Zoë 🦀""#),
        ] {
            assert_eq!(shown(given).as_deref(), Ok(expect));
        }
    }

    #[test]
    fn labels_that_cannot_be_are_refused() {
        let long = "v".repeat(LABEL_VALUE_LEN_MAX + 1);
        let many: Vec<_> = ["a", "b", "c", "d", "e", "f", "g", "h", "i"]
            .map(|name| (name, ""))
            .into();
        for given in [
            &[("", "1")][..],
            &[("module", "1")],
            &[("session", "1")],
            &[("le", "1")],
            &[("__a", "1")],
            &[("a-b", "1")],
            &[("a", "1"), ("a", "2")],
            &[("a", "nul \0")],
            &[("a", "return \r")],
            &[("a", &long)],
            &many,
        ] {
            assert_eq!(shown(given), Err(Refusal::Labels), "{given:?}");
        }
        let not_text: [(&[u8], &[u8]); 1] = [(b"a", b"\xff\xfe")];
        assert_eq!(labels(not_text.into_iter()), Err(Refusal::Labels));
    }

    #[test]
    fn bounds_are_finite_and_grow() {
        for (given, well) in [
            (&[0.1, 1.0][..], true),
            (&[0.0], true),
            (&[-1.0, 1.0], false),
            (&[], false),
            (&[1.0, 1.0], false),
            (&[2.0, 1.0], false),
            (&[f64::NAN], false),
            (&[1.0, f64::INFINITY], false),
            (&[1.0; BOUNDS_MAX + 1], false),
        ] {
            assert_eq!(bounds(given).is_ok(), well, "{given:?}");
        }
    }

    #[test]
    fn help_is_text() {
        assert_eq!(help(b"Tokens\n\"x\""), Ok("Tokens\n\"x\""));
        for bad in [&b"\xff"[..], b"\0", &[b'a'; HELP_LEN_MAX + 1]] {
            assert_eq!(help(bad), Err(Refusal::Help));
        }
    }

    #[test]
    fn a_full_name_has_one_owner() {
        let names = Names::new(["midplane_module_poll_seconds"]);
        let [a, b]: [Arc<str>; 2] = [Arc::from("a-b"), Arc::from("a_b")];
        assert_eq!(names.take("x", &a), Ok(()));
        assert_eq!(names.take("x", &a), Ok(()));
        assert_eq!(names.take("x", &b), Err(Refusal::Taken));
        assert_eq!(
            names.take("midplane_module_poll_seconds", &b),
            Err(Refusal::Taken)
        );
        names.give_back(&a);
        assert_eq!(names.take("x", &b), Ok(()));
    }
}
