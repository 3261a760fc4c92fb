//! What modules leave behind: code in the process, and files in the data directory.

use std::path::{Path, PathBuf};

use super::Kernel;

impl Kernel {
    /// The private copies of artifacts that the process and its modules' have mapped, each once.
    pub(crate) fn mapped_copies(&self) -> Vec<String> {
        let mut maps = std::fs::read_to_string(format!("/proc/{}/maps", self.pid())).unwrap();
        for child in self.children() {
            // It may have ended.
            maps += &std::fs::read_to_string(format!("/proc/{child}/maps")).unwrap_or_default();
        }
        let copies = private_copies_dir(self.dir.path());
        let copies = copies.to_str().unwrap();
        let paths = maps
            .lines()
            .filter_map(|line| line.find(copies).map(|at| &line[at..]));
        let mut paths: Vec<_> = paths.map(str::to_owned).collect();
        paths.dedup();
        paths
    }

    /// The processes that it has started and that have not been waited for.
    pub(crate) fn children(&self) -> Vec<u32> {
        let kernel = self.pid().to_string();
        let entries = std::fs::read_dir("/proc").unwrap().flatten();
        entries
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter(|pid| stat(*pid).is_some_and(|fields| fields[1] == kernel))
            .collect()
    }
}

/// What stands behind the name in `/proc/<pid>/stat`, from the third field on: proc_pid_stat(5).
pub(crate) fn stat(pid: u32) -> Option<Vec<String>> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_name, fields) = stat.rsplit_once(") ")?;
    Some(fields.split(' ').map(str::to_owned).collect())
}

/// Every file below the directory of private copies but the locks: whose copies are there. `dir` is a kernel's.
pub(crate) fn private_copies(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut dirs = vec![private_copies_dir(dir)];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.file_name() != Some("lock".as_ref()) {
                files.push(path);
            }
        }
    }
    files
}

fn private_copies_dir(dir: &Path) -> PathBuf {
    dir.canonicalize().unwrap().join("data/modules")
}
