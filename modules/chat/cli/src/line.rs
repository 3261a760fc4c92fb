//! What a line at the prompt asks for.

/// What can be asked for besides an answer, and what it does.
pub(crate) const COMMANDS: &[(&str, &str)] = &[
    ("/help", "this list"),
    ("/new", "begin another thread"),
    ("/threads", "list the latest threads"),
    (
        "/open N",
        "go on with a thread, by its number in the list or its id",
    ),
    ("/title TEXT", "name the thread"),
    ("/retry", "answer the last message again"),
    ("/attach FILE", "send a file with the next message"),
    ("/models", "list the models"),
    ("/model NAME", "ask this model from now on"),
    ("/quit", "leave; so does Ctrl-D"),
];

/// A line, understood.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line<'a> {
    Nothing,
    Say(&'a str),
    Help,
    New,
    Threads,
    Open(&'a str),
    Title(&'a str),
    Retry,
    Attach(&'a str),
    Models,
    Model(&'a str),
    Quit,
    /// What looks like a command and is none, or has the wrong number of words.
    Unknown(&'a str),
}

/// Understands a line. A command stands at its very beginning: behind a space, or with a second slash (a path), it is
/// something to say.
pub(crate) fn understand(line: &str) -> Line<'_> {
    let words = line.trim();
    if words.is_empty() {
        return Line::Nothing;
    }
    let (command, rest) = line
        .split_once(char::is_whitespace)
        .map_or((line, ""), |(command, rest)| (command, rest.trim()));
    if !command.starts_with('/') || command[1..].contains('/') || command == "/" {
        return Line::Say(words);
    }
    match (command, rest) {
        ("/help", "") => Line::Help,
        ("/new", "") => Line::New,
        ("/threads", "") => Line::Threads,
        ("/open", thread) if !thread.is_empty() => Line::Open(thread),
        ("/title", title) if !title.is_empty() => Line::Title(title),
        ("/retry", "") => Line::Retry,
        ("/attach", file) if !file.is_empty() => Line::Attach(file),
        ("/models" | "/model", "") => Line::Models,
        ("/model", name) => Line::Model(name),
        ("/quit" | "/exit", "") => Line::Quit,
        _ => Line::Unknown(words),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_command_or_words() {
        for (line, expected) in [
            ("", Line::Nothing),
            (" \t", Line::Nothing),
            ("hello there ", Line::Say("hello there")),
            ("/help", Line::Help),
            ("/help ", Line::Help),
            ("/new", Line::New),
            ("/threads", Line::Threads),
            ("/open 3", Line::Open("3")),
            ("/open  thr_1 ", Line::Open("thr_1")),
            ("/open", Line::Unknown("/open")),
            ("/retry", Line::Retry),
            ("/title A  cup of tea ", Line::Title("A  cup of tea")),
            ("/title", Line::Unknown("/title")),
            ("/attach a file.txt", Line::Attach("a file.txt")),
            ("/attach", Line::Unknown("/attach")),
            ("/models", Line::Models),
            ("/model", Line::Models),
            ("/model large", Line::Model("large")),
            ("/models large", Line::Unknown("/models large")),
            ("/quit", Line::Quit),
            ("/exit", Line::Quit),
            ("/new thing", Line::Unknown("/new thing")),
            ("/explode", Line::Unknown("/explode")),
            (" /new", Line::Say("/new")),
            ("/", Line::Say("/")),
            ("//new", Line::Say("//new")),
            ("/etc/hosts says?", Line::Say("/etc/hosts says?")),
            ("/é", Line::Unknown("/é")),
        ] {
            assert_eq!(understand(line), expected, "{line:?}");
        }
    }

    #[test]
    fn every_command_in_the_list_is_understood() {
        for (usage, _) in COMMANDS {
            let line = understand(usage);
            assert!(!matches!(line, Line::Unknown(_) | Line::Say(_)), "{usage}");
        }
    }
}
