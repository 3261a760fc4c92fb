//! The module `hello` in each of its forms: in Rust, in C, and as released SDKs built them. What holds for one holds for all.

use std::path::PathBuf;

use super::c::c_module;
use super::frozen::frozen_modules;
use super::kernel::{Builder, Kernel, artifact};

/// A file of the module `hello`.
pub(crate) struct Hello {
    pub(crate) path: PathBuf,
    pub(crate) version: String,
}

/// Every one there is. That in Rust comes first.
pub(crate) fn hellos() -> Vec<Hello> {
    let built = [artifact("hello"), c_module("hello")].map(|path| Hello {
        path,
        version: env!("CARGO_PKG_VERSION").to_owned(),
    });
    let frozen = frozen_modules()
        .into_iter()
        .filter(|module| module.name == "hello")
        .map(|module| Hello {
            path: module.path,
            version: module.sdk,
        });
    built.into_iter().chain(frozen).collect()
}

impl Hello {
    /// A kernel with it alone.
    pub(crate) async fn start(&self) -> Kernel {
        self.builder().start().await
    }

    pub(crate) fn builder(&self) -> Builder {
        // For whoever reads why a test failed.
        println!("hello is {}", self.path.display());
        Kernel::builder().module_at("hello", self.path.clone(), "")
    }

    /// Where the harness put the file for `kernel`.
    pub(crate) fn file(&self, kernel: &Kernel) -> PathBuf {
        let modules = kernel.dir.path().join("modules");
        modules.join(self.path.file_name().unwrap())
    }
}
