//! Who may call whom, where that decides an order: modules that others call are loaded first, and taken away last.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{GrantSpec, Registry, Spec};
use crate::modules::descriptor::{ARTIFACT_LEN_MAX, Descriptor};
use crate::modules::generation::Generation;
use crate::problem::{Code, Problem};

impl Registry {
    /// Refuses if other modules that are loaded may call `name`.
    pub(super) fn expect_no_callers(&self, name: &str) -> Result<(), Problem> {
        let serving = self.serving();
        let callers: Vec<_> = serving
            .iter()
            .filter(|generation| &*generation.name != name && generation.grants.may_call(name))
            .map(|generation| &*generation.name)
            .collect();
        if callers.is_empty() {
            return Ok(());
        }
        let detail = format!(
            "{name} may be called by {}: unload what calls it first, or send force=true",
            callers.join(", ")
        );
        Err(Problem::new(Code::ModuleInUse, detail))
    }

    /// Of those that serve, the ones that no other needs; all if each is needed by another.
    pub(super) fn uncalled(&self) -> Vec<Arc<str>> {
        let serving = self.serving();
        let draining = self.draining();
        let needed = |one: &Arc<Generation>| {
            let others = serving.iter().chain(&draining);
            others
                .filter(|other| other.name != one.name)
                .any(|other| other.grants.may_call(&one.name))
        };
        let name = |one: &Arc<Generation>| Arc::clone(&one.name);
        let uncalled: Vec<_> = serving
            .iter()
            .filter(|one| !needed(one))
            .map(name)
            .collect();
        if uncalled.is_empty() && draining.is_empty() {
            return serving.iter().map(name).collect();
        }
        uncalled
    }

    /// The configured modules, each behind those that it may call.
    pub(super) fn load_order(&self) -> Vec<String> {
        let configured = &self.settings.configured;
        let calls_of = |name: &str| match configured.get(name) {
            Some(spec) if configured.len() > 1 => wanted_calls(spec),
            _ => Vec::new(),
        };
        let edges: Vec<(String, Vec<String>)> = configured
            .keys()
            .map(|name| (name.clone(), calls_of(name)))
            .collect();
        callees_first(&edges)
    }
}

/// The modules that one will be able to call. What is wrong with its file is told when it is loaded.
fn wanted_calls(spec: &Spec) -> Vec<String> {
    let granted = match &spec.grants {
        GrantSpec::Only(granted) if granted.calls.is_empty() => return Vec::new(),
        GrantSpec::Only(granted) => Some(granted),
        GrantSpec::All => None,
    };
    let readable = std::fs::metadata(&spec.path)
        .is_ok_and(|file| file.is_file() && file.len() <= ARTIFACT_LEN_MAX);
    let descriptor = readable
        .then(|| std::fs::read(&spec.path).ok())
        .flatten()
        .and_then(|bytes| Descriptor::read(&bytes).ok());
    let Some(descriptor) = descriptor else {
        return Vec::new();
    };
    match granted {
        Some(granted) => descriptor.grants.within(granted).calls,
        None => descriptor.grants.named().calls,
    }
}

/// Names, each behind those it calls; in a cycle, as they come.
fn callees_first(edges: &[(String, Vec<String>)]) -> Vec<String> {
    fn visit<'a>(
        name: &'a str,
        edges: &'a [(String, Vec<String>)],
        seen: &mut BTreeSet<&'a str>,
        order: &mut Vec<String>,
    ) {
        let Some((name, calls)) = edges.iter().find(|(one, _)| one == name) else {
            return;
        };
        if seen.insert(name) {
            for callee in calls {
                visit(callee, edges, seen, order);
            }
            order.push(name.clone());
        }
    }
    let (mut seen, mut order) = (BTreeSet::new(), Vec::new());
    for (name, _) in edges {
        visit(name, edges, &mut seen, &mut order);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_called_comes_first() {
        for (edges, expect) in [
            (&[][..], ""),
            (&["a", "b"][..], "a b"),
            (&["a:b", "b"], "b a"),
            (&["a:b", "b:c", "c"], "c b a"),
            (&["a:c", "b:c", "c"], "c a b"),
            (&["a:b", "b:a"], "b a"),
            (&["a:a", "b"], "a b"),
            (&["a:unknown", "b"], "a b"),
            (&["a:b,c", "b:d", "c:d", "d"], "d b c a"),
        ] {
            let edges: Vec<_> = edges
                .iter()
                .map(|edge| {
                    let (name, calls) = edge.split_once(':').unwrap_or((edge, ""));
                    let calls = calls.split(',').map(str::to_owned).collect();
                    (name.to_owned(), calls)
                })
                .collect();
            assert_eq!(callees_first(&edges).join(" "), expect, "{edges:?}");
        }
    }
}
