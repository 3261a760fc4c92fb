//! How much of the store one calling module may take at once, so that there is always some of it for the others.
//!
//! The kernel bounds how many requests the store has under way, of all modules together, and how many calls one module makes; a
//! module that makes all of those to the store would leave none to anybody. What waits inside is shared by the backend itself.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http_body_util::BodyExt as _;
use midplane_sdk::{Caller, Problem};

use crate::problem::Refusal;

/// Half of what the kernel lets the store have under way, if the operator has not changed that (`[limits] requests_per_module`).
pub(crate) const REQUESTS_MAX: usize = 512;
/// Of those, such as wait for the next commit: one for each generation would do, since a module can tell its own tasks.
pub(crate) const WATCHES_MAX: usize = 64;
/// Of bodies that are on their way or being carried out: several of the largest batches at once.
pub(crate) const BODY_BYTES_MAX: usize = 32 << 20;

#[derive(Clone, Default)]
pub(crate) struct Shares(Arc<Mutex<HashMap<String, Taken>>>);

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Taken {
    requests: usize,
    watches: usize,
    body_bytes: usize,
}

/// What one request takes of its module's share, until it is dropped.
pub(crate) struct Share {
    shares: Shares,
    module: String,
    taken: Taken,
}

impl Shares {
    /// One more request of this module.
    pub(crate) fn request(&self, caller: &Caller) -> Result<Share, Refusal> {
        self.take(caller.module())
    }

    fn take(&self, module: &str) -> Result<Share, Refusal> {
        let mut shares = self.lock();
        // Kept for as long as the store: no more modules may call it than the operator has granted that.
        let taken = shares.entry(module.to_owned()).or_default();
        if taken.requests == REQUESTS_MAX {
            return Err(too_much(format!(
                "{module} has {REQUESTS_MAX} requests under way at the store already: wait for some of them"
            )));
        }
        taken.requests += 1;
        Ok(Share {
            shares: self.clone(),
            module: module.to_owned(),
            taken: Taken {
                requests: 1,
                ..Taken::default()
            },
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Taken>> {
        self.0.lock().expect("no code panics under this lock")
    }
}

impl Share {
    /// It is going to wait until something is committed.
    pub(crate) fn watch(&mut self) -> Result<(), Refusal> {
        let mut shares = self.shares.lock();
        let all = shares.entry(self.module.clone()).or_default();
        if all.watches == WATCHES_MAX {
            return Err(too_much(format!(
                "{} watches the store {WATCHES_MAX} times already: let one task watch, and tell the others",
                self.module
            )));
        }
        all.watches += 1;
        self.taken.watches += 1;
        Ok(())
    }

    /// The whole body, if it has no more than `len_max` bytes.
    pub(crate) async fn content(
        &mut self,
        mut body: Body,
        len_max: usize,
        too_large: impl FnOnce() -> Refusal,
    ) -> Result<Bytes, Refusal> {
        let (mut content, mut more) = (Bytes::new(), BytesMut::new());
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| {
                Refusal::malformed(format!("the body cannot be read to its end: {error}"))
            })?;
            let Ok(bytes) = frame.into_data() else {
                continue;
            };
            if content.len() + more.len() + bytes.len() > len_max {
                return Err(too_large());
            }
            self.body(bytes.len())?;
            if content.is_empty() && more.is_empty() {
                // Most come in one piece.
                content = bytes;
                continue;
            }
            if more.is_empty() {
                more.extend_from_slice(&std::mem::take(&mut content));
            }
            more.extend_from_slice(&bytes);
        }
        match more.is_empty() {
            true => Ok(content),
            false => Ok(more.freeze()),
        }
    }

    fn body(&mut self, len: usize) -> Result<(), Refusal> {
        let mut shares = self.shares.lock();
        let all = shares.entry(self.module.clone()).or_default();
        if all.body_bytes + len > BODY_BYTES_MAX {
            return Err(too_much(format!(
                "{} has {BODY_BYTES_MAX} bytes on their way to the store already: wait for some of them",
                self.module
            )));
        }
        all.body_bytes += len;
        self.taken.body_bytes += len;
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut shares = self.shares.lock();
        if let Some(all) = shares.get_mut(&self.module) {
            all.requests -= self.taken.requests;
            all.watches -= self.taken.watches;
            all.body_bytes -= self.taken.body_bytes;
        }
    }
}

fn too_much(detail: String) -> Refusal {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "store_overloaded", detail).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said<T>(outcome: Result<T, Refusal>) -> String {
        match outcome {
            Err(Refusal::Problem(problem)) => format!("{problem:?}"),
            Err(Refusal::Store(error)) => error.to_string(),
            Ok(_) => "well".to_owned(),
        }
    }

    #[test]
    fn what_one_module_takes_is_bounded_and_nothing_to_others() {
        let shares = Shares::default();
        let mut all: Vec<Share> = (0..REQUESTS_MAX)
            .map(|_| shares.take("greedy").expect("there is room"))
            .collect();
        let refused = said(shares.take("greedy"));
        assert!(refused.contains("512 requests under way"), "{refused}");
        for share in &mut all[..WATCHES_MAX] {
            assert_eq!(said(share.watch()), "well");
        }
        let refused = said(all[WATCHES_MAX].watch());
        assert!(refused.contains("watches the store 64 times"), "{refused}");
        let mut other = shares.take("modest").expect("it has a share");
        assert_eq!(said(other.watch()), "well");
        all.truncate(1);
        assert_eq!(said(shares.take("greedy")), "well");
        drop(all);
        assert_eq!(shares.lock()["greedy"], Taken::default());
    }

    #[tokio::test]
    async fn bodies_are_counted_as_they_come_and_forgotten_with_their_request() {
        let shares = Shares::default();
        let read = async |share: &mut Share, len: usize| {
            let body = Body::from(vec![0; len]);
            let too_large = || Refusal::malformed("too large");
            said(share.content(body, len, too_large).await)
        };
        let mut first = shares.take("m").unwrap();
        assert_eq!(read(&mut first, BODY_BYTES_MAX - 1).await, "well");
        let mut second = shares.take("m").unwrap();
        let refused = read(&mut second, 2).await;
        assert!(refused.contains("33554432 bytes on their way"), "{refused}");
        assert_eq!(read(&mut second, 1).await, "well");
        drop(first);
        assert_eq!(shares.lock()["m"].body_bytes, 1);
        assert_eq!(read(&mut second, 1_000).await, "well");
    }

    #[tokio::test]
    async fn a_body_is_the_same_in_however_many_pieces_it_comes() {
        for pieces in [vec![], vec!["one"], vec!["", "one"], vec!["o", "n", "e"]] {
            let whole = pieces.concat();
            let stream = futures_util::stream::iter(pieces.into_iter().map(Ok::<_, String>));
            let mut share = Shares::default().take("m").unwrap();
            let read = share.content(Body::from_stream(stream), 3, || Refusal::malformed("no"));
            assert_eq!(read.await.unwrap(), whole);
        }
        let mut share = Shares::default().take("m").unwrap();
        let body = Body::from("four");
        let read = share.content(body, 3, || Refusal::malformed("too large"));
        assert!(said(read.await).contains("too large"));
    }
}
