use super::*;

const WIDTH: usize = 24;

fn lines(source: &str) -> Vec<String> {
    let layout = layout(source, WIDTH);
    layout.lines.iter().map(Line::text).collect()
}

/// The layout with its escape sequences, one line after the other.
fn written(source: &str, colours: bool) -> String {
    let mut out = String::new();
    for line in layout(source, WIDTH).lines {
        line.write(colours, &mut out);
        out.push('\n');
    }
    out
}

#[test]
fn blocks_are_laid_out_as_they_are_spaced() {
    for (source, expected) in [
        ("", &[][..]),
        ("a\nb\n\nc", &["a", "b", "", "c"]),
        ("# H\ntext\n\n\n\n## I\n", &["H", "text", "", "I"]),
        (
            "text that is wrapped at the end",
            &["text that is wrapped at", "the end"],
        ),
        (
            "a\n===\nb\n---\n",
            &[
                "a",
                "────────────────────────",
                "b",
                "────────────────────────",
            ],
        ),
        ("a\n\n***\n", &["a", "", "────────────────────────"]),
        (
            "> a quote that is longer than a line\n>\n> b",
            &["│ a quote that is longer", "│ than a line", "│", "│ b"],
        ),
        (
            "```sh\nls  -l a b c d e f g h i j k\n```\nx",
            &["```sh", "ls  -l a b c d e f g h i j k", "```", "x"],
        ),
        ("<div>\n<p>\n</div>", &["<div>", "<p>", "</div>"]),
        ("a<br>b<br/>c", &["a", "b", "c"]),
        ("[a]: http://x\n\n[a]", &["[a]: http://x", "", "[a]"]),
    ] {
        assert_eq!(lines(source), expected, "{source:?}");
    }
}

#[test]
fn lists_hang_from_their_marks() {
    for (source, expected) in [
        ("- a\n- b\n\n- c", &["• a", "• b", "", "• c"][..]),
        (
            "9. a\n10. longer than one line is",
            &["9. a", "10. longer than one line", "    is"],
        ),
        ("- a\n  - b\n    - c\n", &["• a", "  ◦ b", "    • c"]),
        ("- [ ] a\n- [x] b\n", &["☐ a", "☑ b"]),
        (
            "1. a\n\n   b\n   ```\n   c\n   ```",
            &["1. a", "", "   b", "   ```", "   c", "   ```"],
        ),
        ("-", &["•"]),
        ("- > a\n  > - b", &["• │ a", "  │ ◦ b"]),
    ] {
        assert_eq!(lines(source), expected, "{source:?}");
    }
}

#[test]
fn links_show_where_they_go() {
    for (source, expected) in [
        ("[a](https://x.y)", "a (https://x.y)"),
        ("[https://x.y](https://x.y)", "https://x.y"),
        ("<https://x.y>", "https://x.y"),
        ("<a@x.y>", "a@x.y"),
        ("[https://x.y](https://z)", "https://x.y (https://z)"),
        ("[](https://x.y)", " (https://x.y)"),
        ("![a](b.png)", "image: a (b.png)"),
        ("[a]()", "a"),
    ] {
        assert_eq!(lines(source), [expected.trim_start()], "{source:?}");
    }
}

#[test]
fn styles_are_attributes_and_some_colours() {
    let source = "# A\n**b** *c* ~~d~~ `e` [f](g)";
    assert_eq!(
        written(source, true),
        "\x1b[0;1;4mA\x1b[0m\n\x1b[0;1mb\x1b[0m \x1b[0;3mc\x1b[0m \x1b[0;9md\x1b[0m \x1b[0;36me\x1b[0m \
         \x1b[0;4mf\x1b[0m\x1b[0;2m (g)\x1b[0m\n"
    );
    assert_eq!(
        written(source, false),
        "\x1b[0;1;4mA\x1b[0m\n\x1b[0;1mb\x1b[0m \x1b[0;3mc\x1b[0m \x1b[0;9md\x1b[0m e \x1b[0;4mf\x1b[0m (g)\n"
    );
}

/// Whatever the text holds, what is written for it are styles, and characters that do nothing.
#[test]
fn nothing_in_the_text_acts_on_the_terminal() {
    for source in [
        "\x1b[2J\x1b]0;owned\x07 \x1b]8;;https://evil\x1b\\bank\x1b]8;;\x1b\\",
        "&#27;[2J &#x1b;]52;c;aGk=&#7; &#x9b;31m &#155;x &#x202e;txt.exe &#8238;",
        "[a](https://x/&#27;[2J\x1b[2J) ![\x1b](\u{9b}2J) <https://x/\x1b[2J>",
        "```\x1b[2J\n\x1b]0;x\x07\u{202e}\r\n```",
        "    \x1b[2J\n",
        "| \x1b[2J | &#27;c |\n|---|---|\n| \u{9d}0;x\u{9c} | \u{2066}a |\n",
        "`\x1b[2J` <b \x1b[2J> <div>\n\x1b[2J",
        "# \x1b[2J\n> \x1b[2J\n- \x1b[2J\n1. \u{8}\u{7f}\0",
    ] {
        let written = written(source, true);
        let mut rest = written.as_str();
        while let Some(at) = rest.find(crate::text::is_harmful) {
            let sequence = &rest[at..];
            let parameters = sequence
                .strip_prefix("\x1b[")
                .unwrap_or_else(|| panic!("{source:?}: {written:?}"));
            let end = parameters
                .find(|c: char| !matches!(c, '0'..='9' | ';'))
                .expect("an end");
            assert_eq!(parameters.as_bytes()[end], b'm', "{source:?}: {written:?}");
            rest = &parameters[end..];
        }
    }
}

#[test]
fn blocks_say_where_they_begin() {
    let of = |source: &str| {
        let blocks = layout(source, WIDTH).blocks;
        blocks
            .iter()
            .map(|block| (block.at, block.line))
            .collect::<Vec<_>>()
    };
    for (source, expected) in [
        ("a\n\nb", &[(0, 0), (2, 1)][..]),
        (
            "# a\nb\n- c\n- d\n  - e\n\nf",
            &[(0, 0), (4, 1), (6, 2), (20, 5)],
        ),
        ("[a]: b\n\nc", &[(0, 0), (7, 1)]),
        ("\na", &[(0, 0)]),
        ("> a\n\n    b", &[(0, 0), (4, 1)]),
    ] {
        assert_eq!(of(source), expected, "{source:?}");
    }
}

#[test]
fn a_table_is_open_until_something_follows() {
    let table = "a\n\n| b | c |\n|---|---|\n| 1 | 2 |\n";
    assert_eq!(layout(table, WIDTH).open_table, Some(2));
    assert_eq!(layout(&format!("{table}\nx"), WIDTH).open_table, None);
    assert_eq!(lines(table)[2..], ["b │ c", "──┼──", "1 │ 2"]);
}
