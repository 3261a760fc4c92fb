//! What a library's file says about unloading it.

#![cfg(can_unload)]
#![expect(unsafe_code, reason = "libraries are loaded and called")]

mod support;

use std::ffi::c_void;
use std::fs;

use midplane_unload::{Library, OpenError, Pin, prepare};
use support::*;

#[test]
fn a_library_that_leaves_nothing_is_unmapped() {
    let artifact = Artifact::compiled("plain.c", &[]);
    assert!(!artifact.findings.nodelete_cleared);
    let library = artifact.open();
    assert!(artifact.is_mapped());
    assert!(library.symbol(c"answer").is_some());
    assert!(library.symbol(c"question").is_none());
    close(library, PATIENCE).unwrap();
    assert!(!artifact.is_mapped());
}

#[test]
fn a_mark_that_forbids_unloading_is_cleared() {
    let artifact = Artifact::compiled("plain.c", &["-Wl,-z,nodelete", "-Wl,-z,global"]);
    assert!(artifact.findings.nodelete_cleared);
    let library = artifact.open();
    close(library, PATIENCE).unwrap();
    assert!(!artifact.is_mapped());

    // Cleared it stays: preparing the copy again changes nothing.
    let mut copy = fs::read(&artifact.path).unwrap();
    let before = copy.clone();
    assert!(!prepare(&mut copy).nodelete_cleared);
    assert_eq!(copy, before);
}

#[test]
fn a_mark_that_nobody_cleared_is_found_by_the_map() {
    let prepared = Artifact::compiled("plain.c", &[]);
    let marked = Artifact::compiled_as_is("plain.c", &["-Wl,-z,nodelete"]);
    // SAFETY: a library of these tests, with findings of another on purpose.
    let library = unsafe { Library::open(&marked.path, prepared.findings.clone()) }.unwrap();
    let resident = refuse(library);
    assert_eq!(resident.pins, [Pin::Mapped]);
    assert!(marked.is_mapped());
    // Asking again says the same, and the path cannot be used for another.
    let resident = refuse(resident.library);
    assert_eq!(resident.pins, [Pin::Mapped]);
    // SAFETY: as above.
    let again = unsafe { Library::open(&marked.path, prepared.findings) };
    assert!(matches!(again, Err(OpenError::AlreadyOpen)));
}

#[test]
fn unique_symbols_hold_by_name() {
    for (source, name) in [
        ("unique.c", "shared_by_all"),
        ("inline_static.cpp", "_ZZ13shared_by_allvE5value"),
    ] {
        let artifact = Artifact::compiled(source, &[]);
        let resident = refuse(artifact.open());
        assert_eq!(resident.pins, [Pin::UniqueSymbols(vec![name.to_owned()])]);
        assert!(artifact.is_mapped());
    }
}

#[test]
fn functions_that_are_not_followed_hold_by_name() {
    let resident = refuse(Artifact::compiled("unfollowed.c", &[]).open());
    assert_eq!(
        resident.to_string(),
        "it may call functions that are not followed: 1 (thrd_create)"
    );
}

#[test]
fn a_library_that_something_else_has_opened_too_goes_with_the_last() {
    let artifact = Artifact::compiled("reopened.c", &[]);
    let path = std::ffi::CString::new(artifact.path.to_str().unwrap()).unwrap();
    let library = artifact.open();
    library.call(c"open_again", path.as_ptr().cast());
    let mut handle: *mut c_void = std::ptr::null_mut();
    library.call(c"take", (&raw mut handle).cast());
    let resident = refuse(library);
    assert_eq!(resident.pins, [Pin::Mapped]);
    assert!(artifact.is_mapped());
    assert!(resident.library.symbol(c"take").is_none());

    // SAFETY: the library's other handle, which it does not use any more.
    unsafe { libc::dlclose(handle) };
    close(resident.library, PATIENCE).unwrap();
    assert!(!artifact.is_mapped());
}

#[test]
fn a_file_is_mapped_once_whatever_its_name() {
    let artifact = Artifact::compiled("plain.c", &[]);
    let linked = artifact.path.with_file_name("linked.so");
    fs::hard_link(&artifact.path, &linked).unwrap();
    let library = artifact.open();
    for path in [&artifact.path, &linked] {
        // SAFETY: a library of these tests.
        let again = unsafe { Library::open(path, artifact.findings.clone()) };
        assert!(matches!(again, Err(OpenError::AlreadyOpen)), "{path:?}");
    }
    assert!(artifact.is_mapped());
    close(library, PATIENCE).unwrap();
    assert!(!artifact.is_mapped());
}

#[test]
fn a_file_that_is_no_library_is_refused_with_the_linkers_words() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("text.so");
    let mut bytes = b"no library".to_vec();
    let findings = prepare(&mut bytes);
    fs::write(&path, &bytes).unwrap();
    // SAFETY: nothing in it can be run.
    let opened = unsafe { Library::open(&path, findings.clone()) };
    let Err(OpenError::Linker(why)) = opened else {
        panic!("{opened:?}");
    };
    assert!(why.contains("text.so"), "{why}");
    for path in ["plain.so", "/tmp/a\0b.so", "/tmp/$LIB/a.so"] {
        // SAFETY: as above.
        let opened = unsafe { Library::open(path.as_ref(), findings.clone()) };
        assert!(matches!(opened, Err(OpenError::Path)), "{path:?}");
    }
}

#[test]
fn a_damaged_file_is_a_finding_and_nothing_of_it_is_changed() {
    let whole = fs::read(&Artifact::compiled_as_is("plain.c", &["-Wl,-z,nodelete"]).path).unwrap();
    for len in (0..whole.len()).step_by(97) {
        let mut cut = whole[..len].to_vec();
        prepare(&mut cut);
        let changed = cut.iter().zip(&whole).filter(|(a, b)| a != b).count();
        assert!(changed <= 1, "cut at {len}: {changed} bytes changed");
    }
    for byte in 0..4096.min(whole.len()) {
        let mut damaged = whole.clone();
        damaged[byte] ^= 0xff;
        prepare(&mut damaged);
        assert_eq!(damaged.len(), whole.len());
    }
}
