//! The counter that reads and writes schema 3 only.

use axum::Router;
use midplane_keeper::Config;
use midplane_sdk::{Context, Result};

#[midplane_sdk::module(name = "keeper", state = 3)]
async fn keeper(ctx: Context<Config>) -> Result<Router> {
    midplane_keeper::keeper(ctx, 3).await
}
