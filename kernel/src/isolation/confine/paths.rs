//! Which files every program needs to read, each with its reason, and which a module's configuration names. Opens
//! nothing.

#![cfg_attr(
    not(target_os = "linux"),
    expect(dead_code, reason = "only Landlock asks for most of it")
)]

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::modules::trail::Trail;

/// Read with all that is below; what is not there is left out. Everything here is the system's, and everyone may read it.
///
/// A rule holds for the file that is there when it is made. One that is replaced later (a resolver's configuration by another
/// network, certificates by an update) is read again by the next generation.
pub(super) const OF_THE_SYSTEM: [&str; 45] = [
    // Shared libraries: those the module is linked with, and those that the C library opens when names are looked up or
    // text is converted. NixOS and Guix keep theirs, and much of what follows, in a store that everyone may read.
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/nix/store",
    "/gnu/store",
    "/run/current-system/profile/lib",
    "/etc/ld.so.cache",
    // Looking up names: getaddrinfo(3).
    "/etc/resolv.conf",
    "/etc/nsswitch.conf",
    "/etc/host.conf",
    "/etc/hosts",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/protocols",
    // Where resolv.conf leads to when a service writes it. The whole directory, since each change makes a new file.
    "/run/systemd/resolve",
    "/run/NetworkManager/resolv.conf",
    "/run/resolvconf",
    "/run/connman/resolv.conf",
    // Certificates that TLS trusts, where Debian, Fedora, Arch, openSUSE and Alpine have them, with where links lead to.
    // Never the directories of private keys beside them.
    "/etc/ssl/certs",
    "/etc/ssl/cert.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/openssl.cnf",
    "/etc/pki/tls/certs",
    "/etc/pki/tls/cert.pem",
    "/etc/pki/tls/openssl.cnf",
    "/etc/pki/ca-trust/extracted",
    "/etc/ca-certificates/extracted",
    "/etc/crypto-policies",
    "/usr/share/ca-certificates",
    "/usr/share/pki",
    "/usr/local/share/ca-certificates",
    "/var/lib/ca-certificates",
    // Local time.
    "/etc/localtime",
    "/etc/timezone",
    "/usr/share/zoneinfo",
    // Messages of the C library in the user's language.
    "/usr/share/locale",
    // Random numbers, where the call for them is not used.
    "/dev/urandom",
    "/dev/random",
    // How many threads are worth starting.
    "/sys/devices/system/cpu",
    "/proc/self/cgroup",
    // What it may see of itself: where its code lies, for backtraces, and how much memory it has.
    "/proc/self/maps",
    "/proc/self/stat",
    "/proc/self/status",
];

/// Written by whoever wants something gone.
pub(super) const NULL: &str = "/dev/null";

/// Where programs are, for a module that may start some.
pub(super) const PROGRAMS: [&str; 6] = [
    "/bin",
    "/usr/bin",
    "/usr/local/bin",
    "/usr/libexec",
    "/run/current-system/sw/bin",
    "/run/current-system/profile/bin",
];

/// Variables of its environment whose value says where the system keeps something that is to be read.
const NAMING: [&str; 4] = ["SSL_CERT_FILE", "SSL_CERT_DIR", "TZDIR", "LD_LIBRARY_PATH"];

/// Every absolute path that stands as a string in the module's own configuration, at any depth.
pub(crate) fn named_in(config: &Map<String, Value>) -> Vec<PathBuf> {
    fn collect(value: &Value, found: &mut Vec<PathBuf>) {
        match value {
            Value::String(text) if text.starts_with('/') && !text.contains('\0') => {
                found.push(PathBuf::from(text));
            }
            Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
            Value::Object(members) => members.values().for_each(|item| collect(item, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    config.values().for_each(|value| collect(value, &mut found));
    found.sort();
    found.dedup();
    found
}

/// What the environment says of where the system's files are.
pub(super) fn named_by_environment(
    environment: impl Fn(&str) -> Option<std::ffi::OsString>,
) -> Vec<PathBuf> {
    NAMING
        .iter()
        .filter_map(|name| environment(name))
        .flat_map(|value| std::env::split_paths(&value).collect::<Vec<_>>())
        .filter(|path| path.is_absolute())
        .collect()
}

/// Whether `path`, which the module's configuration only mentions, would open what is not the module's: the directory of its
/// own with those of other modules beside it, a home, everything. A base path of a URL, `/`, is such a string. All
/// without links.
pub(super) fn is_too_wide(path: &Path, own: &Path) -> bool {
    path.parent().is_none() || (own != path && own.starts_with(path))
}

/// Whether what is found at `path` is decided in one of these directories, given without links: an entry of it, or a link in it
/// that the way follows.
pub(super) fn is_led_through(path: &Path, directories: &[PathBuf]) -> bool {
    Trail::follow(path).places.iter().any(|place| {
        directories
            .iter()
            .any(|directory| place.dir.starts_with(directory))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn absolute_paths_of_a_configuration_are_found_wherever_they_stand() {
        let Value::Object(config) = json!({
            "file": "/srv/model.bin",
            "url": "https://example.test/v1",
            "relative": "models/a",
            "nested": { "list": [1, "/srv/b", { "deep": "/srv/c" }, null, "/srv/b"] },
            "/srv/key": true,
            "nul": "/a\0b",
        }) else {
            unreachable!("it is an object")
        };
        assert_eq!(
            named_in(&config),
            ["/srv/b", "/srv/c", "/srv/model.bin"].map(PathBuf::from)
        );
        assert_eq!(named_in(&Map::new()), Vec::<PathBuf>::new());
    }

    #[test]
    fn a_mention_opens_nothing_that_is_not_the_modules() {
        let own = Path::new("/home/me/.local/share/midplane/state/chat");
        for (path, wide) in [
            ("/", true),
            ("/home", true),
            ("/home/me", true),
            ("/home/me/.local/share/midplane", true),
            ("/home/me/.local/share/midplane/state", true),
            ("/home/me/.local/share/midplane/state/chat", false),
            ("/home/me/.local/share/midplane/state/chat/cache", false),
            ("/home/me/models", false),
            ("/srv", false),
        ] {
            assert_eq!(is_too_wide(Path::new(path), own), wide, "{path}");
        }
    }

    #[test]
    fn the_environment_says_where_files_are() {
        let set = |name: &str| match name {
            "SSL_CERT_FILE" => Some("/certs/ca.pem".into()),
            "LD_LIBRARY_PATH" => Some("/a/lib:relative::/b/lib".into()),
            _ => None,
        };
        assert_eq!(
            named_by_environment(set),
            ["/certs/ca.pem", "/a/lib", "/b/lib"].map(PathBuf::from)
        );
    }

    #[test]
    fn who_decides_what_a_path_means() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        for directory in ["own/sub", "other"] {
            std::fs::create_dir_all(root.join(directory)).unwrap();
        }
        let link = |target: &str, at: &str| {
            std::os::unix::fs::symlink(target, root.join(at)).unwrap();
        };
        link("../other", "own/planted");
        link("own", "way-in");
        link("own/planted", "way-through");
        let writable = [root.join("own")];
        for (path, led) in [
            ("own", false),
            ("other", false),
            ("other/file", false),
            ("own/../other", false),
            ("way-in", false),
            ("own/sub", true),
            ("own/absent", true),
            ("own/planted", true),
            ("own/planted/file", true),
            ("way-in/sub", true),
            ("way-in/planted/file", true),
            ("way-through/file", true),
            ("other/../own/sub", true),
        ] {
            assert_eq!(is_led_through(&root.join(path), &writable), led, "{path}");
        }
    }
}
