//! Modules in C, compiled from `midplane.h` as their authors do.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use super::kernel::target_dir;

/// As `sdk/include/README.md` says, and every warning is an error.
const FLAGS: &[&str] = &[
    "-std=c11",
    "-Wall",
    "-Wextra",
    "-Wpedantic",
    "-Werror",
    "-O1",
    "-fPIC",
    "-fvisibility=hidden",
];

/// One of `modules/hello-c`, by the name of its source.
pub(crate) fn c_module(name: &str) -> PathBuf {
    static COMPILING: Mutex<()> = Mutex::new(());
    let source = repository().join(format!("modules/hello-c/{name}.c"));
    // Where and as cargo would name it, but for the folder.
    let dir = target_dir().join("c");
    let suffix = std::env::consts::DLL_SUFFIX;
    let (path, private) = (
        dir.join(format!("libmidplane_{name}{suffix}")),
        dir.join(format!("{name}.{}", std::process::id())),
    );
    let _one = COMPILING.lock().unwrap_or_else(|lock| lock.into_inner());
    std::fs::create_dir_all(&dir).unwrap();
    // Another test may load the file that is there: it is replaced, not written.
    compile(&[&source], &["-shared"], &private);
    std::fs::rename(&private, &path).unwrap();
    path
}

/// Compiles and links `sources` to `to`, with the header of the SDK at hand.
pub(crate) fn compile(sources: &[&Path], arguments: &[&str], to: &Path) {
    let output = Command::new("cc")
        .args(FLAGS)
        .arg("-I")
        .arg(repository().join("sdk/include"))
        .args(arguments)
        .arg("-o")
        .arg(to)
        .args(sources)
        .output()
        .expect("a C compiler");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

pub(crate) fn repository() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).expect("tests/rust is in it")
}
