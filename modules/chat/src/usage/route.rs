//! `GET /threads/{thread_id}/usage`: what each answer of a thread cost, in pages.

use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::routing::get;
use http::StatusCode;
use midplane_sdk::{Problem, Session};
use serde::Serialize;

use super::Cost;
use crate::protocol::id::{ItemId, ThreadId};
use crate::protocol::item::Item;
use crate::protocol::page::{Page, Paging};
use crate::protocol::timestamp::Timestamp;
use crate::store::Store;

/// Below the module's prefix.
const PATH: &str = "/threads/{thread_id}/usage";

/// One answer, by the last item it left.
#[derive(Debug, Serialize)]
struct Answered {
    item_id: ItemId,
    created_at: Timestamp,
    #[serde(flatten)]
    cost: Cost,
}

pub(crate) fn router(store: Arc<dyn Store>) -> Router {
    Router::new()
        .route(PATH, get(usage).fallback(no_such_method))
        .with_state(store)
}

/// The parameters `limit`, `order` and `after` are those of `items.list`, and so are the pages: of the items they cover, those
/// that have a cost are told.
async fn usage(
    State(store): State<Arc<dyn Store>>,
    session: Session,
    Path(thread): Path<ThreadId>,
    paging: Result<Query<Paging<ItemId>>, QueryRejection>,
) -> Result<axum::Json<Page<Answered>>, Problem> {
    let Query(paging) = paging.map_err(|rejection| {
        Problem::new(rejection.status(), "invalid_request", rejection.body_text())
    })?;
    let items = store.items(session.user(), &thread, paging.scan());
    let items = items.await.map_err(|error| error.problem())?;
    Ok(axum::Json(answered(items)))
}

fn answered(items: Page<Item>) -> Page<Answered> {
    let answered = items.data.into_iter().filter_map(|item| {
        Some(Answered {
            item_id: item.id,
            created_at: item.created_at,
            cost: item.cost?,
        })
    });
    Page {
        data: answered.collect(),
        has_more: items.has_more,
        after: items.after,
    }
}

async fn no_such_method() -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "use GET here",
    )
}
