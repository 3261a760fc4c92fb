//! What a handler learns of its session, and the secret it may ask for.

use axum::extract::Path;
use axum::routing::get;
use axum::{Json, Router};
use http::StatusCode;
use midplane_sdk::{Problem, Secret, SecretError, Session};
use serde_json::{Value, json};

pub(crate) fn routes() -> Router {
    Router::new()
        .route("/session", get(session))
        .route("/scope/{scope}", get(scope))
        .route(
            "/secret",
            get(|s: Session| async move { told(s.secret().await) }),
        )
        .route(
            "/refresh",
            get(|s: Session| async move { told(s.refresh_secret().await) }),
        )
        .route("/spawned-refresh", get(spawned_refresh))
        .route("/public", get(anyone))
        .route("/assets/{*path}", get(anyone))
        .route("/private", get(|| async { "private" }))
}

async fn session(s: Session) -> Json<Value> {
    Json(json!({
        "id": s.id(),
        "user": s.user(),
        "scope": s.scope(),
        "environment": s.environment(),
        "expires_at": s.expires_at(),
        "metadata": s.metadata(),
        "has_secret": s.has_secret(),
    }))
}

async fn scope(s: Session, Path(scope): Path<String>) -> Result<&'static str, Problem> {
    s.require(&scope).map(|()| "may")
}

async fn anyone(s: Option<Session>) -> String {
    s.map_or_else(|| "nobody".to_owned(), |s| s.user().to_owned())
}

async fn spawned_refresh(s: Session) -> Result<String, Problem> {
    let task = tokio::spawn(async move {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        s.refresh_secret().await
    });
    told(
        task.await
            .unwrap_or_else(|error| Err(SecretError::Failed(error.to_string()))),
    )
}

fn told(secret: Result<Secret, SecretError>) -> Result<String, Problem> {
    secret
        .map(|secret| secret.expose().to_owned())
        .map_err(|error| {
            let code = match &error {
                SecretError::Denied => "denied",
                SecretError::Absent => "absent",
                _ => "failed",
            };
            Problem::new(StatusCode::BAD_GATEWAY, code, error.to_string())
        })
}
