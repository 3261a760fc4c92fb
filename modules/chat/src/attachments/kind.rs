//! What can be attached: media types, and what each promises of the bytes.
//!
//! Pure. Whether bytes keep the promise is `inspect`'s to say.

/// What a file is to a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Image(Format),
    Pdf,
    /// UTF-8, which a model reads as words.
    Text,
    /// Only where the operator names its type: passed on as it is.
    Other,
}

/// The formats that models see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Png,
    Jpeg,
    Gif,
    Webp,
}

/// Text beside `text/*`, `…+json` and `…+xml`, as browsers and editors name it.
const TEXT_TYPES: &[&str] = &[
    "application/ecmascript",
    "application/graphql",
    "application/javascript",
    "application/json",
    "application/jsonl",
    "application/ld+json",
    "application/rtf",
    "application/sql",
    "application/toml",
    "application/typescript",
    "application/x-httpd-php",
    "application/x-javascript",
    "application/x-ndjson",
    "application/x-sh",
    "application/x-yaml",
    "application/xml",
    "application/yaml",
];
/// What a browser takes TypeScript for: a video's transport stream has the same extension.
const TRANSPORT_STREAM: &str = "video/mp2t";
const TEXT: &str = "text/plain";
/// Longer ones are none (RFC 6838 section 4.2 ends each half at 127).
const TYPE_BYTES_MAX: usize = 255;

/// The media type that is meant, in lower case and without parameters. Files of no known type are taken for text, which
/// their bytes then have to be: editors know few types of source code, and browsers fewer.
pub(crate) fn media_type(given: &str, name: &str) -> Option<String> {
    let essence = essence(given);
    match essence.as_str() {
        "" | "application/octet-stream" => return Some(TEXT.to_owned()),
        TRANSPORT_STREAM if is_typescript(name) => return Some(TEXT.to_owned()),
        "image/jpg" => return Some("image/jpeg".to_owned()),
        _ => {}
    }
    let (kind, subtype) = essence.split_once('/')?;
    (essence.len() <= TYPE_BYTES_MAX && is_token(kind) && is_token(subtype)).then_some(essence)
}

/// A media type without its parameters.
pub(crate) fn essence(given: &str) -> String {
    let essence = given.split(';').next().unwrap_or_default();
    essence.trim().to_ascii_lowercase()
}

impl Kind {
    /// Of a type as [`media_type`] gives it.
    pub(crate) fn of(media_type: &str) -> Kind {
        match media_type {
            "image/png" => Kind::Image(Format::Png),
            "image/jpeg" => Kind::Image(Format::Jpeg),
            "image/gif" => Kind::Image(Format::Gif),
            "image/webp" => Kind::Image(Format::Webp),
            "application/pdf" => Kind::Pdf,
            text if text.starts_with("text/") || TEXT_TYPES.contains(&text) => Kind::Text,
            text if text.ends_with("+json") || text.ends_with("+xml") => Kind::Text,
            _ => Kind::Other,
        }
    }
}

/// The types that may be attached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Types {
    /// Every type whose bytes can be looked into.
    Known,
    /// `image/png`, or all of a kind: `text/*`.
    Named(Vec<String>),
}

impl Types {
    pub(crate) fn allow(&self, media_type: &str) -> bool {
        match self {
            Types::Known => Kind::of(media_type) != Kind::Other,
            Types::Named(types) => types.iter().any(|pattern| matches(pattern, media_type)),
        }
    }

    /// For a refusal.
    pub(crate) fn described(&self) -> String {
        match self {
            Types::Known => "PNG, JPEG, GIF and WebP images, PDF and UTF-8 text".to_owned(),
            Types::Named(types) => types.join(", "),
        }
    }
}

/// Whether `pattern` can stand in [`Types::Named`].
pub(crate) fn is_pattern(pattern: &str) -> bool {
    let halves = pattern.split_once('/');
    halves.is_some_and(|(kind, subtype)| is_token(kind) && (subtype == "*" || is_token(subtype)))
        && !pattern.contains(|c: char| c.is_ascii_uppercase())
}

fn matches(pattern: &str, media_type: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => media_type.starts_with(prefix),
        None => media_type == pattern,
    }
}

fn is_typescript(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    [".ts", ".mts", ".cts"]
        .iter()
        .any(|end| name.ends_with(end))
}

/// A `restricted-name` of RFC 6838 section 4.2.
fn is_token(text: &str) -> bool {
    let is_named = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte);
    !text.is_empty() && text.bytes().all(is_named)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_type_that_is_meant() {
        let check = |given: &str, name: &str, expect: Option<&str>| {
            assert_eq!(
                media_type(given, name).as_deref(),
                expect,
                "{given:?} {name:?}"
            );
        };
        check("image/png", "a.png", Some("image/png"));
        check("Image/PNG ; q=1", "a.png", Some("image/png"));
        check("image/jpg", "a.jpg", Some("image/jpeg"));
        check("", "main.rs", Some("text/plain"));
        check("application/octet-stream", "Makefile", Some("text/plain"));
        check("video/mp2t", "main.TS", Some("text/plain"));
        check("video/mp2t", "film.m2ts2", Some("video/mp2t"));
        for nonsense in [
            "png",
            "/",
            "a/",
            "/b",
            "a/b/c",
            "a b/c",
            "text/pl\nain",
            "téxt/plain",
        ] {
            check(nonsense, "a", None);
        }
        check(&format!("a/{}", "b".repeat(TYPE_BYTES_MAX)), "a", None);
    }

    #[test]
    fn what_each_type_is_to_a_model() {
        let check = |media_type: &str, expect: Kind| {
            assert_eq!(Kind::of(media_type), expect, "{media_type}");
        };
        check("image/png", Kind::Image(Format::Png));
        check("image/webp", Kind::Image(Format::Webp));
        check("application/pdf", Kind::Pdf);
        check("text/x-python", Kind::Text);
        check("application/json", Kind::Text);
        check("application/vnd.api+json", Kind::Text);
        // A picture only where something draws it: to a model its source is text.
        check("image/svg+xml", Kind::Text);
        check("image/heic", Kind::Other);
        check("application/zip", Kind::Other);
        check("video/mp2t", Kind::Other);
    }

    #[test]
    fn only_what_is_allowed_is() {
        assert!(Types::Known.allow("text/html"));
        assert!(!Types::Known.allow("application/zip"));
        let named = Types::Named(vec!["text/*".to_owned(), "application/zip".to_owned()]);
        for (media_type, expect) in [
            ("text/plain", true),
            ("application/zip", true),
            ("application/zipx", false),
            ("image/png", false),
            ("texture/png", false),
        ] {
            assert_eq!(named.allow(media_type), expect, "{media_type}");
        }
        for (pattern, expect) in [
            ("text/*", true),
            ("image/png", true),
            ("*/*", false),
            ("*", false),
            ("png", false),
            ("Text/*", false),
            ("text/", false),
        ] {
            assert_eq!(is_pattern(pattern), expect, "{pattern}");
        }
    }
}
