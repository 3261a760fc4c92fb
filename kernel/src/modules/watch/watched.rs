//! One watched module: what the configuration wants of it, and whether a file that is whole is news.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::settle::Settle;
use crate::config::Module;
use crate::events::{Cause, Event, Events};
use crate::modules::registry::Change;

/// A module that is watched.
pub(super) struct Watched {
    pub(super) name: String,
    /// What it was loaded with, as far as the configuration decides.
    pub(super) applied: Wanted,
    /// What the configuration says now.
    pub(super) wanted: Wanted,
    pub(super) settle: Settle,
    pub(super) reloading: bool,
    /// It has been told that the file is not whole, or not there.
    pub(super) told_incomplete: bool,
}

/// What of a module's section takes effect while the kernel runs.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Wanted {
    pub(super) path: PathBuf,
    pub(super) config: Map<String, Value>,
}

/// What runs under the module's name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Running<'a> {
    pub(super) path: &'a Path,
    pub(super) sha256: &'a str,
}

/// What to do about a file that is whole.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decision {
    Reload(Cause),
    /// And why.
    Leave(&'static str),
}

impl Watched {
    pub(super) fn new(name: &str, module: &Module) -> Watched {
        Watched {
            name: name.to_owned(),
            applied: Wanted::of(module),
            wanted: Wanted::of(module),
            settle: Settle::default(),
            reloading: false,
            told_incomplete: false,
        }
    }

    /// The configuration wants something else; the file is looked into again for it.
    pub(super) fn want(&mut self, wanted: Wanted) {
        self.wanted = wanted;
        self.settle.forget();
        self.told_incomplete = false;
    }

    /// What brings what runs to what is wanted. What a host has changed by `PUT` stays where the section did not change.
    pub(super) fn change(&self) -> Change {
        let reconfigured = self.wanted != self.applied;
        Change {
            only_swap: true,
            path: reconfigured.then(|| self.wanted.path.clone()),
            config: reconfigured.then(|| self.wanted.config.clone()),
            ..Change::default()
        }
    }

    /// Says once that the file is waited for.
    pub(super) fn tell_incomplete(&mut self, reason: &str, events: &Events) {
        if std::mem::replace(&mut self.told_incomplete, true) {
            return;
        }
        tracing::info!(module = %self.name, reason, "module changed, and is not whole yet: waiting for the rest");
        events.publish(Event::ModuleIncomplete {
            module: self.name.clone(),
            reason: reason.to_owned(),
        });
    }

    /// Says so if the configuration names a file that is not there. One that goes for a while is no news: builds do that.
    pub(super) fn tell_absent(&mut self, events: &Events) {
        if self.wanted != self.applied {
            let reason = format!("there is no {}", self.wanted.path.display());
            self.tell_incomplete(&reason, events);
        }
    }
}

impl Wanted {
    pub(super) fn of(module: &Module) -> Wanted {
        Wanted {
            path: module.path.clone(),
            config: module.config.clone(),
        }
    }
}

/// Whether a whole file of this content is to be loaded; `None` for a file that only the loader can judge.
pub(super) fn decide(
    applied: &Wanted,
    wanted: &Wanted,
    sha256: Option<&str>,
    running: Option<Running<'_>>,
) -> Decision {
    let Some(running) = running else {
        return Decision::Leave("it is not loaded");
    };
    if wanted != applied {
        return Decision::Reload(Cause::Configuration);
    }
    if running.path != applied.path {
        return Decision::Leave("what runs was loaded from elsewhere");
    }
    if sha256 == Some(running.sha256) {
        return Decision::Leave("not its content");
    }
    Decision::Reload(Cause::File)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(path: &str, word: &str) -> Wanted {
        Wanted {
            path: path.into(),
            config: Map::from_iter([("word".to_owned(), word.into())]),
        }
    }

    #[test]
    fn only_news_is_loaded() {
        use Cause::{Configuration, File};
        use Decision::{Leave, Reload};
        let applied = wanted("/m.so", "a");
        let running = |path, sha256| Some((path, sha256));
        for (wanted, sha256, running, expect) in [
            (
                &applied,
                Some("1"),
                running("/m.so", "1"),
                Leave("not its content"),
            ),
            (&applied, Some("2"), running("/m.so", "1"), Reload(File)),
            (&applied, None, running("/m.so", "1"), Reload(File)),
            (&applied, Some("2"), None, Leave("it is not loaded")),
            (
                &applied,
                Some("2"),
                running("/put.so", "1"),
                Leave("what runs was loaded from elsewhere"),
            ),
            (
                &wanted("/m.so", "b"),
                Some("1"),
                running("/m.so", "1"),
                Reload(Configuration),
            ),
            (
                &wanted("/n.so", "a"),
                Some("1"),
                running("/put.so", "1"),
                Reload(Configuration),
            ),
            (
                &wanted("/n.so", "a"),
                Some("1"),
                None,
                Leave("it is not loaded"),
            ),
        ] {
            let running = running.map(|(path, sha256)| Running {
                path: Path::new(path),
                sha256,
            });
            assert_eq!(
                decide(&applied, wanted, sha256, running),
                expect,
                "{wanted:?} {sha256:?} {running:?}"
            );
        }
    }

    #[test]
    fn a_reload_changes_what_the_configuration_changed_and_nothing_else() {
        let mut watched = Watched {
            name: "m".to_owned(),
            applied: wanted("/m.so", "a"),
            wanted: wanted("/m.so", "a"),
            settle: Settle::default(),
            reloading: false,
            told_incomplete: true,
        };
        let change = watched.change();
        assert!(change.only_swap && change.path.is_none() && change.config.is_none());
        watched.want(wanted("/m.so", "b"));
        assert!(!watched.told_incomplete);
        let change = watched.change();
        assert_eq!(change.path.as_deref(), Some(Path::new("/m.so")));
        assert_eq!(change.config.unwrap()["word"], "b");
        assert!(change.grants.is_none() && change.public.is_none());
    }
}
