//! `confine` of a module that runs in a process of its own: what the operator lets it do, and how much.

use std::path::PathBuf;

use toml::{Table, Value};

use super::error::ConfigError;
use super::quantity::format_size;
use super::section::Section;

/// A module of which nothing is asked takes some 10 MiB; each of its threads counts 2 MiB for its stack, and there is one for each
/// of the kernel's workers, 64 at most. What is left holds the bodies of a busy module. One that works on large files asks
/// for more.
const MEMORY: u64 = 512 << 20;
/// Less, and the process that is to run the module does not start.
const MEMORY_MIN: u64 = 64 << 20;
/// More than a machine has is no limit.
const MEMORY_MAX: u64 = 1 << 40;
/// What a process is given by custom (getrlimit(2): `RLIMIT_NOFILE`), and enough for a connection to a provider for each of as
/// many requests as a module commonly has under way. Some are the module process's own: up to four for each worker.
const FILES: usize = 1024;
/// Less, and the process that is to run the module does not start on a machine with many workers.
const FILES_MIN: usize = 64;
const FILES_MAX: usize = 1 << 20;

/// `confine` of `[modules.<name>]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Confine {
    /// What it may allocate, in bytes.
    pub(crate) memory_bytes: u64,
    /// How many descriptors it may have open.
    pub(crate) files: u64,
    /// Files and directories that it may read, beside what every program needs and what its own configuration names.
    pub(crate) read: Vec<PathBuf>,
    /// The same for writing, beside its own directory.
    pub(crate) write: Vec<PathBuf>,
    /// Names of variables of the kernel's environment that it is given.
    pub(crate) env: Vec<String>,
    /// Whether it may start programs.
    pub(crate) processes: bool,
    /// Whether it must not be loaded where the system cannot confine it.
    pub(crate) require: bool,
}

impl Default for Confine {
    fn default() -> Confine {
        Confine {
            memory_bytes: MEMORY,
            files: FILES as u64,
            read: Vec::new(),
            write: Vec::new(),
            env: Vec::new(),
            processes: false,
            require: false,
        }
    }
}

/// Takes `confine` from a module's table. `None` for a module that is part of the kernel's process, where the key is refused:
/// nobody shall rely on a protection that is not there.
pub(super) fn read(
    module: &mut Section<'_>,
    own_process: bool,
) -> Result<Option<Confine>, ConfigError> {
    let Some(value) = module.take("confine") else {
        return Ok(own_process.then(Confine::default));
    };
    let offset = value.span().start;
    if !own_process {
        return Err(module.refuse(
            "confine",
            offset,
            "set for a module in the kernel's own process, where nothing can be kept from it",
            "`confine` beside `isolation = \"process\"`",
        ));
    }
    let table = module.table_of("confine", value)?;
    let mut s = Section::new("confine", module.source, table);
    let confine = Confine {
        memory_bytes: s.size("memory", MEMORY, MEMORY_MIN..=MEMORY_MAX)?,
        files: s.count("files", FILES, FILES_MIN..=FILES_MAX)? as u64,
        read: paths(&mut s, "read")?,
        write: paths(&mut s, "write")?,
        env: variables(&mut s)?,
        processes: s.boolean("processes", false)?,
        require: s.boolean("require", false)?,
    };
    s.finish()?;
    Ok(Some(confine))
}

/// A whole file system is no confinement.
fn paths(section: &mut Section<'_>, key: &'static str) -> Result<Vec<PathBuf>, ConfigError> {
    let source = section.source;
    let offset = section.offset(key);
    let Some(texts) = section.strings(key)? else {
        return Ok(Vec::new());
    };
    texts
        .iter()
        .map(|text| {
            let path = source.resolve(text);
            let valid = !text.is_empty() && !text.contains('\0') && path.parent().is_some();
            valid.then_some(path).ok_or_else(|| {
                let found = format!("with {text:?} in it");
                section.refuse(key, offset, &found, "an array of paths, none of them `/`")
            })
        })
        .collect()
}

fn variables(section: &mut Section<'_>) -> Result<Vec<String>, ConfigError> {
    let offset = section.offset("env");
    let names = section.strings("env")?.unwrap_or_default();
    match names
        .iter()
        .find(|name| name.is_empty() || name.contains(['=', '\0']))
    {
        None => Ok(names),
        // Never the text: what stands behind `=` may be a secret.
        Some(_) => Err(section.refuse(
            "env",
            offset,
            "with something else in it",
            "an array of variables' names, without values",
        )),
    }
}

impl Confine {
    pub(super) fn to_toml(&self) -> Value {
        let paths = |paths: &[PathBuf]| -> Value {
            paths
                .iter()
                .map(|path| path.to_string_lossy().into_owned())
                .collect::<Vec<_>>()
                .into()
        };
        let entries: [(&str, Value); 7] = [
            ("memory", format_size(self.memory_bytes).into()),
            (
                "files",
                Value::Integer(i64::try_from(self.files).unwrap_or(i64::MAX)),
            ),
            ("read", paths(&self.read)),
            ("write", paths(&self.write)),
            ("env", self.env.clone().into()),
            ("processes", self.processes.into()),
            ("require", self.require.into()),
        ];
        let table: Table = entries
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect();
        table.into()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use toml::de::DeTable;

    use super::super::section::Source;
    use super::*;

    fn check(text: &str, own_process: bool) -> Result<Option<Confine>, String> {
        let source = Source {
            path: Path::new("/etc/midplane/m.toml"),
            text,
        };
        let table = DeTable::parse(text).unwrap().into_inner();
        let mut section = Section::new("[modules.chat]", source, table);
        let confine = read(&mut section, own_process).map_err(|error| error.to_string())?;
        section.finish().map_err(|error| error.to_string())?;
        Ok(confine)
    }

    fn confine(text: &str) -> Confine {
        check(text, true)
            .unwrap_or_else(|error| panic!("{text}: {error}"))
            .expect("it is a process of its own")
    }

    #[test]
    fn every_key_reaches_its_place() {
        let text = r#"confine = { memory = "1GiB", files = 256, read = ["/srv/models", "local"], write = ["/var/cache/chat"], env = ["HTTPS_PROXY"], processes = true, require = true }"#;
        let all = confine(text);
        assert_eq!(
            all,
            Confine {
                memory_bytes: 1 << 30,
                files: 256,
                read: vec!["/srv/models".into(), "/etc/midplane/local".into()],
                write: vec!["/var/cache/chat".into()],
                env: vec!["HTTPS_PROXY".into()],
                processes: true,
                require: true,
            }
        );
        for each in [all, Confine::default()] {
            let text = format!("confine = {}", each.to_toml());
            assert_eq!(confine(&text), each, "{text}");
        }
    }

    #[test]
    fn what_is_left_out_has_a_default() {
        for text in ["", "confine = {}", "confine = { require = false }"] {
            assert_eq!(confine(text), Confine::default(), "{text}");
        }
        assert_eq!(check("", false), Ok(None));
    }

    #[test]
    fn what_does_not_hold_is_refused_with_what_would() {
        for (text, own_process, expect) in [
            (
                "confine = {}",
                false,
                "`confine` beside `isolation = \"process\"`",
            ),
            ("confine = true", true, "a table"),
            ("confine = { memory = \"1MiB\" }", true, "from 67108864 to"),
            ("confine = { memory = \"much\" }", true, "a size like"),
            ("confine = { files = 3 }", true, "a number from 64 to"),
            ("confine = { read = \"/a\" }", true, "an array of strings"),
            ("confine = { read = [\"\"] }", true, "an array of paths"),
            ("confine = { write = [\"/\"] }", true, "none of them `/`"),
            ("confine = { env = [\"A=b\"] }", true, "without values"),
            ("confine = { processes = 1 }", true, "true or false"),
            ("confine = { memry = 1 }", true, "did you mean `memory`?"),
        ] {
            let refused = check(text, own_process).unwrap_err();
            assert!(refused.contains(expect), "{text}: {refused}");
            assert!(refused.starts_with("/etc/midplane/m.toml:1:"), "{refused}");
        }
        let refused = check("confine = { env = [\"KEY=canary\"] }", true).unwrap_err();
        assert!(!refused.contains("canary"), "{refused}");
    }
}
