//! Configurations as they are written, and what comes of them.

use serde_json::{Value, json};

use super::*;
use crate::upstream::KeyHeader;

fn check(config: Value) -> Result<Settings, String> {
    let config: Config = serde_json::from_value(config).map_err(|error| error.to_string())?;
    config.check().map_err(|error| error.to_string())
}

#[test]
fn without_configuration_the_secret_decides() {
    let settings = check(json!({})).unwrap();
    assert_eq!(settings.choice, Choice::BySecret);
    assert_eq!(settings.upstream.base_url, "https://api.openai.com/v1");
    assert_eq!(settings.openai.model, "gpt-4.1-mini");
    let upstream = settings.upstream;
    assert_eq!(upstream.first_byte_timeout, Duration::from_secs(120));
    assert_eq!(upstream.stall_timeout, Duration::from_secs(120));
    assert_eq!(upstream.connect_timeout, Duration::from_secs(10));
}

#[test]
fn everything_can_be_set() {
    let settings = check(json!({
        "provider": "openai", "base_url": "http://127.0.0.1:8080/v1/", "api": "chat_completions",
        "model": "tiny", "models": ["large"], "instructions": "Be brief.", "requires_key": false,
        "timeout": "5s", "stall_timeout": "30s", "connect_timeout": "2s", "retries": 0, "max_output_tokens": 100, "echo_delay": "20ms", "store": "memory",
    }))
    .unwrap();
    assert_eq!(settings.choice, Choice::OpenAi);
    assert_eq!(settings.upstream.base_url, "http://127.0.0.1:8080/v1");
    assert_eq!(settings.openai.api, Api::ChatCompletions);
    assert_eq!(settings.openai.instructions.as_deref(), Some("Be brief."));
    assert_eq!(settings.upstream.first_byte_timeout, Duration::from_secs(5));
    assert_eq!(settings.upstream.stall_timeout, Duration::from_secs(30));
    assert_eq!(settings.upstream.connect_timeout, Duration::from_secs(2));
    assert_eq!(settings.echo.delay, Duration::from_millis(20));
    assert_eq!(settings.models, ["tiny", "large"]);
    assert_eq!(settings.store, Some(StoreName::Memory));
}

#[test]
fn what_is_wrong_is_said_with_what_to_do() {
    let refused = |config: Value, expect: &str| {
        let error = check(config.clone()).expect_err(&config.to_string());
        assert!(!error.contains("hunter2"), "{error}");
        assert!(error.contains(expect), "{config}: {error}");
    };
    refused(
        json!({"providr": "echo"}),
        "unknown field `providr`, expected one of `provider`",
    );
    refused(json!({"provider": "ollama"}), "unknown variant `ollama`");
    refused(
        json!({"store": "disk"}),
        "unknown variant `disk`, expected `durable` or `memory`",
    );
    refused(
        json!({"titles": "poem"}),
        "unknown variant `poem`, expected one of `words`",
    );
    refused(
        json!({"transcription_model": ""}),
        "`transcription_model` is empty",
    );
    refused(
        json!({"base_url": "api.openai.com"}),
        "`model` is missing: name a model that `api.openai.com` serves",
    );
    refused(json!({"base_url": "/v1", "model": "m"}), "names no host");
    refused(
        json!({"base_url": "api.openai.com", "model": "m"}),
        "neither https nor http",
    );
    refused(
        json!({"base_url": "ftp://host/v1", "model": "m"}),
        "neither https nor http",
    );
    refused(
        json!({"base_url": "http://host/v1?key=1", "model": "m"}),
        "which has a query",
    );
    refused(
        json!({"base_url": "http://me:hunter2@host", "model": "m"}),
        "holds a credential",
    );
    let header = |name: &str| json!({"headers": {name: "hunter2"}});
    refused(header("a b"), "`a b` is no name of a header");
    refused(header("Authorization"), "comes from the session");
    refused(header("Content-Length"), "belongs to the request");
    refused(
        json!({"headers": {"api-key": "hunter2"}, "api_key_header": "Api-Key"}),
        "comes from the session",
    );
    refused(json!({"headers": {"a": "b", "A": "c"}}), "given twice");
    refused(
        json!({"headers": {"a": "hunter2\nb: c"}}),
        "the value of header `a` cannot be sent",
    );
    refused(json!({"api_key_header": "host"}), "belongs to the request");
    refused(json!({"query": {"": "x"}}), "`query` is empty");
    refused(json!({"proxy": "hunter2://p"}), "`proxy` is no proxy's URL");
    refused(json!({"model": " "}), "`model` is empty");
    refused(json!({"timeout": "soon"}), "is not a duration like");
    refused(
        json!({"timeout": "0s"}),
        "choose a value between 100ms and 1h",
    );
    refused(
        json!({"connect_timeout": "2h"}),
        "`connect_timeout` is 2h: choose a value between 100ms and 5m",
    );
    refused(json!({"retries": 6}), "between 0 and 5");
    refused(
        json!({"instructions": "a", "instructions_file": "b"}),
        "keep one",
    );
    refused(
        json!({"instructions_file": "/nonexistent/file"}),
        "cannot be read",
    );
    refused(
        json!({"api": "chat_completions", "reasoning_summary": "auto"}),
        "needs `api = \"responses\"`",
    );
    refused(
        json!({"provider": "echo", "validate_key": true}),
        "`validate_key` finds no key to try",
    );
    refused(
        json!({"stream_usage": true}),
        "`stream_usage` is for `api = \"chat_completions\"`",
    );
    refused(
        json!({"requires_key": false}),
        "set `provider = \"openai\"`",
    );
}

#[test]
fn what_goes_along_with_requests_is_written_once() {
    let config: Config = serde_json::from_value(json!({
        "headers": {"X-Team": "blue", "x-session-token": "hunter2"},
        "query": {"api-version": "2024-10-21", "a b": "c&d=ü"},
        "api_key_header": "api-key",
        "proxy": "http://ada:hunter2@proxy:3128", "no_proxy": "localhost",
    }))
    .unwrap();
    let settings = config.check().unwrap().upstream;
    assert_eq!(settings.headers["x-team"], "blue");
    assert_eq!(
        settings.query,
        "a%20b=c%26d%3D%C3%BC&api-version=2024-10-21"
    );
    assert_eq!(
        settings.key_header,
        KeyHeader::Bare(http::HeaderName::from_static("api-key"))
    );
    assert_eq!(
        config.secrets_in_clear(),
        ["headers.x-session-token", "proxy"]
    );
    let shown = format!("{config:?} {settings:?}");
    assert!(!shown.contains("hunter2"), "{shown}");
}
