//! What a run of the program is asked for: the arguments and what is piped in, checked and put together.

use std::io;
use std::path::PathBuf;

use crate::arguments::Arguments;

/// The kernel takes bodies of 1 MiB by default (`[limits]`); some of it is the request around the words, and JSON
/// writes a line end as two bytes.
pub(crate) const WORDS_BYTES_MAX: usize = 768 * 1024;
/// Far more than a chat module takes of one attachment; bounds what is kept of an endless pipe.
pub(crate) const PIPED_FILE_BYTES_MAX: usize = 64 * 1024 * 1024;
const NEWEST: &str = "last";

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Task {
    Say {
        words: String,
        files: Vec<Source>,
        thread: Option<Named>,
    },
    Converse {
        files: Vec<Source>,
        thread: Option<Named>,
    },
    Inquire(Inquiry),
}

/// What can be asked for instead of a conversation.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Inquiry {
    List { limit: Option<usize> },
    Show(Named),
    Delete(Named),
    Models,
}

/// A thread as somebody names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Named {
    Newest,
    Id(String),
}

/// Where the bytes of an attachment come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    File(PathBuf),
    Piped(Vec<u8>),
}

/// The arguments ask for something that cannot be done.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum UsageError {
    #[error("there is nothing to say: give words, or pipe them in")]
    NothingToSay,
    #[error("what is piped in is not UTF-8 text: attach it with --attach -")]
    NotText,
    #[error(
        "there is more to say than fits a request: at most {WORDS_BYTES_MAX} bytes; attach what is piped in with --attach -"
    )]
    TooMuch,
    #[error("what is piped in is too large to be attached: at most {PIPED_FILE_BYTES_MAX} bytes")]
    TooLarge,
    #[error("--json prints one turn: give words, or pipe them in")]
    JsonWithoutWords,
    #[error("--attach - attaches what is piped in, and nothing is")]
    NothingPiped,
    #[error("--show needs a thread: name it with --thread ID, or take the newest with --continue")]
    ShowWithoutThread,
}

/// The file with the instructions.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the instructions in {}: {source}", path.display())]
pub(crate) struct UnreadInstructions {
    path: PathBuf,
    source: io::Error,
}

impl Named {
    pub(crate) fn parse(name: &str) -> Named {
        match name {
            NEWEST => Named::Newest,
            id => Named::Id(id.to_owned()),
        }
    }
}

/// What the arguments come to. `piped` reads what is piped in, up to so many bytes, and is nothing where the input is a
/// terminal; it is asked only where that matters.
pub(crate) fn task(
    arguments: &Arguments,
    piped: impl FnOnce(usize) -> io::Result<Option<Vec<u8>>>,
) -> io::Result<Result<Task, UsageError>> {
    let thread = match (&arguments.thread, arguments.continues) {
        (Some(name), _) => Some(Named::parse(name)),
        (None, true) => Some(Named::Newest),
        (None, false) => None,
    };
    match inquiry(arguments, thread.as_ref()) {
        Some(Ok(inquiry)) => return Ok(Ok(Task::Inquire(inquiry))),
        Some(Err(error)) => return Ok(Err(error)),
        None => {}
    }
    let is_stdin = |file: &&PathBuf| file.as_os_str() == "-";
    let attaches_piped = arguments.attach.iter().any(|file| is_stdin(&file));
    let bytes_max = if attaches_piped {
        PIPED_FILE_BYTES_MAX
    } else {
        WORDS_BYTES_MAX
    };
    let piped = piped(bytes_max + 1)?;
    let (piped, attached) = if attaches_piped {
        (None, Some(piped))
    } else {
        (piped, None)
    };
    let named = arguments.attach.iter().filter(|file| !is_stdin(file));
    let mut files: Vec<Source> = named.cloned().map(Source::File).collect();
    match attached {
        Some(None) => return Ok(Err(UsageError::NothingPiped)),
        Some(Some(bytes)) if bytes.len() > PIPED_FILE_BYTES_MAX => {
            return Ok(Err(UsageError::TooLarge));
        }
        Some(Some(bytes)) => files.push(Source::Piped(bytes)),
        None => {}
    }
    let may_ask = !attaches_piped && piped.is_none();
    Ok(
        words(&arguments.words, piped).and_then(|words| match words {
            Some(words) => Ok(Task::Say {
                words,
                files,
                thread,
            }),
            None if !may_ask => Err(UsageError::NothingToSay),
            None if arguments.json => Err(UsageError::JsonWithoutWords),
            None => Ok(Task::Converse { files, thread }),
        }),
    )
}

fn inquiry(arguments: &Arguments, thread: Option<&Named>) -> Option<Result<Inquiry, UsageError>> {
    let limit = arguments.limit;
    let thread = || thread.cloned().ok_or(UsageError::ShowWithoutThread);
    if arguments.list {
        Some(Ok(Inquiry::List { limit }))
    } else if arguments.show {
        Some(thread().map(Inquiry::Show))
    } else if arguments.models {
        Some(Ok(Inquiry::Models))
    } else {
        let deleted = arguments.delete.as_deref().map(Named::parse);
        deleted.map(|thread| Ok(Inquiry::Delete(thread)))
    }
}

/// The text of `--instructions`: itself, or behind `@` that of a file.
pub(crate) fn instructions(given: &str) -> Result<String, UnreadInstructions> {
    let Some(path) = given.strip_prefix('@') else {
        return Ok(given.to_owned());
    };
    std::fs::read_to_string(path).map_err(|source| UnreadInstructions {
        path: path.into(),
        source,
    })
}

/// Everything that is to be said, if there is anything.
fn words(words: &[String], piped: Option<Vec<u8>>) -> Result<Option<String>, UsageError> {
    let mut text = words.join(" ");
    if let Some(piped) = piped {
        // Before the check for UTF-8, which a cut may have broken.
        if piped.len() > WORDS_BYTES_MAX {
            return Err(UsageError::TooMuch);
        }
        let piped = String::from_utf8(piped).map_err(|_| UsageError::NotText)?;
        match (text.trim().is_empty(), piped.trim().is_empty()) {
            (true, _) => text = piped,
            (false, true) => {}
            (false, false) => text = format!("{text}\n\n{piped}"),
        }
    }
    if text.len() > WORDS_BYTES_MAX {
        return Err(UsageError::TooMuch);
    }
    let text = text.trim_end();
    Ok((!text.is_empty()).then(|| text.to_owned()))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn of(line: &[&str], piped: Option<&[u8]>) -> Result<Task, UsageError> {
        let arguments =
            Arguments::try_parse_from([&["midplane-chat"], line].concat()).expect("valid");
        task(&arguments, |bytes_max| {
            Ok(piped.map(|piped| piped[..piped.len().min(bytes_max)].to_vec()))
        })
        .expect("reads")
    }

    fn say(words: &str) -> Result<Task, UsageError> {
        Ok(Task::Say {
            words: words.to_owned(),
            files: Vec::new(),
            thread: None,
        })
    }

    #[test]
    fn words_and_piped_input_are_put_together() {
        let converse = Ok(Task::Converse {
            files: Vec::new(),
            thread: None,
        });
        for (line, piped, expected) in [
            (&[][..], None, converse),
            (&["--json"], None, Err(UsageError::JsonWithoutWords)),
            (&["hi", "you"], None, say("hi you")),
            (&["--json", "hi"], None, say("hi")),
            (&["hi"], Some(""), say("hi")),
            (&["--json"], Some("  piped\n"), say("  piped")),
            (&["explain"], Some("a\nb\n"), say("explain\n\na\nb")),
            (&[], Some(" \n"), Err(UsageError::NothingToSay)),
            (&[" "], Some(""), Err(UsageError::NothingToSay)),
        ] {
            assert_eq!(
                of(line, piped.map(str::as_bytes)),
                expected,
                "{line:?} {piped:?}"
            );
        }
        assert_eq!(of(&[], Some(&[0xff])), Err(UsageError::NotText));
        let much = vec![b'a'; WORDS_BYTES_MAX];
        assert!(of(&[], Some(&much)).is_ok());
        assert_eq!(of(&["and"], Some(&much)), Err(UsageError::TooMuch));
        let cut_in_a_character = "é".repeat(WORDS_BYTES_MAX);
        assert_eq!(
            of(&[], Some(cut_in_a_character.as_bytes())),
            Err(UsageError::TooMuch)
        );
    }

    #[test]
    fn piped_input_can_be_a_file() {
        let piped = Source::Piped(vec![0xff]);
        let file = Source::File("a.png".into());
        for (line, piped, expected) in [
            (
                &["--attach", "-", "--attach", "a.png", "look"][..],
                Some(&[0xff][..]),
                Ok(Task::Say {
                    words: "look".to_owned(),
                    files: vec![file.clone(), piped],
                    thread: None,
                }),
            ),
            (
                &["--attach", "-", "look"],
                None,
                Err(UsageError::NothingPiped),
            ),
            (
                &["--attach", "-"],
                Some(b"x"),
                Err(UsageError::NothingToSay),
            ),
            (
                &["--attach", "a.png"],
                None,
                Ok(Task::Converse {
                    files: vec![file.clone()],
                    thread: None,
                }),
            ),
        ] {
            assert_eq!(of(line, piped), expected, "{line:?}");
        }
        let large = vec![0; PIPED_FILE_BYTES_MAX + 1];
        assert_eq!(
            of(&["--attach", "-", "x"], Some(&large)),
            Err(UsageError::TooLarge)
        );
    }

    #[test]
    fn what_asks_for_no_words_reads_none() {
        let id = |id: &str| Named::Id(id.to_owned());
        for (line, expected) in [
            (&["--list"][..], Ok(Inquiry::List { limit: None })),
            (
                &["--list", "--limit", "3"],
                Ok(Inquiry::List { limit: Some(3) }),
            ),
            (
                &["--show", "--thread", "thr_1"],
                Ok(Inquiry::Show(id("thr_1"))),
            ),
            (&["--show", "--continue"], Ok(Inquiry::Show(Named::Newest))),
            (&["--show"], Err(UsageError::ShowWithoutThread)),
            (&["--delete", "thr_1"], Ok(Inquiry::Delete(id("thr_1")))),
            (&["--delete", "last"], Ok(Inquiry::Delete(Named::Newest))),
            (&["--models"], Ok(Inquiry::Models)),
        ] {
            let arguments =
                Arguments::try_parse_from([&["midplane-chat"], line].concat()).expect("valid");
            let found = task(&arguments, |_| panic!("reads what is piped in"));
            assert_eq!(
                found.expect("reads nothing"),
                expected.map(Task::Inquire),
                "{line:?}"
            );
        }
        for (line, expected) in [
            (&["--thread", "thr_1", "x"][..], id("thr_1")),
            (&["--thread", "last", "x"], Named::Newest),
            (&["-c", "x"], Named::Newest),
        ] {
            let Ok(Task::Say { thread, .. }) = of(line, None) else {
                panic!("{line:?}")
            };
            assert_eq!(thread, Some(expected), "{line:?}");
        }
    }
}
