//! What is refused before a swap: each fault of `tests/modules/refused` with its own sentence, while the old generation goes on.

mod deadlines;
mod served;
#[cfg(target_os = "linux")]
mod storage;
mod trust;

use std::path::Path;

use serde_json::json;

use crate::harness::{Kernel, apart, artifact};
use served::{Served, compile, expect_detail, install};

/// A file of `tests/modules/refused`, and what the author of such a module is told.
type Fault = (&'static str, &'static [&'static str]);

const FAULTS: [Fault; 22] = [
    (
        "restore_refuses",
        &["cannot take over: there is no label in it"],
    ),
    (
        "probe_fails",
        &["the module cannot serve: the model is gone"],
    ),
    (
        "descriptor_missing",
        &["no module descriptor", "#[midplane_sdk::module]"],
    ),
    (
        "descriptor_twice",
        &[
            "2 module descriptors",
            "a dependency is itself a module",
            "depend on a plain library",
        ],
    ),
    (
        "descriptor_short",
        &[
            "the descriptor is 40 bytes long",
            "needs at least 1056",
            "newer SDK",
        ],
    ),
    (
        "magic_wrong",
        &["magic is \"MIDPLANT\" instead of \"MIDPLANE\""],
    ),
    (
        "abi_major_other",
        &[
            "built for ABI 2, the kernel has ABI 1.0",
            "rebuild the module with an SDK of ABI 1",
        ],
    ),
    (
        "abi_minor_newer",
        &[
            "needs ABI 1.700, the kernel has 1.0",
            "update the kernel or build with an older SDK",
        ],
    ),
    (
        "name_other",
        &[
            "is the module `other`",
            "the module `refused` was to be loaded",
            "correct the path, or the name",
        ],
    ),
    (
        "name_malformed",
        &[
            "`name` is not valid",
            "\"../Refused\" is not a name",
            "lower-case letters",
        ],
    ),
    (
        "grant_unknown",
        &["`grants` is not valid", "knows no grant 0x40000000"],
    ),
    (
        "flag_reserved",
        &["`flags` is not valid", "0x2 is reserved"],
    ),
    (
        "symbol_unresolved",
        &[
            "the symbol `nowhere_defined`",
            "link what defines it into the module, statically",
        ],
    ),
    (
        "dependency_missing",
        &[
            "the shared library `libabsent.so`",
            "link it into the module, statically",
        ],
    ),
    (
        "constructor_crashes",
        &[
            "a constructor of the library ended the process with SIGABRT",
            "it was tried in one of its own",
        ],
    ),
    (
        "constructor_exits",
        &["a constructor of the library ended the process with status 0"],
    ),
    (
        "entry_missing",
        &[
            "exports no `midplane_module_entry`",
            "#[midplane_sdk::module] makes it",
        ],
    ),
    (
        "entry_refuses",
        &[
            "`midplane_module_entry` refused this kernel (status -3)",
            "ABI 1.0",
        ],
    ),
    (
        "function_missing",
        &["left the function `poll` empty", "fill it"],
    ),
    (
        "init_fails",
        &["init failed: the model's file is missing: set `model` to its path"],
    ),
    (
        "init_panics",
        &["init panicked: index out of bounds at src/lib.rs:7"],
    ),
    (
        "init_answers_nonsense",
        &[
            "init answered 77, which is no status of the ABI",
            "OK (0)",
            "FAILED (-4)",
        ],
    ),
];

#[tokio::test]
async fn every_faulty_library_is_refused_and_changes_nothing() {
    let mut served = Served::well(Kernel::builder()).await;
    let modules = served.modules();
    let configured = modules.join("well.so");
    let well = std::fs::read(&configured).unwrap();
    for (fault, reason) in FAULTS {
        let reason = told_apart(fault).unwrap_or(reason);
        let path = build(&modules, fault);
        let answer = served.put(&json!({"path": path})).await;
        served
            .expect_refused(&answer, 422, "module_refused", reason)
            .await;
        // The same where the module's file is replaced.
        install(&configured, &std::fs::read(&path).unwrap());
        let answer = served.reload(&json!({})).await;
        served
            .expect_refused(&answer, 422, "module_refused", reason)
            .await;
        install(&configured, &well);
    }
    served.stop_and_reload().await;
}

/// What is told instead where the module would have a process of its own.
fn told_apart(fault: &str) -> Option<&'static [&'static str]> {
    let told: &[&str] = match fault {
        "constructor_crashes" => &["its process ended (SIGABRT) while its library was opened"],
        "constructor_exits" => &["its process ended (exit status 0) while its library was opened"],
        _ => return None,
    };
    apart().then_some(told)
}

fn build(dir: &Path, fault: &str) -> std::path::PathBuf {
    if fault != "dependency_missing" {
        return compile(dir, fault, &[]);
    }
    let dependency = tempfile::tempdir().unwrap();
    let absent = dependency.path().join("libabsent.so");
    served::compile_as(&absent, "descriptor_missing", &["-Wl,-soname,libabsent.so"]);
    let absent = absent.to_str().unwrap();
    compile(dir, fault, &["-Wl,--no-as-needed", absent])
}

#[tokio::test]
async fn every_file_that_is_no_library_of_this_machine_is_refused_and_changes_nothing() {
    let mut served = Served::well(Kernel::builder()).await;
    let modules = served.modules();
    let whole = std::fs::read(modules.join("well.so")).unwrap();
    let patched = |at: usize, byte: u8| {
        let mut file = whole.clone();
        file[at] = byte;
        file
    };
    let (foreign, foreign_name) = if cfg!(target_arch = "aarch64") {
        (62, "built for x86_64")
    } else {
        (183, "built for aarch64")
    };
    let this = format!("this machine is {}", std::env::consts::ARCH);
    // `e_ident[EI_CLASS]`, `e_type` and `e_machine` of the ELF header.
    let mut files: Vec<(Vec<u8>, Vec<&str>)> = vec![
        (
            Vec::new(),
            vec!["not a shared library", "the file is empty"],
        ),
        (
            b"#!/bin/sh\nexit 0\n".to_vec(),
            vec![
                "not a shared library",
                "it starts with \"#!/bin/sh",
                "cdylib",
            ],
        ),
        (
            b"INPUT(libreal.so)".to_vec(),
            vec!["it starts with \"INPUT(libreal.so\""],
        ),
        (patched(4, 1), vec!["of the kind Elf32"]),
        (patched(16, 2), vec!["it is not a shared object"]),
        (patched(18, foreign), vec![foreign_name, &this]),
    ];
    // Nothing that ends before it is whole is taken for a module: neither in the header, nor by a byte.
    let lens = (1..8).map(|eighth| whole.len() * eighth / 8);
    for len in [64, 100, whole.len() - 1].into_iter().chain(lens) {
        files.push((
            whole[..len].to_vec(),
            vec!["cut short or damaged", "build or copy it again"],
        ));
    }
    let path = modules.join("patched.so");
    for (bytes, mut reason) in files {
        install(&path, &bytes);
        let answer = served.put(&json!({"path": path})).await;
        // The sentence starts with the file.
        reason.push(path.to_str().unwrap());
        served
            .expect_refused(&answer, 422, "module_refused", &reason)
            .await;
    }
    served.stop_and_reload().await;
}

/// As the SDK has it, whose errors and panics cross the boundary as words.
#[tokio::test]
async fn a_module_that_does_not_want_to_start_says_why() {
    let builder = Kernel::builder().module("faults", "config = { marker = \"old\" }");
    let mut served = Served::start(builder, "faults", "/marker", "old").await;
    let path = served.modules().join("libmidplane_faults.so");
    for (config, reason) in [
        (
            json!({"init": "error"}),
            &["init failed: set a better `init`"][..],
        ),
        (
            json!({"init": "panic"}),
            &["init panicked: init panics on purpose"],
        ),
        (
            json!({"markre": "new"}),
            &[
                "init failed: configuration: unknown member `markre`",
                "remove or correct it",
            ],
        ),
        (
            json!({"marker": 7}),
            &[
                "init failed: configuration: ",
                "invalid type: integer `7`, expected a string",
            ],
        ),
    ] {
        for answer in [
            served.put(&json!({"path": path, "config": config})).await,
            served.reload(&json!({"config": config})).await,
        ] {
            served
                .expect_refused(&answer, 422, "module_refused", reason)
                .await;
        }
    }
    // The configuration that was refused is forgotten: the next load has the one before.
    served.stop_and_reload().await;
}

#[tokio::test]
async fn a_kernel_does_not_start_with_a_module_that_it_refuses() {
    let dir = tempfile::tempdir().unwrap();
    let path = compile(dir.path(), "abi_major_other", &[]);
    let (code, said) = Kernel::builder().module_at("refused", path, "").refuse();
    assert_eq!(code, Some(69), "{said}");
    for words in ["the module refused cannot be loaded", "built for ABI 2"] {
        assert!(said.contains(words), "{said}");
    }
}

#[tokio::test]
async fn a_module_that_is_refused_at_first_is_not_there() {
    let kernel = Kernel::start(&["hello"]).await;
    let path = compile(
        &kernel.dir.path().join("modules"),
        "init_fails_silently",
        &[],
    );
    let put = kernel.host("PUT", "/modules/refused");
    let answer = put.json(&json!({"path": path})).send().await;
    expect_detail(
        &answer,
        422,
        "module_refused",
        &["init failed: the module gave no reason"],
    );
    let shown = kernel.host("GET", "/modules/refused").send().await;
    shown.expect_problem(404, "module_not_found");
    assert_eq!(served::copies(&kernel).len(), 1);
    // Under its own name it can be loaded as if nothing had been.
    let path = compile(&kernel.dir.path().join("modules"), "well", &[]);
    let put = kernel.host("PUT", "/modules/refused");
    put.json(&json!({"path": path}))
        .send()
        .await
        .expect_status(201);
    let put = kernel.host("PUT", "/modules/faults");
    let answer = put.json(&json!({"path": artifact("faults")})).send().await;
    answer.expect_problem(403, "module_path_forbidden");
}
