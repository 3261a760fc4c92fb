//! Why the system did not open a library, read from the words of `dlerror`, and what the author can do about it.
//!
//! The words are those of glibc's `elf/dl-*.c` and of Apple's dyld; whatever else it says is passed on as it is.

use midplane_unload::OpenError;

/// Why `dlopen` failed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unopened {
    #[error(
        "nothing defines the symbol `{0}`, which it needs: link what defines it into the module, statically"
    )]
    Symbol(String),
    #[error(
        "it needs the shared library `{0}`, which is not on this machine or not where the system looks: link it into the module, statically (a library beside the module's file is not found, and is never reloaded)"
    )]
    Dependency(String),
    #[error(
        "it needs {version} of {library}, and this machine's is older: build the module on this system or an older one"
    )]
    Version { version: String, library: String },
    #[error(
        "its code cannot be mapped ({0}): if the system's policy forbids it in the data directory, set `data_dir` in [kernel] to another"
    )]
    Map(String),
    #[error(
        "it wants more thread-local storage at a fixed place than is left ({0}): build it without -ftls-model=initial-exec"
    )]
    StaticTls(String),
    #[error("{0}")]
    Other(String),
}

impl From<&OpenError> for Unopened {
    fn from(error: &OpenError) -> Unopened {
        match error {
            OpenError::Linker(text) => Unopened::read(text),
            other => Unopened::Other(other.to_string()),
        }
    }
}

impl Unopened {
    fn read(text: &str) -> Unopened {
        // The path of the private copy tells the author nothing; that of another library does.
        let (library, said) = match text.split_once(": ") {
            Some((library, said)) if !library.contains(' ') => (library, said),
            _ => ("", text),
        };
        if let Some(symbol) = symbol(said) {
            return Unopened::Symbol(symbol);
        }
        if said.starts_with("cannot open shared object file") {
            return Unopened::Dependency(library.to_owned());
        }
        if let Some(dependency) = between(text, "Library not loaded: ", '\n') {
            return Unopened::Dependency(dependency.to_owned());
        }
        if let Some(version) = between(said, "version `", '\'') {
            return Unopened::Version {
                version: version.to_owned(),
                library: library.rsplit('/').next().unwrap_or(library).to_owned(),
            };
        }
        if said.starts_with("failed to map segment")
            || said.contains("cannot change memory protections")
        {
            return Unopened::Map(said.to_owned());
        }
        if said.contains("static TLS") {
            return Unopened::StaticTls(said.to_owned());
        }
        Unopened::Other(said.to_owned())
    }
}

fn symbol(said: &str) -> Option<String> {
    let symbol = said
        .strip_prefix("undefined symbol: ")
        .or_else(|| between(said, "symbol not found in flat namespace '", '\''))
        .or_else(|| between(said, "Symbol not found: ", '\n'))?;
    // With the version that was asked for, as in `name, version V`.
    Some(symbol.split(',').next().unwrap_or(symbol).trim().to_owned())
}

/// What stands after `start` until `end`, or to the end of the text.
fn between<'a>(text: &'a str, start: &str, end: char) -> Option<&'a str> {
    let (_, rest) = text.split_once(start)?;
    Some(rest.split(end).next().unwrap_or(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_says_becomes_what_to_do() {
        let check =
            |said: &str, expect: Unopened| assert_eq!(Unopened::read(said), expect, "{said}");
        let symbol = |name: &str| Unopened::Symbol(name.to_owned());
        check("/data/x-1.so: undefined symbol: SSL_new", symbol("SSL_new"));
        check(
            "/data/x-1.so: undefined symbol: SSL_new, version OPENSSL_3.0.0",
            symbol("SSL_new"),
        );
        check(
            "dlopen(/data/x-1.so, 0x0006): symbol not found in flat namespace '_SSL_new'",
            symbol("_SSL_new"),
        );
        check(
            "libnone.so.3: cannot open shared object file: No such file or directory",
            Unopened::Dependency("libnone.so.3".to_owned()),
        );
        check(
            "dlopen(/data/x-1.so, 0x0006): Library not loaded: @rpath/libnone.dylib\n  Referenced from: /data/x-1.so",
            Unopened::Dependency("@rpath/libnone.dylib".to_owned()),
        );
        check(
            "/lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.99\' not found (required by /data/x-1.so)",
            Unopened::Version {
                version: "GLIBC_2.99".to_owned(),
                library: "libc.so.6".to_owned(),
            },
        );
        check(
            "/data/x-1.so: failed to map segment from shared object: Operation not permitted",
            Unopened::Map(
                "failed to map segment from shared object: Operation not permitted".to_owned(),
            ),
        );
        check(
            "/data/x-1.so: cannot allocate memory in static TLS block",
            Unopened::StaticTls("cannot allocate memory in static TLS block".to_owned()),
        );
        check(
            "/data/x-1.so: invalid ELF header",
            Unopened::Other("invalid ELF header".to_owned()),
        );
        check(
            "something else: of a kind",
            Unopened::Other("something else: of a kind".to_owned()),
        );
        check("", Unopened::Other(String::new()));
    }
}
