use axum::{Router, routing::get};
use midplane_sdk::{Context, Result, Session};

#[midplane_sdk::module(name = "hello")]
async fn hello(_ctx: Context) -> Result<Router> {
    Ok(Router::new().route(
        "/hello",
        get(|s: Session| async move { format!("hello {}", s.user()) }),
    ))
}
