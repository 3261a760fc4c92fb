//! Carries out custom actions for the chat module, whose configuration names this one:
//!
//! ```toml
//! [modules.chat]
//! grants = ["secrets", "call:store", "call:actions"]
//! config = { actions = "actions" }
//! ```
//!
//! Chat posts each action of a client or of a widget to `/chatkit/actions`. `actions` below are written as an author would
//! write them; `faults` are what an author may get wrong.

mod actions;
mod faults;

use axum::routing::post;
use axum::{Json, Router};
use midplane_sdk::{Caller, Context, Result};
use serde::Deserialize;
use serde_json::Value;

/// What chat posts.
#[derive(Deserialize)]
struct Asked {
    /// `threads.custom_action`, which is answered with events, or `threads.sync_custom_action`, with one item.
    r#type: String,
    thread: Value,
    /// The widget that the action comes from, if it does.
    item: Option<Value>,
    action: Action,
    user: String,
}

#[derive(Deserialize)]
struct Action {
    r#type: String,
    #[serde(default)]
    payload: Value,
}

#[midplane_sdk::module(name = "actions", internal = ["/chatkit/*"])]
async fn module(_ctx: Context) -> Result<Router> {
    Ok(Router::new().route("/chatkit/actions", post(act)))
}

async fn act(caller: Caller, Json(asked): Json<Asked>) -> axum::response::Response {
    let told = caller.session().map(midplane_sdk::Session::user);
    assert_eq!(told, Some(&*asked.user), "chat acts for the user it names");
    match asked.action.r#type.strip_prefix("fault.") {
        Some(fault) => faults::commit(fault, &asked),
        None if asked.r#type == "threads.sync_custom_action" => actions::at_once(&asked),
        None => actions::in_events(&asked),
    }
}
