//! What a Rust author would write without Midplane: axum, and a layer that verifies a JWT with the usual crate.
//!
//! The token's key is `BENCH_JWT_KEY`.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Query, Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use tokio::net::UnixListener;

struct Verifier {
    key: DecodingKey,
    validation: Validation,
}

#[derive(Clone, Deserialize)]
struct Claims {
    sub: String,
}

#[derive(Deserialize)]
struct StreamQuery {
    n: u32,
    #[serde(default)]
    from: job::Source,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let secret = std::env::var("BENCH_JWT_KEY").expect("BENCH_JWT_KEY is set");
    let mut validation = Validation::new(Algorithm::HS256);
    validation.set_audience(&["bench"]);
    let verifier = Arc::new(Verifier {
        key: DecodingKey::from_secret(secret.as_bytes()),
        validation,
    });
    let router = Router::new()
        .route("/hello", get(hello))
        .route("/echo", post(async |body: Body| body))
        .route("/stream", get(stream))
        .layer(middleware::from_fn_with_state(verifier, verify))
        .route("/public/hello", get(async || job::HELLO));
    axum::serve(UnixListener::bind(job::socket())?, router).await
}

async fn verify(
    State(verifier): State<Arc<Verifier>>,
    headers: HeaderMap,
    mut request: Request,
    next: Next,
) -> Response {
    let token = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let claims = token.and_then(|token| {
        jsonwebtoken::decode::<Claims>(token, &verifier.key, &verifier.validation).ok()
    });
    match claims {
        Some(token) => {
            request.extensions_mut().insert(token.claims);
            next.run(request).await
        }
        None => StatusCode::UNAUTHORIZED.into_response(),
    }
}

async fn hello(Extension(claims): Extension<Claims>) -> String {
    format!("hello {}", claims.sub)
}

async fn stream(Query(StreamQuery { n, from }): Query<StreamQuery>) -> impl IntoResponse {
    let body = Body::from_stream(job::events(n, from));
    ([(CONTENT_TYPE, "text/event-stream")], body)
}
