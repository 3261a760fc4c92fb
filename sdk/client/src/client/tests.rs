//! The client against a server that answers what a test tells it to and shows what it was asked.

use std::sync::Mutex;

use http::header::{HOST, RETRY_AFTER};
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper::body::Frame;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::UnixListener;
use tokio::sync::mpsc;

use super::*;
use crate::views::{ModuleSource, NewSession};

/// A request as it arrived.
#[derive(Debug, Clone)]
struct Seen {
    line: String,
    headers: http::HeaderMap,
    body: Value,
}

/// What the server answers; `Never` leaves the client waiting.
#[derive(Clone)]
enum Answer {
    Json(u16, Value),
    Text(u16, &'static str),
    Chunks(Vec<&'static str>),
    Never,
}

struct Server {
    client: Client,
    seen: Arc<Mutex<Vec<Seen>>>,
    connections: Arc<Mutex<usize>>,
    _directory: tempfile::TempDir,
}

impl Server {
    fn answering(answer: Answer) -> Server {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("kernel.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let connections: Arc<Mutex<usize>> = Arc::default();
        let (seen_there, connections_there) = (Arc::clone(&seen), Arc::clone(&connections));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                *connections_there.lock().unwrap() += 1;
                let (seen, answer) = (Arc::clone(&seen_there), answer.clone());
                let service =
                    service_fn(move |request| respond(request, Arc::clone(&seen), answer.clone()));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Server {
            client: Client::new(socket),
            seen,
            connections,
            _directory: directory,
        }
    }

    fn last(&self) -> Seen {
        self.seen.lock().unwrap().last().unwrap().clone()
    }
}

type Streamed = UnsyncBoxBody<Bytes, BoxError>;

async fn respond(
    request: Request<Incoming>,
    seen: Arc<Mutex<Vec<Seen>>>,
    answer: Answer,
) -> Result<Response<Streamed>, BoxError> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    seen.lock().unwrap().push(Seen {
        line: format!("{} {}", parts.method, parts.uri),
        headers: parts.headers,
        body: serde_json::from_slice(&body).unwrap_or(Value::Null),
    });
    let whole = |text: String| Full::from(text).map_err(Into::into).boxed_unsync();
    let (status, body) = match answer {
        Answer::Json(status, value) => (status, whole(value.to_string())),
        Answer::Text(status, text) => (status, whole(text.to_owned())),
        Answer::Never => std::future::pending().await,
        Answer::Chunks(chunks) => {
            let (sender, receiver) = mpsc::channel(1);
            tokio::spawn(async move {
                for chunk in chunks {
                    let _ = sender.send(chunk).await;
                }
            });
            let frames = futures_util::stream::unfold(receiver, |mut receiver| async {
                let chunk = receiver.recv().await?;
                Some((Ok(Frame::data(Bytes::from(chunk))), receiver))
            });
            (200, StreamBody::new(frames).boxed_unsync())
        }
    };
    let response = Response::builder()
        .status(status)
        .header("x-request-id", "req_1")
        .header(RETRY_AFTER, "1");
    Ok(response.body(body)?)
}

fn problem_document(code: &str) -> Answer {
    Answer::Json(
        403,
        json!({"type": "urn:x", "title": "No", "status": 403, "detail": "ask again", "code": code, "instance": "req_0"}),
    )
}

#[tokio::test]
async fn sends_the_credential_and_a_host_that_every_kernel_serves() {
    let server = Server::answering(Answer::Json(200, json!({})));
    let client = server.client.clone().credential("tok-1");
    let _: Value = client
        .send(Method::GET, "/api/x/y?z=1", None::<&()>)
        .await
        .unwrap();
    let seen = server.last();
    assert_eq!(seen.line, "GET /api/x/y?z=1");
    assert_eq!(seen.headers[HOST], "localhost");
    assert_eq!(seen.headers[AUTHORIZATION], "Bearer tok-1");
    assert!(!seen.headers.contains_key(CONTENT_TYPE));
    assert_eq!(seen.headers.get_all(HOST).iter().count(), 1);

    // A credential of the request's own stands alone: two at once would be refused.
    let request = Request::get("/x")
        .header(AUTHORIZATION, "Bearer own")
        .body(Empty::<Bytes>::new())
        .unwrap();
    client.request(request).await.unwrap();
    let values = server.last().headers;
    assert!(values.get_all(AUTHORIZATION).iter().eq(["Bearer own"]));
    assert!(!format!("{client:?}").contains("tok-1"));

    let bare: Result<Value, _> = server.client.send(Method::GET, "/x", None::<&()>).await;
    bare.unwrap();
    assert!(!server.last().headers.contains_key(AUTHORIZATION));
}

#[tokio::test]
async fn uses_a_connection_again() {
    let server = Server::answering(Answer::Json(
        200,
        json!({"status": "ok", "version": "1", "protocol": 1}),
    ));
    for _ in 0..5 {
        server.client.clone().health().await.unwrap();
    }
    assert_eq!(server.seen.lock().unwrap().len(), 5);
    assert_eq!(*server.connections.lock().unwrap(), 1);
}

#[tokio::test]
async fn turns_refusals_into_problems() {
    for (answer, code, detail) in [
        (
            problem_document("secret_denied"),
            "secret_denied",
            "ask again",
        ),
        (Answer::Text(403, ""), "", "Forbidden"),
        (
            Answer::Text(403, "plain words\nand more"),
            "",
            "plain words",
        ),
        (Answer::Text(403, "{\"code\":7}"), "", "{\"code\":7}"),
        (Answer::Json(403, json!({"title": "No"})), "", "No"),
    ] {
        let server = Server::answering(answer);
        let refused = server.client.revoke("ses_1").await.unwrap_err();
        let Error::Problem {
            status,
            code: found,
            detail: said,
            request_id,
        } = &refused
        else {
            panic!("{refused:?}");
        };
        assert_eq!((found.as_str(), said.as_str()), (code, detail));
        assert_eq!(status.as_u16(), 403);
        assert_eq!(request_id.as_deref(), Some("req_1"));
    }
    let server = Server::answering(problem_document("x"));
    let raw = Request::get("/x").body(Empty::<Bytes>::new()).unwrap();
    assert_eq!(server.client.request(raw).await.unwrap().status(), 403);
}

#[tokio::test]
async fn issues_a_session() {
    let server = Server::answering(Answer::Json(
        201,
        json!({"id": "ses_1", "object": "session", "client_secret": "ey.J.x", "token_type": "Bearer",
            "expires_in": 600, "expires_at": 1_000, "user": "local", "modules": ["hello"], "scope": "",
            "secret_key_id": null, "environment": "pro", "status": "active", "rate_limit": null,
            "metadata": {}, "from_a_newer_kernel": 1}),
    ));
    let new = NewSession {
        modules: Some(vec!["hello".to_owned()]),
        ..NewSession::default()
    };
    let session = server.client.issue_session(&new).await.unwrap();
    assert_eq!(session.client_secret.expose(), "ey.J.x");
    assert_eq!((session.id.as_str(), session.expires_at), ("ses_1", 1_000));
    assert!(!format!("{session:?}").contains("ey.J.x"));
    let seen = server.last();
    assert_eq!(seen.line, "POST /sessions");
    assert_eq!(seen.body, json!({"modules": ["hello"]}));
    assert_eq!(seen.headers[CONTENT_TYPE], "application/json");
}

#[tokio::test]
async fn asks_each_route_as_the_api_names_it() {
    let receipt = json!({"module": "m", "from": null, "swap_us": 7, "drain_ms": null,
        "to": {"generation": 2, "version": "1.0.0", "sha256": "ab"},
        "requests": {"finished_on_old": 1, "cancelled": 0}, "unloaded": null, "resident_reason": null});
    let server = Server::answering(Answer::Json(200, receipt));
    let client = &server.client;
    let config = serde_json::Map::from_iter([("a".to_owned(), json!(1))]);

    let done = client.reload_module("m", None, false).await.unwrap();
    assert_eq!((done.swap_us, done.unloaded), (Some(7), None));
    assert_eq!(server.last().line, "POST /modules/m/reload");
    assert_eq!(server.last().body, json!({}));
    client
        .reload_module("m", Some(&config), true)
        .await
        .unwrap();
    assert_eq!(server.last().line, "POST /modules/m/reload?wait=drained");
    assert_eq!(server.last().body, json!({"config": {"a": 1}}));
    client.unload_module("m", Some(50), false).await.unwrap();
    assert_eq!(server.last().line, "DELETE /modules/m?drain_ms=50");
    client.unload_module("m", None, true).await.unwrap();
    assert_eq!(server.last().line, "DELETE /modules/m?force=true");
    let source = ModuleSource {
        path: "/m.so".into(),
        ..ModuleSource::default()
    };
    client.put_module("../m", &source).await.unwrap();
    assert_eq!(server.last().line, "PUT /modules/..%2Fm");
    assert_eq!(server.last().body, json!({"path": "/m.so"}));

    // An answer of another kind is an error, not a guess.
    let wrong = client.sessions(Some(5), Some("ses_1")).await;
    assert!(matches!(wrong, Err(Error::Protocol(_))), "{wrong:?}");
    assert_eq!(server.last().line, "GET /sessions?limit=5&after=ses_1");
    assert!(client.rotate_keys(true).await.is_err());
    assert_eq!(server.last().body, json!({"revoke_previous": true}));
    assert!(client.set_log_level("debug").await.is_err());
    assert_eq!(server.last().line, "PUT /log-level");
}

#[tokio::test]
async fn reads_an_empty_answer_as_nothing() {
    let server = Server::answering(Answer::Text(204, ""));
    server.client.revoke("ses_1").await.unwrap();
    assert_eq!(server.last().line, "DELETE /sessions/ses_1");
}

#[tokio::test]
async fn reads_events_as_they_come() {
    let server = Server::answering(Answer::Chunks(vec![
        "event: a\nda",
        "ta: 1\n\ndata: 2\n",
        "\ndata: cut",
    ]));
    let mut events = server.client.events().await.unwrap();
    let mut read = Vec::new();
    while let Some(event) = events.next().await {
        let event = event.unwrap();
        read.push((event.kind, event.data));
    }
    let expected = [("a", "1"), ("message", "2")];
    assert!(
        read.iter()
            .map(|(k, d)| (k.as_str(), d.as_str()))
            .eq(expected)
    );

    let refusing = Server::answering(problem_document("insufficient_scope"));
    assert!(matches!(
        refusing.client.events().await,
        Err(Error::Problem { .. })
    ));
}

#[tokio::test]
async fn says_why_there_is_no_answer() {
    let directory = tempfile::tempdir().unwrap();
    let nobody = Client::new(directory.path().join("kernel.sock"));
    let error = nobody.health().await.unwrap_err();
    assert!(error.is_unavailable(), "{error:?}");
    assert!(error.to_string().contains("midplane serve"), "{error}");

    let stale = directory.path().join("stale.sock");
    drop(UnixListener::bind(&stale).unwrap());
    let error = Client::new(stale).health().await.unwrap_err();
    assert!(error.is_unavailable(), "{error:?}");

    let long = Client::new(format!("/{}", "x".repeat(SOCKET_PATH_LEN_MAX)));
    let error = long.health().await.unwrap_err();
    assert!(
        matches!(error, Error::SocketPathTooLong { .. }),
        "{error:?}"
    );

    let slow = Server::answering(Answer::Never);
    let client = slow.client.clone().deadline(Duration::from_millis(20));
    let error = client.health().await.unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }), "{error:?}");

    let client = slow.client.clone().credential("two\nlines");
    let error = client.health().await.unwrap_err();
    assert!(matches!(error, Error::Credential), "{error:?}");

    let garbled = Server::answering(Answer::Text(200, "not json"));
    let error = garbled.client.health().await.unwrap_err();
    assert!(matches!(error, Error::Protocol(_)), "{error:?}");
}
