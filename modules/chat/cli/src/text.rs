//! Text from others, made safe to show on a terminal: what a model or a server says must not act on the reader's screen.

use std::borrow::Cow;

/// The text without control characters but line feed and tab, and without those that reorder what follows them
/// (Unicode's bidirectional overrides), which make a text look like another.
pub(crate) fn harmless(text: &str) -> Cow<'_, str> {
    match text.contains(is_harmful) {
        true => Cow::Owned(text.replace(is_harmful, "")),
        false => Cow::Borrowed(text),
    }
}

/// The same on one line, whatever the text holds.
pub(crate) fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    harmless(&words.join(" ")).into_owned()
}

/// C0 and C1 controls begin escape sequences (ECMA-48 section 5); U+2028 and U+2029 end lines that are no lines here;
/// the others are the explicit formatting characters of Unicode's bidirectional algorithm (UAX #9 section 2).
pub(crate) fn is_harmful(c: char) -> bool {
    (c.is_control() && c != '\n' && c != '\t')
        || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_acts_on_a_terminal_is_left() {
        for (text, expected) in [
            ("plain\ttext\n", "plain\ttext\n"),
            ("é 茶 👩‍👩‍👧", "é 茶 👩‍👩‍👧"),
            ("\x1b[2J\x1b]0;title\x07x", "[2J]0;titlex"),
            (
                "\x1b]8;;http://evil\x1b\\bank\x1b]8;;\x1b\\",
                "]8;;http://evil\\bank]8;;\\",
            ),
            ("\u{9b}31m\u{9d}52;c;aGk=\u{9c}", "31m52;c;aGk="),
            ("a\rb\x08\x7f\0c", "abc"),
            ("\u{202e}cod.exe\u{202c} \u{2066}x\u{2069}", "cod.exe x"),
            ("a\u{2028}b", "ab"),
        ] {
            assert_eq!(harmless(text), expected, "{text:?}");
        }
        assert_eq!(one_line(" a\n\n\tb \x1b[1mc\r\n"), "a b [1mc");
    }
}
