//! What the gateway offers of the provider's API: a table, and how a request is found in it.
//!
//! A request that is not in the table never reaches the provider, so that a client secret is worth these calls and no others
//! that the key could make: files, fine-tuning, an organisation's administration.

use http::Method;
use percent_encoding::percent_decode_str;

/// OpenAI's ids are under 100 characters; names of models are paths in some servers.
const ID_LEN_MAX: usize = 256;

/// A call of the provider's API that is passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Offered {
    ChatCompletions,
    CreateResponse,
    /// About a response that the provider keeps: read it, its input, cancel or delete it.
    Response,
    Embeddings,
    ListModels,
    RetrieveModel,
}

impl Offered {
    /// Whether it names a model in its body, and costs.
    pub(crate) fn asks_a_model(self) -> bool {
        matches!(
            self,
            Offered::ChatCompletions | Offered::CreateResponse | Offered::Embeddings
        )
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NotOffered {
    Path,
    /// With what `Allow` names.
    Method(&'static str),
}

#[derive(Clone, Copy)]
enum Segment {
    Is(&'static str),
    /// One segment of the characters that ids are made of.
    Id,
    /// The rest of the path, slashes included.
    ModelName,
}

struct Row {
    path: &'static [Segment],
    methods: &'static [(Method, Offered)],
    allow: &'static str,
}

const TABLE: &[Row] = &[
    Row {
        path: &[Segment::Is("chat"), Segment::Is("completions")],
        methods: &[(Method::POST, Offered::ChatCompletions)],
        allow: "POST",
    },
    Row {
        path: &[Segment::Is("responses")],
        methods: &[(Method::POST, Offered::CreateResponse)],
        allow: "POST",
    },
    Row {
        path: &[Segment::Is("responses"), Segment::Id],
        methods: &[
            (Method::GET, Offered::Response),
            (Method::DELETE, Offered::Response),
        ],
        allow: "GET, DELETE",
    },
    Row {
        path: &[Segment::Is("responses"), Segment::Id, Segment::Is("cancel")],
        methods: &[(Method::POST, Offered::Response)],
        allow: "POST",
    },
    Row {
        path: &[
            Segment::Is("responses"),
            Segment::Id,
            Segment::Is("input_items"),
        ],
        methods: &[(Method::GET, Offered::Response)],
        allow: "GET",
    },
    Row {
        path: &[Segment::Is("embeddings")],
        methods: &[(Method::POST, Offered::Embeddings)],
        allow: "POST",
    },
    Row {
        path: &[Segment::Is("models")],
        methods: &[(Method::GET, Offered::ListModels)],
        allow: "GET",
    },
    Row {
        path: &[Segment::Is("models"), Segment::ModelName],
        methods: &[(Method::GET, Offered::RetrieveModel)],
        allow: "GET",
    },
];

/// What a request to `path` below `/v1/` asks for.
pub(crate) fn find(method: &Method, path: &str) -> Result<Offered, NotOffered> {
    let row = TABLE
        .iter()
        .find(|row| matches(row.path, path))
        .ok_or(NotOffered::Path)?;
    let found = row.methods.iter().find(|(offered, _)| offered == method);
    found
        .map(|(_, offered)| *offered)
        .ok_or(NotOffered::Method(row.allow))
}

/// The model that `models/{name}` names, as the provider writes it.
pub(crate) fn model_named(path: &str) -> Option<String> {
    name(path.strip_prefix("models/")?)
}

fn matches(pattern: &[Segment], path: &str) -> bool {
    match pattern {
        [] => false,
        [Segment::ModelName] => name(path).is_some(),
        [last] => matches_segment(*last, path),
        [first, rest @ ..] => path
            .split_once('/')
            .is_some_and(|(head, tail)| matches_segment(*first, head) && matches(rest, tail)),
    }
}

fn matches_segment(pattern: Segment, segment: &str) -> bool {
    match pattern {
        Segment::Is(text) => segment == text,
        Segment::Id | Segment::ModelName => is_id(segment),
    }
}

fn is_id(segment: &str) -> bool {
    let characters = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    (1..=ID_LEN_MAX).contains(&segment.len()) && segment.bytes().all(characters)
}

/// Decoded once. Nothing that whoever decodes it, or decodes it again, could take for a way to another path.
fn name(encoded: &str) -> Option<String> {
    let name = percent_decode_str(encoded).decode_utf8().ok()?;
    let harmless = |part: &str| !part.is_empty() && !part.bytes().all(|byte| byte == b'.');
    let characters = |c: char| !c.is_control() && !"%\\?#".contains(c);
    ((1..=ID_LEN_MAX).contains(&name.len())
        && name.chars().all(characters)
        && name.split('/').all(harmless))
    .then(|| name.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_offered_is_found() {
        let check = |method: Method, path: &str, expect| {
            assert_eq!(find(&method, path), Ok(expect), "{method} {path}");
        };
        check(Method::POST, "chat/completions", Offered::ChatCompletions);
        check(Method::POST, "responses", Offered::CreateResponse);
        check(Method::GET, "responses/resp_0a-9", Offered::Response);
        check(Method::DELETE, "responses/resp_0a", Offered::Response);
        check(Method::POST, "responses/resp_0a/cancel", Offered::Response);
        check(
            Method::GET,
            "responses/resp_0a/input_items",
            Offered::Response,
        );
        check(Method::POST, "embeddings", Offered::Embeddings);
        check(Method::GET, "models", Offered::ListModels);
        check(Method::GET, "models/gpt-4.1-mini", Offered::RetrieveModel);
        check(
            Method::GET,
            "models/ft:gpt-4.1:org::id",
            Offered::RetrieveModel,
        );
        check(
            Method::GET,
            "models/meta-llama/Llama-3.1",
            Offered::RetrieveModel,
        );
        check(
            Method::GET,
            "models/meta-llama%2FLlama-3.1",
            Offered::RetrieveModel,
        );
        assert_eq!(
            model_named("models/meta%2FLlama-3").unwrap(),
            "meta/Llama-3"
        );
    }

    #[test]
    fn nothing_else_is() {
        for path in [
            "",
            "/",
            "chat",
            "chat/",
            "chat/completions/",
            "chat/completions/chatcmpl-1",
            "//chat/completions",
            "Chat/Completions",
            "completions",
            "files",
            "organization/admin_api_keys",
            "responses/",
            "responses/../files",
            "responses/%2e%2e",
            "responses/a%2F..%2Ffiles",
            "responses/..",
            "responses/a/b",
            "responses/a/cancel/b",
            "models/",
            "models/..",
            "models/../files",
            "models/.%2e/files",
            "models/a/../../files",
            "models/a%2F..%2F..%2Ffiles",
            "models/%252e%252e%252ffiles",
            "models/..%5Cfiles",
            "models/a//b",
            "models/a%3Fb",
            "models/a%23b",
            "models/a%00",
            "models/%ff",
        ] {
            for method in [Method::GET, Method::POST, Method::DELETE, Method::PUT] {
                assert_eq!(find(&method, path), Err(NotOffered::Path), "{path}");
            }
        }
        assert_eq!(
            find(
                &Method::GET,
                &format!("models/{}", "m".repeat(ID_LEN_MAX + 1))
            ),
            Err(NotOffered::Path)
        );
    }

    #[test]
    fn another_method_is_told_which_are_allowed() {
        let check = |method: Method, path: &str, allow| {
            assert_eq!(
                find(&method, path),
                Err(NotOffered::Method(allow)),
                "{method} {path}"
            );
        };
        check(Method::GET, "chat/completions", "POST");
        check(Method::GET, "responses", "POST");
        check(Method::POST, "responses/resp_1", "GET, DELETE");
        check(Method::GET, "responses/resp_1/cancel", "POST");
        check(Method::DELETE, "models/ft:gpt", "GET");
        check(Method::HEAD, "models", "GET");
    }

    #[test]
    fn allow_names_the_methods_of_the_row() {
        for row in TABLE {
            let methods: Vec<&str> = row
                .methods
                .iter()
                .map(|(method, _)| method.as_str())
                .collect();
            assert_eq!(row.allow, methods.join(", "));
        }
    }
}
