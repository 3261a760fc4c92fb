//! The counter that hands nothing over.

use axum::Router;
use midplane_keeper::Config;
use midplane_sdk::{Context, Result};

#[midplane_sdk::module(name = "keeper")]
async fn keeper(ctx: Context<Config>) -> Result<Router> {
    midplane_keeper::forgetful(ctx).await
}
