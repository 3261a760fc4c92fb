//! Modules as the SDKs of earlier releases built them: `tests/fixtures/modules/<version>-<architecture>-<system>`, with a
//! manifest each. `scripts/freeze-sdk` makes them.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::c::repository;

/// A file of a release.
pub(crate) struct Frozen {
    /// The module's, as its descriptor has it.
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    pub(crate) sha256: String,
    /// The release's SDK.
    pub(crate) sdk: String,
}

/// Those of this architecture and system; says so when there are none.
pub(crate) fn frozen_modules() -> Vec<Frozen> {
    let root = repository().join("tests/fixtures/modules");
    let platform = format!("-{}-{}", std::env::consts::ARCH, std::env::consts::OS);
    let mut releases: Vec<_> = std::fs::read_dir(&root)
        .map(|entries| entries.map(|entry| entry.unwrap().path()).collect())
        .unwrap_or_default();
    releases.retain(|path| path.to_string_lossy().ends_with(&platform));
    releases.sort();
    if releases.is_empty() {
        println!(
            "{} has no modules of {}: NO frozen module is tested",
            root.display(),
            &platform[1..]
        );
    }
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
            path: release.join(text(&module["file"])),
            sha256: text(&module["sha256"]),
            sdk: text(&manifest["sdk"]),
        })
        .collect()
}
