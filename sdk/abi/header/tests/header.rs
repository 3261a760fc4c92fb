//! midplane.h is what sdk/abi says, and a C and a C++ compiler agree.

use std::path::{Path, PathBuf};
use std::process::Command;

use midplane_abi::{Descriptor, flag, grant};
use tempfile::TempDir;

const STRICT: [&str; 4] = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"];
/// A whole translation unit that uses what the header defines.
const MODULE: &str = r#"
#include <midplane.h>
MP_MODULE_DESCRIPTOR_WITH("sample", "1.2.3-rc.1", MP_GRANT_SECRETS, MP_FLAG_EXCLUSIVE, 2, 3, "/a\n/b/*", "/c", "store");
static const mp_host *host;
mp_status midplane_module_entry(const mp_host *table, mp_module *out) {
    host = table;
    host->fail(mp_text("no"));
    return out->size < sizeof *out || mp_is(mp_none(), "") ? MP_INVALID : MP_OK;
}
"#;

fn include() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../include")
}

/// C always, and C++ where there is a compiler for it.
fn dialects() -> Vec<(&'static str, &'static str)> {
    let mut dialects = vec![("c", "c11"), ("c", "c17")];
    if Command::new("c++").arg("--version").output().is_ok() {
        dialects.extend([("c++", "c++17"), ("c++", "c++20")]);
    } else {
        println!("there is no C++ compiler here: C++ is NOT checked");
    }
    dialects
}

/// Compiles `source` and returns what the compiler says, if it does not like it.
fn compile(
    (language, standard): (&str, &str),
    source: &str,
    include: &Path,
    arguments: &[&str],
) -> Result<TempDir, String> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("source");
    std::fs::write(&file, source).unwrap();
    let output = Command::new(if language == "c" { "cc" } else { "c++" })
        .args(STRICT)
        .arg(format!("-std={standard}"))
        .arg("-I")
        .arg(include)
        .args(["-x", language])
        .arg(&file)
        .arg("-o")
        .arg(dir.path().join("out"))
        .args(arguments)
        .output()
        .expect("a C compiler");
    if output.status.success() {
        Ok(dir)
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

#[test]
fn it_is_what_the_sources_say() {
    let found = std::fs::read_to_string(include().join("midplane.h")).unwrap();
    assert!(
        found == midplane_header::header().unwrap(),
        "midplane.h is stale: run scripts/generate-header"
    );
}

#[test]
fn its_version_is_the_sdk_s() {
    let manifest = std::fs::read_to_string(include().join("../../Cargo.toml")).unwrap();
    let version = format!("\nversion = \"{}\"\n", env!("CARGO_PKG_VERSION"));
    assert!(
        manifest.contains(&version),
        "sdk/abi/header/Cargo.toml has another version than the workspace"
    );
}

#[test]
fn it_compiles_without_a_warning() {
    for dialect in dialects() {
        for source in [
            MODULE,
            "#include <midplane.h>\n#include <midplane.h>\nint main(void) { return 0; }\n",
        ] {
            compile(dialect, source, &include(), &["-c"])
                .unwrap_or_else(|said| panic!("{dialect:?}: {said}"));
        }
    }
}

#[test]
fn a_layout_that_differs_does_not_compile() {
    let header = std::fs::read_to_string(include().join("midplane.h")).unwrap();
    for (right, wrong, field) in [
        (
            "    uint64_t expires_at;",
            "    uint32_t expires_at;\n    uint64_t x;",
            "size of mp_session",
        ),
        (
            "    size_t headers_len;",
            "    uint64_t x;\n    size_t headers_len;",
            "mp_request_head.headers_len",
        ),
        (
            "    uint8_t version[64];",
            "    uint8_t version[32];",
            "mp_descriptor_body.public_routes",
        ),
    ] {
        assert!(header.contains(right));
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("midplane.h"), header.replace(right, wrong)).unwrap();
        for dialect in dialects() {
            let said =
                compile(dialect, "#include <midplane.h>\n", dir.path(), &["-c"]).unwrap_err();
            assert!(said.contains(field), "{said}");
        }
    }
}

#[test]
fn texts_too_long_and_a_second_descriptor_are_refused() {
    let long = format!(
        "#include <midplane.h>\nMP_MODULE_DESCRIPTOR(\"{}\", \"1\");\n",
        "a".repeat(64)
    );
    let twice = format!("{MODULE}MP_MODULE_DESCRIPTOR(\"other\", \"1\");\n");
    for dialect in dialects() {
        let said = compile(dialect, &long, &include(), &["-c"]).unwrap_err();
        assert!(said.contains("too long for its field"), "{said}");
        let said = compile(dialect, &twice, &include(), &["-c"]).unwrap_err();
        assert!(said.contains("redefinition"), "{said}");
    }
}

#[test]
fn the_descriptor_of_c_is_that_of_rust() {
    let print = format!(
        "{MODULE}\n#include <stdio.h>\n\
         int main(void) {{ return fwrite(&mp_module_descriptor, sizeof mp_module_descriptor, 1, stdout) != 1; }}\n"
    );
    let rust = Descriptor::new("sample", "1.2.3-rc.1")
        .grants(grant::SECRETS)
        .flags(flag::EXCLUSIVE)
        .state_schemas(2, 3)
        .public_routes("/a\n/b/*")
        .internal_routes("/c");
    // SAFETY: no padding, as the layout's assertions show, and all of it is initialised.
    let rust = unsafe {
        std::slice::from_raw_parts((&raw const rust).cast::<u8>(), size_of::<Descriptor>())
    };
    let offset = |field| {
        let layout = midplane_abi::LAYOUTS
            .iter()
            .find(|layout| layout.name == "DescriptorBody")
            .unwrap();
        size_of::<Descriptor>() - layout.size
            + layout
                .fields
                .iter()
                .find(|(name, _)| *name == field)
                .unwrap()
                .1
    };
    for dialect in dialects() {
        let dir = compile(dialect, &print, &include(), &[]).unwrap();
        let c = Command::new(dir.path().join("out"))
            .output()
            .unwrap()
            .stdout;
        assert_eq!(c[..offset("calls")], rust[..offset("calls")], "{dialect:?}");
        let text = |field| {
            let bytes = c[offset(field)..].split(|byte| *byte == 0).next().unwrap();
            std::str::from_utf8(bytes).unwrap()
        };
        assert_eq!(text("calls"), "store");
        assert_eq!(
            text("sdk"),
            concat!("midplane.h ", env!("CARGO_PKG_VERSION"))
        );
        assert!(
            ["gcc ", "clang "]
                .iter()
                .any(|name| text("compiler").starts_with(name)),
            "{}",
            text("compiler")
        );
        assert_eq!(c.len(), size_of::<Descriptor>());
    }
}
