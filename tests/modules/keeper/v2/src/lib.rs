//! The counter that reads schemas 1 and 2, and writes 2.

use axum::Router;
use midplane_keeper::Config;
use midplane_sdk::{Context, Result};

#[midplane_sdk::module(name = "keeper", state = 1..=2)]
async fn keeper(ctx: Context<Config>) -> Result<Router> {
    midplane_keeper::keeper(ctx, 2).await
}
