//! Against a server of the test's own, on a socket of its own.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::UnixListener;

use super::*;

/// Serves one canned answer, and notes what it was asked.
struct Canned {
    dir: tempfile::TempDir,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Canned {
    fn serve(status: u16, answer: &'static str) -> Canned {
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join("k.sock")).unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let noted = Arc::clone(&noted);
                tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(
                    TokioIo::new(stream),
                    service_fn(move |request: Request<Incoming>| {
                        let noted = Arc::clone(&noted);
                        async move {
                            let header = |name| {
                                let value = request
                                    .headers()
                                    .get(name)
                                    .map(|value| value.to_str().unwrap().to_owned());
                                value.unwrap_or_default()
                            };
                            let head = format!(
                                "{} {} host={} auth={}",
                                request.method(),
                                request.uri(),
                                header(HOST),
                                header(AUTHORIZATION)
                            );
                            let body = request.into_body().collect().await.unwrap().to_bytes();
                            noted.lock().unwrap().push(
                                format!("{head} {}", String::from_utf8_lossy(&body))
                                    .trim()
                                    .to_owned(),
                            );
                            let mut response = Response::new(Full::<Bytes>::from(answer));
                            *response.status_mut() = http::StatusCode::from_u16(status).unwrap();
                            Ok::<_, Infallible>(response)
                        }
                    }),
                ));
            }
        });
        Canned { dir, asked }
    }
}

impl Canned {
    fn client(&self) -> Client {
        Client::new(self.dir.path().join("k.sock")).credential("mph_key")
    }

    fn asked(&self) -> String {
        self.asked.lock().unwrap().join("\n")
    }
}

#[tokio::test]
async fn requests_are_what_the_api_says() {
    let server = Canned::serve(200, r#"{"kid":"k2","filter":"info","revoked":2}"#);
    let client = server.client();
    assert_eq!(client.rotate_keys(true).await.unwrap(), "k2");
    assert_eq!(client.set_log_filter("info").await.unwrap(), "info");
    assert_eq!(
        client.revoke_matching(Some("a b&c"), None).await.unwrap(),
        2
    );
    assert_eq!(
        server.asked(),
        "POST /keys/rotate host=localhost auth=Bearer mph_key {\"revoke_previous\":true}\n\
         PUT /log-level host=localhost auth=Bearer mph_key {\"filter\":\"info\"}\n\
         DELETE /sessions?user=a%20b%26c host=localhost auth=Bearer mph_key"
    );
}

#[tokio::test]
async fn problems_become_errors() {
    let server = Canned::serve(
        404,
        r#"{"code":"session_not_found","detail":"there is no such session","instance":"req_7"}"#,
    );
    match server.client().session("ses_1").await.unwrap_err() {
        Error::Problem {
            status,
            code,
            request_id,
            ..
        } => {
            assert_eq!(
                (status.as_u16(), &*code, request_id.as_deref()),
                (404, "session_not_found", Some("req_7"))
            );
        }
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn an_answer_that_is_not_understood_names_the_request() {
    let server = Canned::serve(200, "hello");
    let error = server.client().modules().await.unwrap_err();
    assert!(error.to_string().contains("GET /modules"), "{error}");
}

#[tokio::test]
async fn nobody_there_is_told_with_the_socket() {
    let error = Client::new("/nonexistent/kernel.sock")
        .health()
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error}");
    assert!(
        error.to_string().contains("/nonexistent/kernel.sock"),
        "{error}"
    );
}

#[test]
fn credentials_are_not_printed() {
    let client = Client::new("/s").credential("mph_secret");
    assert!(!format!("{client:?}").contains("mph_secret"));
}
