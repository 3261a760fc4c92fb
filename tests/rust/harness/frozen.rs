//! Modules as the SDKs of earlier releases built them: `tests/fixtures/modules/<version>-<architecture>-<system>`, with a
//! manifest each. `scripts/freeze-sdk` makes them.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::c::repository;
use super::kernel::target_dir;

/// A file of a release.
pub(crate) struct Frozen {
    /// The module's, as its descriptor has it.
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    pub(crate) sha256: String,
    /// The release's SDK.
    pub(crate) sdk: String,
}

/// Those of this architecture and system; there may be none.
pub(crate) fn frozen_modules() -> Vec<Frozen> {
    let platform = format!("-{}-{}", std::env::consts::ARCH, std::env::consts::OS);
    let mut releases: Vec<_> = std::fs::read_dir(repository().join("tests/fixtures/modules"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_string_lossy().ends_with(&platform))
        .collect();
    releases.sort();
    releases
        .iter()
        .flat_map(|release| modules(release))
        .collect()
}

fn modules(release: &Path) -> Vec<Frozen> {
    let manifest = std::fs::read(release.join("manifest.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let modules = manifest["modules"].as_array().unwrap();
    assert!(!modules.is_empty(), "{}", release.display());
    modules
        .iter()
        .map(|module| Frozen {
            name: text(&module["name"]),
            path: thaw(&release.join(text(&module["file"]))),
            sha256: text(&module["sha256"]),
            sdk: text(&manifest["sdk"]),
        })
        .collect()
}

/// The file as it was built. They are kept gzipped, which halves what a clone has to fetch and to hold.
fn thaw(file: &Path) -> PathBuf {
    let release = file.parent().and_then(Path::file_name).unwrap();
    let dir = target_dir().join("frozen").join(release);
    std::fs::create_dir_all(&dir).unwrap();
    let output = Command::new("gzip").arg("-dc").arg(file).output().unwrap();
    assert!(output.status.success(), "{}: {output:?}", file.display());
    let path = dir.join(file.file_stem().unwrap());
    // Another test may load the file that is there: it is replaced, not written.
    let mut whole = tempfile::NamedTempFile::new_in(&dir).unwrap();
    std::io::Write::write_all(&mut whole, &output.stdout).unwrap();
    whole.persist(&path).unwrap();
    path
}
