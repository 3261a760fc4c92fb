use super::*;

const ALL: Look = Look {
    out_is_terminal: true,
    out_moves: false,
    out_colours: false,
    err_moves: true,
    err_colours: true,
    raw: false,
};

/// What the actions leave on standard output and standard error.
fn shown(look: Look, actions: &[Action]) -> (String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut terminal = Terminal::new(&mut out, &mut err, look);
    for action in actions {
        terminal.show(action).unwrap();
    }
    (
        String::from_utf8(out).unwrap(),
        String::from_utf8(err).unwrap(),
    )
}

fn say(text: &str) -> Action {
    Action::Say(text.to_owned())
}

fn note(text: &str) -> Action {
    Action::Note(text.to_owned())
}

#[test]
fn answer_and_asides_do_not_mix() {
    let turn = [
        note("echo"),
        Action::Progress("thinking".to_owned()),
        say("a"),
        note("a tool"),
        note("echo"),
        say("b"),
        Action::Answered,
        Action::Answered,
    ];
    let check = |look, out: &str, err: &str| {
        assert_eq!(shown(look, &turn), (out.to_owned(), err.to_owned()));
    };
    check(Look::default(), "ab\n", "echo\na tool\n");
    check(
        ALL,
        "a\nb\n",
        "\x1b[2mecho\x1b[0m\n\r\x1b[K\x1b[2mthinking\x1b[0m\r\x1b[K\x1b[2ma tool\x1b[0m\n",
    );
    let no_colour = Look {
        err_colours: false,
        ..ALL
    };
    check(
        no_colour,
        "a\nb\n",
        "echo\n\r\x1b[Kthinking\r\x1b[Ka tool\n",
    );
    let raw = Look {
        raw: true,
        ..Look::default()
    };
    check(raw, "", "");
}

#[test]
fn a_terminal_is_not_written_to_by_an_answer() {
    let text = "\x1b]52;c;aGk=\x07a\r\u{9b}2Jb\u{202e}c\td\n";
    let (out, _) = shown(ALL, &[say(text)]);
    assert_eq!(out, "]52;c;aGk=a2Jbc\td\n");
    let (_, err) = shown(ALL, &[note("\x1b[2Jx")]);
    assert_eq!(err, "\x1b[2m[2Jx\x1b[0m\n");
    // A file gets what was said.
    let (out, _) = shown(Look::default(), &[say(text)]);
    assert_eq!(out, text);
}

#[test]
fn markdown_is_shown_where_it_can_be() {
    let markdown = Look {
        out_moves: true,
        out_colours: true,
        ..ALL
    };
    let turn = [
        say("# Te"),
        say("a\n\n**gre"),
        note("a tool"),
        Action::Progress("looking".to_owned()),
        say("en**"),
        Action::Answered,
        say("\n\nmore"),
        Action::Answered,
    ];
    let (out, err) = shown(markdown, &turn);
    let heading = "\x1b[0;1;4mTe\x1b[0m\x1b[0;1;4ma\x1b[0m\n\n";
    assert_eq!(
        out,
        format!("{heading}**gre\r\x1b[K\x1b[0;1mgreen\x1b[0m\n\nmore\n")
    );
    assert_eq!(
        err,
        "\x1b[2ma tool\x1b[0m\n\r\x1b[K\x1b[2mlooking\x1b[0m\r\x1b[K"
    );
    // A file gets the words, to the byte.
    let (out, _) = shown(Look::default(), &turn);
    assert_eq!(out, "# Tea\n\n**green**\n\n\nmore\n");
}

#[test]
fn remarks_are_for_someone_who_watches() {
    let remark = [Action::Aside("thought for 3 s".to_owned())];
    assert_eq!(shown(ALL, &remark).1, "\x1b[2mthought for 3 s\x1b[0m\n");
    assert_eq!(shown(Look::default(), &remark).1, "");
}

#[test]
fn what_the_user_said_is_quoted() {
    let quoted = |look| {
        let mut out = Vec::new();
        Terminal::new(&mut out, Vec::new(), look)
            .quote("a\x1b[2J\nb")
            .unwrap();
        String::from_utf8(out).unwrap()
    };
    assert_eq!(quoted(ALL), "> a[2J\n> b\n");
    assert_eq!(quoted(Look::default()), "> a\x1b[2J\n> b\n");
}

#[test]
fn progress_stays_on_its_line() {
    let long = Action::Progress("x\n".repeat(80));
    let (_, err) = shown(ALL, std::slice::from_ref(&long));
    assert!(!err.contains('\n'));
    assert_eq!(err.matches('x').count(), PROGRESS_CHARS_MAX / 2);
    let (_, err) = shown(ALL, &[say("mid"), long]);
    assert_eq!(err, "");
}

#[test]
fn events_are_printed_raw_on_one_line() {
    let mut out = Vec::new();
    let look = Look {
        raw: true,
        ..Look::default()
    };
    let mut terminal = Terminal::new(&mut out, Vec::new(), look);
    terminal.event("{\n\"type\":\"x\"}").unwrap();
    assert_eq!(out, b"{ \"type\":\"x\"}\n");
}
