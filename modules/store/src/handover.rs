//! The file passes from one generation to the next, since one copy of SQLite in a process may have it open.
//!
//! The kernel calls `save` of the old generation while new requests wait, and then `restore` of the new: the old one closes the
//! file in `save`, the new one opens it behind that. Should the new one be refused after all, the old one opens it again with the
//! next request. So whatever becomes of a reload, one of them has the file, and never both.

use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use midplane_sdk::Draining;
use midplane_store_backend::sqlite::{OpenError, Settings};
use midplane_store_backend::{
    Answer, Backend, Batch, Entry, Page, Scan, Sqlite, StoreError, Usage, Version,
};

pub(crate) struct File {
    settings: Settings,
    draining: Draining,
    /// `None` while it is handed over. Held for a look only: workers of the kernel's do look.
    open: Mutex<Option<Arc<Sqlite>>>,
    /// Held by whoever opens or closes, which takes long.
    changing: Mutex<()>,
}

impl File {
    pub(crate) fn open(settings: Settings, draining: Draining) -> Result<File, OpenError> {
        let open = Sqlite::open(&settings)?;
        Ok(File {
            settings,
            draining,
            open: Mutex::new(Some(Arc::new(open))),
            changing: Mutex::default(),
        })
    }

    /// Carries out what waits, and closes the file for the next generation. Blocks until then, and requests with it.
    pub(crate) fn hand_over(&self) {
        let _changing = self.changing();
        let open = self.slot().take();
        if let Some(open) = open {
            open.hand_over();
        }
    }

    /// Carries out what waits, and closes the file for good. Blocks until then.
    pub(crate) fn close(&self) {
        let _changing = self.changing();
        let open = self.slot().take();
        if let Some(open) = open {
            open.close();
        }
    }

    async fn now(self: &Arc<Self>) -> Result<Arc<Sqlite>, StoreError> {
        if let Some(open) = &*self.slot() {
            return Ok(Arc::clone(open));
        }
        if self.draining.is_draining() {
            return Err(StoreError::Closing);
        }
        let file = Arc::clone(self);
        // It waits for the disk, and for a generation that may be closing the file: not on a worker of the kernel's.
        let opened = tokio::task::spawn_blocking(move || file.open_again());
        opened.await.unwrap_or(Err(StoreError::Closing))
    }

    fn open_again(&self) -> Result<Arc<Sqlite>, StoreError> {
        let _changing = self.changing();
        if let Some(open) = &*self.slot() {
            // Another request was faster.
            return Ok(Arc::clone(open));
        }
        let opened = Sqlite::open(&self.settings).map_err(|error| match error {
            OpenError::Store(error) => error,
            // It has been taken over: the request belongs to the next generation.
            OpenError::OpenInThisProcess { .. } => StoreError::Closing,
            error => StoreError::Database {
                doing: "open",
                path: self.settings.path.clone(),
                detail: error.to_string(),
            },
        });
        let open = Arc::new(opened?);
        tracing::info!("the file is open again: the next generation has not taken it over");
        *self.slot() = Some(Arc::clone(&open));
        Ok(open)
    }

    fn changing(&self) -> MutexGuard<'_, ()> {
        self.changing
            .lock()
            .expect("no code panics under this lock")
    }

    fn slot(&self) -> MutexGuard<'_, Option<Arc<Sqlite>>> {
        self.open.lock().expect("no code panics under this lock")
    }
}

/// A file that passes on.
pub(crate) struct Passing(pub(crate) Arc<File>);

impl Backend for Passing {
    fn get<'a>(&'a self, module: &'a str, key: Bytes) -> Answer<'a, Option<Entry>> {
        Box::pin(async move { self.0.now().await?.get(module, key).await })
    }

    fn scan<'a>(&'a self, module: &'a str, scan: Scan) -> Answer<'a, Page> {
        Box::pin(async move { self.0.now().await?.scan(module, scan).await })
    }

    fn commit<'a>(&'a self, module: &'a str, batch: Batch) -> Answer<'a, Version> {
        Box::pin(async move { self.0.now().await?.commit(module, batch).await })
    }

    fn usage<'a>(&'a self, module: &'a str) -> Answer<'a, Usage> {
        Box::pin(async move { self.0.now().await?.usage(module).await })
    }

    fn changed<'a>(&'a self, module: &'a str, seen: Version) -> Answer<'a, Version> {
        Box::pin(async move {
            let open = self.0.now().await?;
            match open.changed(module, seen).await {
                // Handed over: whoever watches asks again, and is answered by whichever generation has the file.
                Err(StoreError::Closing) => Ok(seen),
                outcome => outcome,
            }
        })
    }
}
