//! What is in force of a module process's confinement, and what is not: shown to people, and the answer of the API.

use std::fmt::{self, Display, Formatter};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::paths::NULL;

/// Made by the child, shown by the kernel. Its shape holds in formats that do not name their members, too.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(
    feature = "schema",
    schemars(
        rename = "Confinement",
        description = "What is in force of a module process's confinement."
    )
)]
pub(crate) struct Report {
    /// No program it starts can have more rights than it has.
    pub(crate) no_new_privs: bool,
    /// No core dump is written, and no other process of the user's looks into it.
    pub(crate) closed_to_others: bool,
    /// Of root's special rights it has none, whoever it runs as.
    pub(crate) no_capabilities: bool,
    pub(crate) ends_with_kernel: EndsBy,
    /// Which files it reads and writes.
    pub(crate) landlock: Landlock,
    /// Which system calls it has not.
    pub(crate) seccomp: Seccomp,
    /// What it may allocate.
    pub(crate) memory_bytes: Option<u64>,
    /// How many descriptors it may have open.
    pub(crate) files: Option<u64>,
    /// How many processes it may start; `None`: as many as its user.
    pub(crate) processes: Option<u64>,
    /// What it may read, with all that is below. Empty when nothing is kept from it.
    pub(crate) reads: Vec<PathBuf>,
    /// What it may write, with all that is below.
    pub(crate) writes: Vec<PathBuf>,
    /// What is not as it was asked for, a sentence each.
    pub(crate) missing: Vec<String>,
}

/// How the module process learns that its kernel has ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) enum EndsBy {
    /// The system kills it.
    Signal,
    /// Its control lane ends, which it must still notice.
    #[default]
    EndOfLane,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) enum Landlock {
    /// Which version of it is in force; each restricts more.
    Abi(u32),
    Unavailable(String),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) enum Seccomp {
    /// How many system calls are refused, always or with some arguments.
    RefusedCalls(u32),
    Unavailable(String),
}

impl Report {
    /// What is missing of the two that keep a module from everything else, a sentence each.
    pub(super) fn missing_barriers(&self) -> Vec<String> {
        let files = match &self.landlock {
            Landlock::Abi(_) => None,
            Landlock::Unavailable(why) => Some(format!("Landlock: {why}")),
        };
        let calls = match &self.seccomp {
            Seccomp::RefusedCalls(_) => None,
            Seccomp::Unavailable(why) => Some(format!("seccomp: {why}")),
        };
        files.into_iter().chain(calls).collect()
    }
}

impl Default for Landlock {
    fn default() -> Landlock {
        Landlock::Unavailable(NOT_HERE.to_owned())
    }
}

impl Default for Seccomp {
    fn default() -> Seccomp {
        Seccomp::Unavailable(NOT_HERE.to_owned())
    }
}

const NOT_HERE: &str = "only Linux has it";

/// One line, the barriers first.
impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.landlock {
            Landlock::Abi(abi) => {
                write!(f, "reads {} paths, writes ", self.reads.len())?;
                let writes = self.writes.iter().filter(|path| *path != Path::new(NULL));
                for (index, path) in writes.enumerate() {
                    let comma = if index == 0 { "" } else { ", " };
                    write!(f, "{comma}{}", path.display())?;
                }
                write!(f, " (Landlock {abi})")?;
            }
            Landlock::Unavailable(why) => write!(f, "ALL FILES (no Landlock: {why})")?,
        }
        match &self.seccomp {
            Seccomp::RefusedCalls(count) => write!(f, "; {count} system calls refused")?,
            Seccomp::Unavailable(why) => write!(f, "; ALL SYSTEM CALLS (no seccomp: {why})")?,
        }
        match self.processes {
            Some(0) => f.write_str("; no programs")?,
            Some(count) => write!(f, "; {count} processes")?,
            None => f.write_str("; may start programs")?,
        }
        match self.memory_bytes {
            Some(bytes) => write!(f, "; {} MiB of memory", bytes >> 20)?,
            None => f.write_str("; any memory")?,
        }
        match self.files {
            Some(files) => write!(f, "; {files} descriptors")?,
            None => f.write_str("; any descriptors")?,
        }
        for sentence in &self.missing {
            write!(f, "; {sentence}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn confined() -> Report {
        Report {
            no_new_privs: true,
            closed_to_others: true,
            no_capabilities: true,
            ends_with_kernel: EndsBy::Signal,
            landlock: Landlock::Abi(7),
            seccomp: Seccomp::RefusedCalls(120),
            memory_bytes: Some(512 << 20),
            files: Some(1024),
            processes: Some(0),
            reads: vec!["/usr/lib".into(), "/etc/hosts".into()],
            writes: vec![
                "/dev/null".into(),
                "/d/state/chat".into(),
                "/srv/cache".into(),
            ],
            missing: Vec::new(),
        }
    }

    #[test]
    fn a_line_says_what_is_in_force() {
        assert_eq!(
            confined().to_string(),
            "reads 2 paths, writes /d/state/chat, /srv/cache (Landlock 7); 120 system calls refused; no programs; 512 MiB of memory; 1024 descriptors"
        );
    }

    #[test]
    fn what_is_missing_is_loud() {
        let bare = Report {
            missing: vec!["a sentence".into()],
            ..Report::default()
        };
        assert_eq!(
            bare.to_string(),
            "ALL FILES (no Landlock: only Linux has it); ALL SYSTEM CALLS (no seccomp: only Linux has it); may start programs; any memory; any descriptors; a sentence"
        );
        assert_eq!(bare.missing_barriers().len(), 2);
        assert_eq!(confined().missing_barriers(), Vec::<String>::new());
    }

    #[test]
    fn the_api_shows_it_and_reads_it_back() {
        for report in [confined(), Report::default()] {
            let json = serde_json::to_value(&report).unwrap();
            assert_eq!(
                serde_json::from_value::<Report>(json.clone()).unwrap(),
                report
            );
            if report.no_new_privs {
                assert_eq!(json["landlock"], serde_json::json!({"abi": 7}));
                assert_eq!(json["seccomp"], serde_json::json!({"refused_calls": 120}));
                assert_eq!(json["ends_with_kernel"], "signal");
                assert_eq!(json["processes"], 0);
            } else {
                assert_eq!(json["landlock"]["unavailable"], "only Linux has it");
            }
        }
    }
}
