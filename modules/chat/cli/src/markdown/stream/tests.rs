use std::num::NonZero;

use super::*;

/// One of each thing that an answer may hold.
const DOCUMENTS: &[&str] = &[
    "Hello there.",
    "# Tea\n\nA *short* guide, with **strong words**, `code`, ~~errors~~ and a [link](https://tea.example/a?b=c).\n\n## More\nText at once.\n",
    "One paragraph that is long enough to need several lines of a small screen, with **bold text that goes over the end of a line** and then on.\n\nAnother.",
    "Here:\n- one\n- two with `code` in it\n  - below two, which is long enough to need another line\n  - and again\n\n- three\n\n  its second paragraph\n\nAfter.",
    "1. first\n2. second\n\n   ```sh\n   ls -l | wc\n   ```\n3. third\n10. tenth is more than one line of this small screen, as it is long\n",
    "```rust\nfn main() {\n\tprintln!(\"{}\", 1 * 2 * 3); // a line that is longer than the whole screen is wide, by far\n\n}\n```\nand `after`\n\n~~~\n```\n~~~\n",
    "> quoted *text* that is long enough to need several lines\n> - and a list\n>\n> ```\n> code\n> ```\nlazy\n\nend",
    "| a | b |\n|---|:-:|\n| 1 | two words |\n| `x | y` | **z** |\n\nbelow\n\na | b\nno table\n",
    "| alphabet | betatest | gammaray | deltadelta |\n|---|---|---|---|\n| one | two | three | four |\nfive\n",
    "a | b\n-|-\n1 | 2\n",
    "- a | b\n  -|-\n  1 | 2\n- x\n",
    "Setext\nof two lines\n======\n\nand\n---\nx\n\n***\n\n---\n",
    "- [ ] to do\n- [x] done\n- [ no\n",
    "[1]: https://one.example\n[2]: https://two.example \"title\"\n\nsee [1] and [two][2], ![pic](https://p.example/x.png)\n",
    "see [1] and [two][2]\n\n[1]: https://one.example\n",
    "2 * 3 * 4 = 24, snake_case_name, a_b, *unclosed emphasis in a line that is long\nand goes on\n\n**also `unclosed",
    "<div>\n*no*\n</div>\n\nline<br>break <b>*it*</b> <a href=\"*x\ny*\"> <https://auto.example> &amp; &lt; &copy\n",
    "    indented code\n\n    of three lines\n\nno code\n",
    "***both** one* and **one *both***, _a_ __b__ *a **b* c** [*x*](y) **[z](w)**",
    "tea 茶茶茶茶茶茶茶茶茶茶茶茶茶茶茶茶茶茶 and e\u{301}e\u{301} emoji 🍵🍵 end",
    "https://a.very.long.address.example/that/is/longer/than/the/screen/is/wide/by/far and on",
    "\n\n  leading\n\n\n\nmany empty lines\n   \n",
    "line  \nbreak\\\nhere\nand soft",
    "* a\n* b\n+ c\n\n- d\n1) e\n2) f\n",
    "``a ` b`` and ```c`` d``` ` e",
    "| a |\n|-|\n| 1 |\n# head\n| b |\n|-|\n",
    "#",
    "-",
    "1. a\n1. b\n\n1. c\n",
    "1.\n\n2. x\n-\n\n  y",
    "> a\n\n> b\n>> c\n",
];

const COLUMNS: u16 = 32;
const ROWS: u16 = 60;

/// What comes to the terminal when the text comes in these pieces.
fn written(pieces: &[&str]) -> String {
    let mut stream = Stream::new(true);
    let mut out = String::new();
    for piece in pieces {
        stream.push(piece, usize::from(COLUMNS), &mut out);
    }
    stream.finish(&mut out);
    assert!(!stream.is_mid_line());
    out
}

/// The screen, with its styles, and where the cursor is.
fn screen(written: &str) -> String {
    terminal(written).screen().contents_formatted()
}

fn terminal(written: &str) -> vt100::Parser {
    let size = |length| NonZero::new(length).unwrap();
    let mut terminal = vt100::Parser::new(size(ROWS), size(COLUMNS), 0);
    terminal.process(written.replace('\n', "\r\n").as_bytes());
    terminal
}

fn text_of(written: &str) -> String {
    let lines = terminal(written).screen().contents();
    lines
        .lines()
        .map(str::trim_end)
        .collect::<Vec<_>>()
        .join("\n")
}

/// Whether a terminal that gets this only ever changes the line it is on.
fn stays_on_its_line(written: &str) -> bool {
    let mut rest = written;
    while let Some(at) = rest.find('\x1b') {
        rest = &rest[at..];
        let Some(end) = rest.find(|c: char| c.is_ascii_alphabetic()) else {
            return false;
        };
        if !matches!(&rest[end..=end], "m" | "K") {
            return false;
        }
        rest = &rest[end..];
    }
    true
}

fn check(document: &str, pieces: &[&str], expected: &str) {
    let written = written(pieces);
    assert!(
        screen(&written) == expected,
        "{pieces:?}\nshows\n{}\ninstead of\n{}\nwritten: {written:?}",
        text_of(&written),
        text_of(&self::written(&[document])),
    );
    assert!(stays_on_its_line(&written), "{written:?}");
}

#[test]
fn wherever_the_text_is_split_the_screen_is_the_same() {
    for document in DOCUMENTS {
        let expected = screen(&written(&[document]));
        let each: Vec<&str> = document.split_inclusive(|_: char| true).collect();
        check(document, &each, &expected);
        let words: Vec<&str> = document.split_inclusive(' ').collect();
        check(document, &words, &expected);
        for (at, _) in document.char_indices() {
            let (begin, end) = document.split_at(at);
            check(document, &[begin, end], &expected);
        }
    }
}

/// Documents put together at random from what marks and blocks are made of.
#[test]
fn nor_does_it_matter_for_any_other_text() {
    const PARTS: &[&str] = &[
        "*",
        "**",
        "_",
        "`",
        "```",
        "~~",
        "[",
        "](u)",
        "]",
        "(",
        ")",
        "<",
        ">",
        "&amp;",
        "\\",
        "|",
        "|-|-|",
        "| a | b |\n|-|-|\n",
        "\n",
        "\n",
        "\n\n",
        "\n\n",
        " ",
        " ",
        "    ",
        "- ",
        "1. ",
        "# ",
        "> ",
        "---",
        "===",
        "[a]: b",
        "![",
        "<b>",
        "<!--",
        "-->",
        "<div>",
        "word ",
        "words of some length ",
        "a longer part of a line that has to be wrapped ",
        "x",
        "茶",
        ".",
    ];
    let rounds =
        std::env::var("MIDPLANE_MARKDOWN_ROUNDS").map_or(400, |rounds| rounds.parse().unwrap());
    // SplitMix64: the same documents every time.
    let mut state = 7_u64;
    let mut random = |below: usize| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % below as u64).unwrap()
    };
    for _ in 0..rounds {
        let pieces: Vec<&str> = (0..4 + random(20))
            .map(|_| PARTS[random(PARTS.len())])
            .collect();
        let document = pieces.concat();
        check(&document, &pieces, &screen(&written(&[&document])));
    }
}

/// Of long blocks not every bit is laid out anew, and of code what is written is forgotten.
#[test]
fn long_blocks_come_out_whole() {
    let code = format!(
        "\n\n```rust\n{}```\nend",
        "    let x = a(b) | c * d;\n\n".repeat(250)
    );
    let list = "- an item that is longer than a line of the screen\n".repeat(120);
    let held = "**never closed and on ".repeat(250);
    for document in [code, list, held] {
        assert!(document.len() > EAGER_BYTES_MAX);
        let expected = screen(&written(&[&document]));
        let pieces: Vec<&str> = document.split_inclusive([';', ' ']).collect();
        let pieces: Vec<String> = pieces.chunks(20).map(<[&str]>::concat).collect();
        let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
        check(&document, &pieces, &expected);
    }
}

#[test]
fn written_code_is_forgotten() {
    let mut stream = Stream::new(true);
    let mut out = String::new();
    stream.push("before\n\n```\n", 80, &mut out);
    for _ in 0..1000 {
        stream.push("a line of code\n", 80, &mut out);
    }
    assert!(stream.open.len() < 100, "{:?}", stream.open);
    assert_eq!(out.matches("a line of code").count(), 1000);
}
