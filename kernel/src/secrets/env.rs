//! The `env:` source: a variable of the kernel's own environment, read when it is asked for.
//!
//! The value stays readable in the kernel's /proc/PID/environ for processes of the same user.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use super::{Secret, SecretError};

/// `lookup` is `std::env::var_os` outside tests.
pub(super) fn read(
    variable: &str,
    lookup: impl Fn(&str) -> Option<OsString>,
) -> Result<Secret, SecretError> {
    let value = lookup(variable).ok_or_else(|| {
        SecretError::NotFound(format!(
            "the environment variable {variable} is not set; set it and start the kernel again"
        ))
    })?;
    Secret::parse(value.into_vec()).map_err(SecretError::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn set_unset_and_malformed() {
        let lookup = |name: &str| match name {
            "GOOD" => Some("sk-1".into()),
            "EMPTY" => Some("".into()),
            _ => None,
        };
        assert_eq!(read("GOOD", lookup).unwrap().expose(), "sk-1");
        assert!(matches!(
            read("EMPTY", lookup),
            Err(SecretError::Malformed(_))
        ));
        assert!(
            matches!(read("GONE", lookup), Err(SecretError::NotFound(text)) if text.contains("GONE"))
        );
    }
}
