//! What a child of the kernel finds in its environment: what a library needs to be opened and to run, and no more, since
//! secrets may be in the rest.

use std::ffi::OsString;
use std::path::Path;

/// For opening a library at all.
pub(crate) const FOR_LIBRARIES: [&str; 6] = [
    "PATH",
    "HOME",
    "LANG",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "DYLD_LIBRARY_PATH",
];

/// For running one besides: how it writes text and times, where this system keeps its certificates, what a panic shows.
const FOR_MODULES: [&str; 6] = [
    "LC_ALL",
    "TZ",
    "TZDIR",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "RUST_BACKTRACE",
];

/// The whole environment of a module process. `named` are the variables that its configuration adds; temporary files go to the
/// directory that it can write.
pub(crate) fn of_module(
    named: &[String],
    own: &Path,
    environment: impl Fn(&str) -> Option<OsString>,
) -> Vec<(String, OsString)> {
    let mut found: Vec<(String, OsString)> = Vec::new();
    let names = FOR_LIBRARIES.iter().chain(&FOR_MODULES).copied();
    for name in names.chain(named.iter().map(String::as_str)) {
        if found.iter().any(|(known, _)| known == name) {
            continue;
        }
        if let Some(value) = environment(name) {
            found.push((name.to_owned(), value));
        }
    }
    if !named.iter().any(|name| name == "TMPDIR") {
        found.retain(|(name, _)| name != "TMPDIR");
        found.push(("TMPDIR".to_owned(), own.into()));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_listed_or_named_is_passed_on() {
        let everything = |name: &str| Some(OsString::from(format!("the {name}")));
        let names = |named: &[&str]| -> Vec<String> {
            let named: Vec<String> = named.iter().map(|&name| name.to_owned()).collect();
            let mut found: Vec<String> = of_module(&named, Path::new("/own"), everything)
                .into_iter()
                .map(|(name, _)| name)
                .collect();
            found.sort();
            found
        };
        let mut listed: Vec<&str> = FOR_LIBRARIES.into_iter().chain(FOR_MODULES).collect();
        listed.sort_unstable();
        assert_eq!(names(&[]), listed);
        assert_eq!(names(&["HOME"]), listed, "once");
        let mut more = listed.clone();
        more.push("HTTPS_PROXY");
        more.sort_unstable();
        assert_eq!(names(&["HTTPS_PROXY"]), more);
    }

    #[test]
    fn temporary_files_go_where_it_can_write() {
        let set = |name: &str| (name == "TMPDIR").then(|| OsString::from("/tmp"));
        let own = Path::new("/own");
        for (named, expect) in [(&[][..], "/own"), (&["TMPDIR".to_owned()], "/tmp")] {
            assert_eq!(
                of_module(named, own, set),
                [("TMPDIR".to_owned(), OsString::from(expect))]
            );
        }
        assert_eq!(
            of_module(&["ABSENT".to_owned()], own, |_| None),
            [("TMPDIR".to_owned(), OsString::from("/own"))]
        );
    }
}
