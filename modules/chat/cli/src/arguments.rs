//! The command line: what may be said on it, and what it comes to together with piped input.

use std::path::PathBuf;

use clap::Parser;

/// The kernel takes bodies of 1 MiB by default (`[limits]`); some of it is the request around the words, and JSON
/// writes a line end as two bytes.
pub(crate) const MAX_INPUT_BYTES: usize = 768 * 1024;

/// A conversation in the terminal.
///
/// With words, or with something piped in, says them and prints the answer. Without, asks for them until Ctrl-D.
#[derive(Debug, Parser)]
#[command(
    name = "midplane-chat",
    version,
    after_help = "Exit status: 0 answered, 1 refused or failed, 64 wrong usage, 69 no kernel, 130 stopped by Ctrl-C."
)]
pub(crate) struct Arguments {
    /// The kernel's socket [default: $MIDPLANE_SOCKET, else the usual place]
    #[arg(long, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,

    /// Where the host key is [default: $MIDPLANE_HOST_KEY, else host.key beside the socket]
    #[arg(long, value_name = "FILE")]
    pub(crate) host_key_file: Option<PathBuf>,

    /// Which of the kernel's secrets is the API key to answer with
    #[arg(long, value_name = "ID", env = "MIDPLANE_SECRET_KEY_ID")]
    pub(crate) secret_key_id: Option<String>,

    /// Print the turn's ChatKit events, one JSON object a line, instead of the answer's text
    #[arg(long)]
    pub(crate) json: bool,

    /// What to say; options go before it. What is piped in is added behind
    #[arg(value_name = "WORDS", trailing_var_arg = true)]
    pub(crate) words: Vec<String>,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Task {
    Say(String),
    Converse,
}

/// The arguments ask for something that cannot be done.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum UsageError {
    #[error("there is nothing to say: give words, or pipe them in")]
    NothingToSay,
    #[error("what is piped in is not UTF-8 text")]
    NotText,
    #[error("there is more to say than fits a request: at most {MAX_INPUT_BYTES} bytes")]
    TooMuch,
    #[error("--json prints one turn: give words, or pipe them in")]
    JsonWithoutWords,
}

/// What words and piped input come to; `piped` is nothing where the input is a terminal.
pub(crate) fn task(
    words: &[String],
    piped: Option<Vec<u8>>,
    json: bool,
) -> Result<Task, UsageError> {
    let words = words.join(" ");
    let Some(piped) = piped else {
        return match (words.trim().is_empty(), json) {
            (false, _) => within_limit(words),
            (true, false) => Ok(Task::Converse),
            (true, true) => Err(UsageError::JsonWithoutWords),
        };
    };
    let piped = String::from_utf8(piped).map_err(|_| UsageError::NotText)?;
    match (words.trim().is_empty(), piped.trim().is_empty()) {
        (true, true) => Err(UsageError::NothingToSay),
        (true, false) => within_limit(piped),
        (false, true) => within_limit(words),
        (false, false) => within_limit(format!("{words}\n\n{piped}")),
    }
}

fn within_limit(text: String) -> Result<Task, UsageError> {
    if text.len() > MAX_INPUT_BYTES {
        return Err(UsageError::TooMuch);
    }
    Ok(Task::Say(text.trim_end().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_piped_input_are_put_together() {
        let say = |text: &str| Ok(Task::Say(text.to_owned()));
        for (words, piped, json, expected) in [
            ("", None, false, Ok(Task::Converse)),
            ("", None, true, Err(UsageError::JsonWithoutWords)),
            ("hi you", None, false, say("hi you")),
            ("hi", None, true, say("hi")),
            ("hi", Some(""), false, say("hi")),
            ("", Some("  piped\n"), true, say("  piped")),
            ("explain", Some("a\nb\n"), false, say("explain\n\na\nb")),
            ("", Some(" \n"), false, Err(UsageError::NothingToSay)),
            (" ", Some(""), false, Err(UsageError::NothingToSay)),
        ] {
            let words: Vec<String> = words.split_terminator(' ').map(str::to_owned).collect();
            let piped_bytes = piped.map(|text| text.as_bytes().to_vec());
            let found = task(&words, piped_bytes, json);
            assert_eq!(found, expected, "{words:?} {piped:?} {json}");
        }
        assert_eq!(task(&[], Some(vec![0xff]), false), Err(UsageError::NotText));
        let much = vec![b'a'; MAX_INPUT_BYTES];
        assert!(task(&[], Some(much.clone()), false).is_ok());
        assert_eq!(
            task(&["and".to_owned()], Some(much), false),
            Err(UsageError::TooMuch)
        );
    }

    #[test]
    fn options_end_where_the_words_begin() {
        let parse = |line: &str| {
            Arguments::try_parse_from(line.split(' '))
                .map(|arguments| (arguments.words.join(" "), arguments.json))
        };
        let parsed = parse("midplane-chat --json what does ls -l --json do").expect("valid");
        assert_eq!(parsed, ("what does ls -l --json do".to_owned(), true));
        let parsed = parse("midplane-chat -- --json").expect("valid");
        assert_eq!(parsed, ("--json".to_owned(), false));
        assert!(parse("midplane-chat --sokcet x").is_err());
    }
}
