//! Why a configuration is refused, in one sentence that says what to change. Never carries a secret's value.

use std::io;
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("cannot read configuration {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("configuration {} is not a regular file of at most {limit} bytes", path.display())]
    NotAFile { path: PathBuf, limit: u64 },
    #[error(
        "{} (mode {mode:04o}) can be written by others; run `chmod go-w {}`", path.display(), path.display()
    )]
    WritableByOthers { path: PathBuf, mode: u32 },
    #[error("{} (mode {mode:04o}) belongs to user {owner}, who is neither you nor root; use a copy of your own", path.display())]
    Owner {
        path: PathBuf,
        mode: u32,
        owner: u32,
    },
    #[error("{place}: not valid TOML: {message}")]
    Syntax { place: String, message: String },
    #[error("{place}: unknown key `{key}` in {section}{}", hint(nearest.as_deref()))]
    UnknownKey {
        place: String,
        key: String,
        section: String,
        nearest: Option<String>,
    },
    #[error("{place}: `{key}` is {found}; allowed is {allowed}")]
    Value {
        /// `file:line`, or the flag or variable the value came from.
        place: String,
        key: String,
        found: String,
        allowed: String,
    },
    #[error("no default for {what}: set {set}")]
    NoDefault {
        what: &'static str,
        set: &'static str,
    },
}

fn hint(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |key| format!("; did you mean `{key}`?"))
}
