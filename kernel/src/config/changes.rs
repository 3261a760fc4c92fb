//! What a configuration that is read again while the kernel runs would change only at the next start. Pure.

use std::collections::BTreeSet;

use super::{Config, Module};

/// Names what differs from `started` and does not take effect before a restart: of a watched module `config` and `path`
/// do, and nothing else does.
pub(crate) fn restart_needed(started: &Config, now: &Config) -> Vec<String> {
    // Every member is named, so that a new one cannot be forgotten.
    let Config {
        kernel,
        sessions,
        secrets,
        limits,
        modules,
    } = now;
    let sections = [
        (*kernel != started.kernel, "[kernel]"),
        (*sessions != started.sessions, "[sessions]"),
        (*secrets != started.secrets, "[secrets]"),
        (*limits != started.limits, "[limits]"),
    ];
    let names: BTreeSet<&String> = modules.keys().chain(started.modules.keys()).collect();
    let differs = |name: &str| match (started.modules.get(name), modules.get(name)) {
        (Some(old), Some(new)) if old.watch => {
            *old != Module {
                path: old.path.clone(),
                config: old.config.clone(),
                ..new.clone()
            }
        }
        (old, new) => old != new,
    };
    sections
        .into_iter()
        .filter(|(differs, _)| *differs)
        .map(|(_, section)| section.to_owned())
        .chain(
            names
                .into_iter()
                .filter(|name| differs(name))
                .map(|name| format!("[modules.{name}]")),
        )
        .collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::Flags;
    use super::*;

    fn read(text: &str) -> Config {
        let home = |name: &str| (name == "HOME").then(|| "/home/me".into());
        Config::check(text, Path::new("/etc/m.toml"), &Flags::default(), &home).unwrap()
    }

    #[test]
    fn what_a_reload_cannot_change_is_named() {
        let base = "[kernel]\nmodule_dirs = [\"/d\"]\n[modules.a]\npath = \"/d/a\"\nwatch = true\n[modules.b]\npath = \"/d/b\"\n";
        for (text, expect) in [
            (base.to_owned(), &[][..]),
            (base.replace("/d/a", "/d/new"), &[]),
            (
                base.replace("watch = true", "watch = true\nconfig = { x = 1 }"),
                &[],
            ),
            (
                base.replace("watch = true", "watch = false"),
                &["[modules.a]"],
            ),
            (
                base.replace("watch = true", "watch = true\npublic = true"),
                &["[modules.a]"],
            ),
            (
                base.replace("watch = true", "watch = true\nisolation = \"process\""),
                &["[modules.a]"],
            ),
            (base.replace("/d/b", "/d/new"), &["[modules.b]"]),
            (
                base.replace("[modules.b]", "[modules.c]"),
                &["[modules.b]", "[modules.c]"],
            ),
            (
                format!(
                    "{base}[limits]\nconnections = 9\nconnections_per_process = 9\n[sessions]\nmax = 3\n"
                ),
                &["[sessions]", "[limits]"],
            ),
            (
                format!("{base}[secrets]\na = \"bridge\"").replace("\"/d\"", "\"/e\""),
                &["[kernel]", "[secrets]"],
            ),
        ] {
            assert_eq!(restart_needed(&read(base), &read(&text)), expect, "{text}");
        }
    }
}
