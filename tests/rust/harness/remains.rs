//! What modules leave behind: code in the process, and files in the data directory.

use std::path::{Path, PathBuf};

use super::Kernel;

impl Kernel {
    /// The private copies of artifacts that the process has mapped, each once.
    pub(crate) fn mapped_copies(&self) -> Vec<String> {
        let maps = std::fs::read_to_string(format!("/proc/{}/maps", self.pid())).unwrap();
        let copies = private_copies_dir(self.dir.path());
        let copies = copies.to_str().unwrap();
        let paths = maps
            .lines()
            .filter_map(|line| line.find(copies).map(|at| &line[at..]));
        let mut paths: Vec<_> = paths.map(str::to_owned).collect();
        paths.dedup();
        paths
    }
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
