//! The user's threads: listed, read, renamed and deleted. Nothing here streams, and nothing is shown.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::server::Server;
use crate::task::Named;

/// As many threads as a person looks through, and as many items as fit a screen or two; the protocol's own default.
const PAGE_LEN: usize = 20;
/// The longest page that the chat module gives.
const PAGE_LEN_MAX: usize = 100;

/// A thread as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct ThreadSummary {
    pub(crate) id: String,
    pub(crate) title: Option<String>,
    pub(crate) created_at: String,
}

/// An opened thread.
pub(crate) struct Opened {
    pub(crate) id: String,
    pub(crate) title: Option<String>,
    /// Its latest items, in order.
    pub(crate) items: Vec<Value>,
}

/// The records of a list, one page after the other.
pub(crate) struct Pages {
    request: Value,
    is_last: bool,
    /// How many more records are wanted.
    left: usize,
}

#[derive(Deserialize)]
pub(crate) struct Page<T> {
    pub(crate) data: Vec<T>,
    #[serde(default)]
    has_more: bool,
    after: Option<String>,
}

/// All threads, newest first, up to a limit.
pub(crate) fn all(limit: Option<usize>) -> Pages {
    Pages {
        request: json!({"type": "threads.list", "params": {"order": "desc"}}),
        is_last: false,
        left: limit.unwrap_or(usize::MAX),
    }
}

/// All items of a thread, oldest first.
pub(crate) fn items(thread: &str) -> Pages {
    Pages {
        request: json!({"type": "items.list", "params": {"thread_id": thread, "order": "asc"}}),
        is_last: false,
        left: usize::MAX,
    }
}

impl Pages {
    /// The next page; nothing when there are no more.
    pub(crate) async fn next(
        &mut self,
        server: &mut Server,
    ) -> Result<Option<Vec<Value>>, Failure> {
        if self.is_last || self.left == 0 {
            return Ok(None);
        }
        self.request["params"]["limit"] = json!(self.left.min(PAGE_LEN_MAX));
        let mut page: Page<Value> = server.ask(&self.request).await?;
        page.data.truncate(self.left);
        self.left -= page.data.len();
        // A page that is empty or names no place to go on from would be asked for without end.
        self.is_last = !page.has_more || page.after.is_none() || page.data.is_empty();
        self.request["params"]["after"] = json!(page.after);
        Ok(Some(page.data))
    }
}

/// The newest threads, newest first.
pub(crate) async fn newest(server: &mut Server) -> Result<Vec<ThreadSummary>, Failure> {
    page(server, PAGE_LEN).await
}

/// The id of a thread that somebody named.
pub(crate) async fn id_of(named: &Named, server: &mut Server) -> Result<String, Failure> {
    match named {
        Named::Id(id) => Ok(id.clone()),
        Named::Newest => {
            let page: Vec<ThreadSummary> = page(server, 1).await?;
            let newest = page.into_iter().next().ok_or(Failure::NoThread)?;
            Ok(newest.id)
        }
    }
}

/// A thread with its latest items.
pub(crate) async fn open(thread: &str, server: &mut Server) -> Result<Opened, Failure> {
    #[derive(Deserialize)]
    struct WithItems {
        id: String,
        title: Option<String>,
        items: Page<Value>,
    }
    let request = json!({"type": "threads.get_by_id", "params": {"thread_id": thread}});
    let found: WithItems = server.ask(&request).await?;
    let mut items = found.items.data;
    // The page a thread comes with is its first; the end is what one goes on from.
    if found.items.has_more {
        let request = json!({
            "type": "items.list",
            "params": {"thread_id": found.id, "limit": PAGE_LEN, "order": "desc"},
        });
        let latest: Page<Value> = server.ask(&request).await?;
        items = latest.data;
        items.reverse();
    }
    Ok(Opened {
        id: found.id,
        title: found.title,
        items,
    })
}

pub(crate) async fn rename(thread: &str, title: &str, server: &mut Server) -> Result<(), Failure> {
    let params = json!({"thread_id": thread, "title": title});
    let _: Value = server
        .ask(&json!({"type": "threads.update", "params": params}))
        .await?;
    Ok(())
}

pub(crate) async fn delete(thread: &str, server: &mut Server) -> Result<(), Failure> {
    let params = json!({"thread_id": thread});
    let _: Value = server
        .ask(&json!({"type": "threads.delete", "params": params}))
        .await?;
    Ok(())
}

async fn page<T: DeserializeOwned>(server: &mut Server, limit: usize) -> Result<Vec<T>, Failure> {
    let request = json!({"type": "threads.list", "params": {"limit": limit, "order": "desc"}});
    let page: Page<T> = server.ask(&request).await?;
    Ok(page.data)
}
