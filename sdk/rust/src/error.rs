//! What a module's functions fail with.

use std::fmt;

/// `std::result::Result` with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Any error, with its causes told in one line.
///
/// It does not implement [`std::error::Error`], so that `?` converts from everything that does.
pub struct Error(Box<dyn std::error::Error + Send + Sync>);

impl Error {
    /// An error that is a sentence.
    pub fn msg(message: impl Into<String>) -> Error {
        Error(message.into().into())
    }
}

impl<E: Into<Box<dyn std::error::Error + Send + Sync>>> From<E> for Error {
    fn from(error: E) -> Error {
        Error(error.into())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_told_in_one_line() {
        fn read() -> Result<()> {
            Err(std::io::Error::new(
                std::io::ErrorKind::NotFound,
                "no such file",
            ))?
        }
        assert_eq!(read().unwrap_err().to_string(), "no such file");
        assert_eq!(Error::msg("set a model").to_string(), "set a model");
    }
}
