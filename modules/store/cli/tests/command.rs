//! The command as it is run: data on standard output, the rest on standard error, and exit codes.

#![expect(clippy::unwrap_used, reason = "a test may")]

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use bytes::Bytes;
use midplane_store_backend::Batch;
use midplane_store_backend::sqlite::maintenance::Maintenance;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

fn store(file: &Path, arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_midplane-store"));
    command.args(arguments).arg("--file").arg(file);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // It may have refused before it has read all.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

/// What it says on standard output, or its exit code and what it says on standard error.
fn said(output: &Output) -> Result<String, String> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    match output.status.code() {
        Some(0) => Ok(text(&output.stdout)),
        code => Err(format!("{} {}", code.unwrap(), text(&output.stderr))),
    }
}

fn fill(file: &Path) {
    let store = Maintenance::open_or_make(file).unwrap();
    for (module, key, value) in [
        ("chat", &b"a"[..], &b"\xff\0"[..]),
        ("chat", b"b", b""),
        ("notes", b"\n", b"x"),
    ] {
        let batch = Batch::put(Bytes::from_static(key), Bytes::from_static(value));
        store.commit(module, &batch).unwrap();
    }
}

const EXPORTED: &str = r#"{"module":"chat","key":"YQ==","value":"/wA="}
{"module":"chat","key":"Yg==","value":""}
{"module":"notes","key":"Cg==","value":"eA=="}
"#;

#[test]
fn an_export_put_in_elsewhere_exports_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let (file, copy) = (dir.path().join("state.db"), dir.path().join("copy.db"));
    fill(&file);
    assert_eq!(said(&store(&file, &["export"], "")).unwrap(), EXPORTED);
    let notes = said(&store(&file, &["export", "--module", "notes"], "")).unwrap();
    assert_eq!(notes, EXPORTED.lines().last().unwrap().to_owned() + "\n");
    let put_in = store(&copy, &["import"], EXPORTED);
    assert_eq!(
        String::from_utf8_lossy(&put_in.stderr),
        "midplane-store: 3 entries are in\n"
    );
    assert_eq!(said(&store(&copy, &["export"], "")).unwrap(), EXPORTED);
    // What is kept is not written over by mistake.
    let again = said(&store(&copy, &["import"], EXPORTED)).unwrap_err();
    assert!(
        again.starts_with("1 midplane-store: the module chat keeps something already: add --merge"),
        "{again}"
    );
    let other = r#"{"module":"chat","key":"YQ==","value":"eA=="}"#;
    // A key twice: the last counts.
    let merged = format!("{}\n{other}", other.replace("eA", "eQ"));
    assert_eq!(
        said(&store(&copy, &["import", "--merge"], &merged)).unwrap(),
        ""
    );
    let exported = said(&store(&copy, &["export"], "")).unwrap();
    assert_eq!(exported, EXPORTED.replace("/wA=", "eA=="));
}

#[test]
fn what_cannot_be_read_is_named_with_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("state.db");
    for (bad, expect) in [
        ("{", "EOF while parsing"),
        (r#"{"module":"m","key":"?","value":""}"#, "Invalid symbol"),
        (
            r#"{"module":"m","key":"YQ==","value":"","more":1}"#,
            "unknown field `more`",
        ),
        (
            r#"{"module":"../m","key":"YQ==","value":""}"#,
            "no module has such a name",
        ),
        (
            r#"{"module":"","key":"YQ==","value":""}"#,
            "no module has such a name",
        ),
        (&"x".repeat(5 << 20), "expected value"),
        (&format!("\"{}", "x".repeat(5 << 20)), "EOF while parsing"),
    ] {
        let input = format!("{EXPORTED}{bad}\n");
        let told = said(&store(&file, &["import", "--merge"], &input)).unwrap_err();
        assert!(
            told.starts_with("1 midplane-store: line 4 of standard input is no entry"),
            "{told}"
        );
        assert!(told.contains(expect), "{told}");
    }
    let other = r#"{"module":"other","key":"YQ==","value":""}"#;
    let told = said(&store(&file, &["import"], &format!("{other}\n{EXPORTED}"))).unwrap_err();
    assert!(told.contains("chat keeps something already"), "{told}");
    assert!(told.contains("0 entries of other modules are in"), "{told}");
    let told = said(&store(
        &file,
        &["import", "--merge"],
        r#"{"module":"m","key":"","value":""}"#,
    ))
    .unwrap_err();
    assert!(
        told.contains("cannot be put in: a key has 1 to 1024 bytes"),
        "{told}"
    );
}

#[test]
fn a_backup_is_a_store_and_never_takes_a_files_place() {
    let dir = tempfile::tempdir().unwrap();
    let (file, copy) = (dir.path().join("state.db"), dir.path().join("copy.db"));
    fill(&file);
    let to = copy.to_str().unwrap();
    assert_eq!(said(&store(&file, &["backup", to], "")), Ok(String::new()));
    assert_eq!(
        fs::metadata(&copy).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert_eq!(said(&store(&copy, &["export"], "")).unwrap(), EXPORTED);
    let before = fs::read(&copy).unwrap();
    let told = said(&store(&file, &["backup", to], "")).unwrap_err();
    assert!(
        told.starts_with("73 midplane-store: ") && told.contains("is there already"),
        "{told}"
    );
    assert_eq!(fs::read(&copy).unwrap(), before);
    let nowhere = dir.path().join("none/copy.db");
    let told = said(&store(&file, &["backup", nowhere.to_str().unwrap()], "")).unwrap_err();
    assert!(
        told.starts_with("73 midplane-store: cannot make the backup"),
        "{told}"
    );
    let left = fs::read_dir(dir.path()).unwrap().flatten();
    assert!(
        left.filter(|file| file.file_name().to_string_lossy().starts_with(".midplane"))
            .count()
            == 0
    );
}

#[test]
fn a_backup_goes_through_no_link_and_says_what_keeps_it() {
    let dir = tempfile::tempdir().unwrap();
    let (file, link) = (dir.path().join("state.db"), dir.path().join("link"));
    fill(&file);
    for leads_to in ["nowhere", "state.db"] {
        symlink(leads_to, &link).unwrap();
        let told = said(&store(&file, &["backup", link.to_str().unwrap()], "")).unwrap_err();
        assert!(told.contains("is there already"), "{told}");
        assert!(!dir.path().join("nowhere").exists());
        fs::remove_file(&link).unwrap();
    }
    // The file itself may be named by a link.
    symlink("state.db", &link).unwrap();
    assert_eq!(said(&store(&link, &["export"], "")).unwrap(), EXPORTED);
    let nobodys = dir.path().join("no-directory");
    fs::write(&nobodys, "").unwrap();
    let to = nobodys.join("copy");
    let told = said(&store(&file, &["backup", to.to_str().unwrap()], "")).unwrap_err();
    assert!(told.starts_with("73 "), "{told}");
    assert!(told.contains("cannot make the backup"), "{told}");
}

#[test]
fn an_interrupted_backup_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (file, copies) = (dir.path().join("state.db"), dir.path().join("copies"));
    fs::create_dir(&copies).unwrap();
    let large = Maintenance::open_or_make(&file).unwrap();
    for n in 0..48_u8 {
        let batch = Batch::put(Bytes::copy_from_slice(&[n]), vec![n; 1 << 20].into());
        large.commit("m", &batch).unwrap();
    }
    drop(large);
    let left = || fs::read_dir(&copies).unwrap().flatten().count();
    let mut interrupted = 0;
    for n in 0..20 {
        let to = copies.join(n.to_string());
        let mut command = Command::new(env!("CARGO_BIN_EXE_midplane-store"));
        command.arg("backup").arg(&to).arg("--file").arg(&file);
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        while left() == 0 && child.try_wait().unwrap().is_none() {}
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
        // It may be faster.
        let _ = kill(pid, Signal::SIGINT);
        let output = child.wait_with_output().unwrap();
        match output.status.code() {
            Some(0) => fs::remove_file(&to).unwrap(),
            Some(130) => {
                let told = String::from_utf8_lossy(&output.stderr);
                assert!(told.contains("there is no backup"), "{told}");
                interrupted += 1;
            }
            code => panic!("{code:?} {output:?}"),
        }
        assert_eq!(left(), 0, "something is left");
    }
    assert!(interrupted > 0, "all of them were faster");
}

#[test]
fn faults_and_missing_files_have_their_exit_codes() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("state.db");
    for command in ["export", "check", "stats"] {
        let told = said(&store(&file, &[command], "")).unwrap_err();
        assert!(
            told.starts_with("69 midplane-store: there is no store at"),
            "{told}"
        );
    }
    assert!(!file.exists());
    fill(&file);
    assert!(
        said(&store(&file, &["check"], ""))
            .unwrap()
            .ends_with("state.db is sound\n")
    );
    assert!(
        said(&store(&file, &["stats"], ""))
            .unwrap()
            .contains("\nchat ")
    );
    let mut content = fs::read(&file).unwrap();
    let end = content.len();
    content[end - 200..].fill(0xa5);
    fs::write(&file, content).unwrap();
    let told = store(&file, &["check"], "");
    assert_eq!(told.status.code(), Some(1), "{told:?}");
    assert_eq!(store(&file, &["unknown"], "").status.code(), Some(64));
}
