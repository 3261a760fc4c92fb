//! One log line as text, for people or for programs. Pure.
//!
//! What a module says cannot look like another line, nor like what the kernel says about the module: control characters
//! are escaped, and the kernel's own facts stand where a module's text never stands.

use std::fmt::Write as _;
use std::time::SystemTime;

use serde_json::value::RawValue;
use serde_json::{Map, Value};
use tracing::Level;

use crate::config::LogFormat;

pub(super) struct Line<'a> {
    pub(super) time: SystemTime,
    pub(super) level: Level,
    pub(super) target: &'a str,
    pub(super) message: &'a str,
    /// Who and for whom, as the kernel knows it.
    pub(super) origin: Origin<'a>,
    /// In the writer's order.
    pub(super) fields: &'a Map<String, Value>,
}

#[derive(Default)]
pub(super) struct Origin<'a> {
    pub(super) module: Option<&'a str>,
    pub(super) generation: Option<u64>,
    pub(super) request_id: Option<&'a str>,
    pub(super) session: Option<&'a str>,
}

/// With the newline at its end, and no other.
pub(super) fn render(line: &Line<'_>, format: LogFormat, colour: bool) -> String {
    let mut text = match format {
        LogFormat::Human => human(line, colour),
        LogFormat::Json => json(line),
    };
    text.push('\n');
    text
}

/// The line of a program's log, as a value.
pub(super) fn json_of(line: &Line<'_>) -> Box<RawValue> {
    RawValue::from_string(json(line)).expect("the line is JSON")
}

/// `2026-11-21T04:00:00.123Z  INFO target{request_id=…}: message key=value`
fn human(line: &Line<'_>, colour: bool) -> String {
    let mut text = String::with_capacity(128);
    let (dim, strong, plain) = if colour {
        ("\x1b[2m", colour_of(line.level), "\x1b[0m")
    } else {
        ("", "", "")
    };
    let time = humantime::format_rfc3339_millis(line.time);
    push(
        &mut text,
        format_args!("{dim}{time}{plain} {strong}{:>5}{plain} {dim}", line.level),
    );
    escape_into(&mut text, line.target);
    let facts = facts(&line.origin);
    if !facts.is_empty() {
        text.push('{');
        for (index, (name, value)) in facts.iter().enumerate() {
            push(
                &mut text,
                format_args!("{}{name}=", if index == 0 { "" } else { " " }),
            );
            value_into(&mut text, value);
        }
        text.push('}');
    }
    push(&mut text, format_args!(":{plain} "));
    escape_into(&mut text, line.message);
    for (name, value) in line.fields {
        push(&mut text, format_args!(" {dim}"));
        escape_into(&mut text, name);
        push(&mut text, format_args!("={plain}"));
        value_into(&mut text, value);
    }
    text
}

fn json(line: &Line<'_>) -> String {
    let mut text = String::with_capacity(192);
    let time = humantime::format_rfc3339_millis(line.time);
    push(
        &mut text,
        format_args!("{{\"timestamp\":\"{time}\",\"level\":\"{}\"", line.level),
    );
    push(
        &mut text,
        format_args!(",\"target\":{}", Value::from(line.target)),
    );
    push(
        &mut text,
        format_args!(",\"message\":{}", Value::from(line.message)),
    );
    for (name, value) in facts(&line.origin) {
        push(&mut text, format_args!(",\"{name}\":{value}"));
    }
    if !line.fields.is_empty() {
        let fields = serde_json::to_string(line.fields).expect("a JSON object is JSON");
        push(&mut text, format_args!(",\"fields\":{fields}"));
    }
    text.push('}');
    text
}

fn facts(origin: &Origin<'_>) -> Vec<(&'static str, Value)> {
    [
        ("module", origin.module.map(Value::from)),
        ("generation", origin.generation.map(Value::from)),
        ("request_id", origin.request_id.map(Value::from)),
        ("session", origin.session.map(Value::from)),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value?)))
    .collect()
}

fn colour_of(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\x1b[31m",
        Level::WARN => "\x1b[33m",
        Level::INFO => "\x1b[32m",
        Level::DEBUG => "\x1b[34m",
        Level::TRACE => "\x1b[35m",
    }
}

/// A word as it is, anything else in quotes.
fn value_into(text: &mut String, value: &Value) {
    match value {
        Value::String(word)
            if !word.is_empty()
                && !word.contains(|c: char| c.is_whitespace() || "\"={}".contains(c)) =>
        {
            escape_into(text, word);
        }
        other => escape_into(text, &other.to_string()),
    }
}

fn escape_into(text: &mut String, raw: &str) {
    for c in raw.chars() {
        // besides controls: line and paragraph separators, and the marks that reorder what is seen (Unicode TR 9)
        let hidden = c.is_control()
            || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{61c}');
        if hidden {
            text.extend(c.escape_default())
        } else {
            text.push(c)
        }
    }
}

fn push(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.write_fmt(arguments)
        .expect("a String takes every write");
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn line<'a>(message: &'a str, fields: &'a Map<String, Value>) -> Line<'a> {
        Line {
            time: SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_233_600_123),
            level: Level::INFO,
            target: "hello::inner",
            message,
            origin: Origin {
                module: Some("hello"),
                generation: Some(3),
                request_id: Some("req_1"),
                session: None,
            },
            fields,
        }
    }

    fn fields(text: &str) -> Map<String, Value> {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn human_lines() {
        let fields = fields(r#"{"count":2,"name":"a b","word":"w"}"#);
        assert_eq!(
            render(&line("said", &fields), LogFormat::Human, false),
            "2026-11-21T04:00:00.123Z  INFO hello::inner{module=hello generation=3 request_id=req_1}: said \
             count=2 name=\"a b\" word=w\n"
        );
        assert!(
            render(&line("said", &fields), LogFormat::Human, true).contains("\x1b[32m INFO\x1b[0m")
        );
    }

    #[test]
    fn json_lines() {
        let fields = fields(r#"{"module":"other","n":1}"#);
        let text = render(&line("said", &fields), LogFormat::Json, false);
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            value,
            serde_json::json!({
                "timestamp": "2026-11-21T04:00:00.123Z", "level": "INFO", "target": "hello::inner", "message": "said",
                "module": "hello", "generation": 3, "request_id": "req_1", "fields": {"module": "other", "n": 1}
            })
        );
    }

    #[test]
    fn nothing_forges_a_line() {
        let hostile = "x\n2026 ERROR kernel: forged\r\x1b[2J\u{2028}\u{202e}\u{9b}";
        let mut fields = Map::new();
        fields.insert(hostile.to_owned(), Value::from(hostile));
        for format in [LogFormat::Human, LogFormat::Json] {
            let text = render(&line(hostile, &fields), format, false);
            assert_eq!(text.matches(['\n', '\r', '\x1b']).count(), 1, "{text}");
            assert!(text.ends_with('\n'));
        }
        let text = render(&line(hostile, &fields), LogFormat::Human, false);
        assert!(!text.contains(['\u{2028}', '\u{202e}', '\u{9b}']), "{text}");
    }
}
