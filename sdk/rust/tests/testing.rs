//! The SDK through its own stand-in for the kernel: what an author may rely on in unit tests, and so in a kernel.

#![expect(clippy::unwrap_used, reason = "a test may")]

use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, Query};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use midplane_sdk::testing::{self, Module, session};
use midplane_sdk::{Context, Error, Problem, Result, Session};
use serde_json::{Value, json};

#[derive(serde::Deserialize)]
struct Config {
    greeting: String,
}

async fn sample(mut ctx: Context<Config>) -> Result<Router> {
    if ctx.config().greeting.is_empty() {
        return Err(Error::msg("set a greeting"));
    }
    ctx.needs_secret(true);
    ctx.openapi(&json!({"openapi": "3.1.0"}));
    ctx.body_limit("/upload/*", 10)?;
    ctx.on_session(|session: Session| async move {
        match session.secret().await?.expose() {
            "good" => Ok(()),
            _ => Err(Error::msg("the provider does not know this key")),
        }
    });
    let draining = ctx.draining();
    let greeting = ctx.config().greeting.clone();
    Ok(Router::new()
        .route(
            "/greet/{name}",
            get(move |Path(name): Path<String>| async move { format!("{greeting} {name}") }),
        )
        .route(
            "/whoami",
            get(|s: Session| async move {
                Json(json!({"user": s.user(), "scope": s.scope(), "metadata": s.metadata()}))
            }),
        )
        .route(
            "/maybe",
            get(|s: Option<Session>| async move { s.is_some().to_string() }),
        )
        .route(
            "/scoped",
            get(|s: Session| async move { s.require("write").map(|()| "may") }),
        )
        .route("/echo", post(|body: Body| async move { body }))
        .route(
            "/spawned-echo",
            post(|body: Body| async move {
                tokio::spawn(async move { body.collect().await.map(|all| all.to_bytes()) })
                    .await
                    .unwrap()
                    .map_err(|_| StatusCode::BAD_REQUEST)
            }),
        )
        .route(
            "/sleep",
            get(|| async { tokio::time::sleep(Duration::from_millis(1)).await }),
        )
        .route("/panic", get(|| async { panic!("on purpose") as () }))
        .route(
            "/query",
            get(|Query(q): Query<Value>| async move { Json(q) }),
        )
        .route(
            "/refresh",
            get(|s: Session| async move {
                match s.refresh_secret().await {
                    Ok(secret) => Ok(secret.expose().to_owned()),
                    Err(error) => Err(Problem::new(
                        StatusCode::BAD_GATEWAY,
                        "no_key",
                        error.to_string(),
                    )),
                }
            }),
        )
        .route(
            "/until-drained",
            get(move || {
                let draining = draining.clone();
                async move {
                    draining.wait().await;
                    "drained"
                }
            }),
        ))
}

async fn start() -> Module {
    testing::start(sample, json!({"greeting": "hello"}))
        .await
        .unwrap()
}

async fn text(response: http::Response<Body>) -> String {
    String::from_utf8(
        response
            .into_body()
            .collect()
            .await
            .unwrap()
            .to_bytes()
            .to_vec(),
    )
    .unwrap()
}

async fn get_text(module: &Module, path: &str) -> (StatusCode, String) {
    let response = module
        .call(
            Some(
                session("ada")
                    .scope("read write")
                    .metadata(&json!({"window": 3})),
            ),
            Request::get(path).body(Body::empty()).unwrap(),
        )
        .await;
    (response.status(), text(response).await)
}

#[tokio::test]
async fn requests_reach_the_router() {
    let module = start().await;
    for (path, status, expect) in [
        ("/greet/ada", 200, "hello ada"),
        ("/greet/%C3%A9", 200, "hello é"),
        (
            "/whoami",
            200,
            r#"{"metadata":{"window":3},"scope":"read write","user":"ada"}"#,
        ),
        ("/maybe", 200, "true"),
        ("/scoped", 200, "may"),
        ("/sleep", 200, ""),
        ("/query?a=1&b=two", 200, r#"{"a":"1","b":"two"}"#),
        ("/nowhere", 404, ""),
    ] {
        assert_eq!(
            get_text(&module, path).await,
            (StatusCode::from_u16(status).unwrap(), expect.to_owned()),
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_route_without_session_refuses_or_adapts() {
    let module = start().await;
    let response = module
        .call(None, Request::get("/whoami").body(Body::empty()).unwrap())
        .await;
    assert_eq!(response.status(), 401);
    assert_eq!(
        response.headers()["content-type"],
        "application/problem+json"
    );
    let response = module
        .call(None, Request::get("/maybe").body(Body::empty()).unwrap())
        .await;
    assert_eq!(text(response).await, "false");
    let response = module
        .call(
            Some(session("ada")),
            Request::get("/scoped").body(Body::empty()).unwrap(),
        )
        .await;
    assert_eq!(response.status(), 403);
}

#[tokio::test]
async fn bodies_stream_both_ways() {
    let module = start().await;
    for path in ["/echo", "/spawned-echo"] {
        let chunks: Vec<String> = (0..500).map(|n| format!("{n:>999} ")).collect();
        let whole = chunks.concat();
        let body = Body::from_stream(futures_util::stream::iter(
            chunks.into_iter().map(Ok::<_, std::io::Error>),
        ));
        let response = module
            .call(
                Some(session("ada")),
                Request::post(path).body(body).unwrap(),
            )
            .await;
        assert_eq!(text(response).await, whole, "{path}");
    }
}

#[tokio::test]
async fn a_panic_is_a_500_and_the_module_goes_on() {
    let module = start().await;
    let (status, reason) = get_text(&module, "/panic").await;
    assert_eq!(status, 500);
    assert!(reason.contains("on purpose"), "{reason}");
    assert_eq!(get_text(&module, "/greet/you").await.0, 200);
}

#[tokio::test]
async fn secrets_refresh() {
    let module = start().await;
    let call = async |session| {
        let response = module
            .call(
                Some(session),
                Request::get("/refresh").body(Body::empty()).unwrap(),
            )
            .await;
        (response.status().as_u16(), text(response).await)
    };
    assert_eq!(
        call(session("ada").secret("old").refreshed(Ok("new".to_owned()))).await,
        (200, "new".to_owned())
    );
    let (status, problem) = call(
        session("ada")
            .secret("old")
            .refreshed(Err("the vault is locked".to_owned())),
    )
    .await;
    assert_eq!(status, 502);
    assert!(problem.contains("the vault is locked"), "{problem}");
}

#[tokio::test]
async fn a_session_is_checked_before_it_is_issued() {
    let module = start().await;
    assert!(module.needs_secret());
    assert!(module.check(session("ada").secret("good")).await.is_ok());
    let refused = module
        .check(session("ada").secret("bad"))
        .await
        .unwrap_err();
    assert_eq!(refused.to_string(), "the provider does not know this key");
}

#[tokio::test]
async fn draining_reaches_handlers() {
    let module = start().await;
    let (response, ()) = tokio::join!(get_text(&module, "/until-drained"), async {
        module.drain()
    });
    assert_eq!(response.1, "drained");
    assert_eq!(module.openapi(), Some(json!({"openapi": "3.1.0"})));
}

#[tokio::test]
async fn a_module_that_cannot_start_says_why() {
    for (config, expect) in [
        (json!({"greeting": ""}), "set a greeting"),
        (json!({}), "missing field `greeting`"),
        (
            json!({"greeting": "hi", "colour": 1}),
            "unknown member `colour`",
        ),
    ] {
        let error = testing::start(sample, config).await.err().unwrap();
        assert!(error.to_string().contains(expect), "{error}");
    }
}

#[tokio::test]
async fn a_drain_step_that_panics_skips_no_other() {
    let (ran, mut runs) = tokio::sync::mpsc::unbounded_channel();
    let module = testing::start(
        async move |mut ctx: Context| {
            ctx.on_drain(|| panic!("on purpose"));
            ctx.on_drain(move || ran.send("the second").unwrap());
            let draining = ctx.draining();
            let wait = get(move || async move { draining.wait().await });
            Ok(Router::new().route("/wait", wait))
        },
        json!({}),
    )
    .await
    .unwrap();
    module.drain();
    assert_eq!(runs.try_recv().unwrap(), "the second");
    assert_eq!(get_text(&module, "/wait").await.0, 200);
}

#[tokio::test]
async fn a_module_has_a_directory_for_as_long_as_it_lives() {
    use std::os::unix::fs::PermissionsExt as _;

    async fn writer(ctx: Context) -> Result<Router> {
        let dir = ctx.data_dir().to_owned();
        std::fs::write(dir.join("kept"), "here")?;
        Ok(Router::new().route(
            "/dir",
            get(move || std::future::ready(dir.display().to_string())),
        ))
    }
    let (one, other) = (
        testing::start(writer, json!({})).await.unwrap(),
        testing::start(writer, json!({})).await.unwrap(),
    );
    let ask = async |module: &Module| {
        let request = Request::get("/dir").body(Body::empty()).unwrap();
        let body = module.call(None, request).await.into_body();
        let path = body.collect().await.unwrap().to_bytes();
        std::path::PathBuf::from(String::from_utf8(path.to_vec()).unwrap())
    };
    let (dir, others) = (ask(&one).await, ask(&other).await);
    assert!(dir.is_absolute() && dir != others, "{dir:?} {others:?}");
    let mode = dir.metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o700);
    assert_eq!(std::fs::read_to_string(dir.join("kept")).unwrap(), "here");
    drop(one);
    assert!(!dir.exists() && others.exists());
}
