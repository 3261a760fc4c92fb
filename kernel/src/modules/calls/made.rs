//! The calls that a generation has under way, and how it hears of those that belong to none of its requests.
//!
//! It is told by a byte in a pipe whose other end the module reads: no code of the module's runs for that, so that there is
//! nothing to hold it in memory for.

use std::collections::HashSet;
use std::io::{PipeReader, PipeWriter, Write as _};
use std::sync::{Mutex, MutexGuard, PoisonError};

use midplane_abi as abi;
use nix::fcntl::{FcntlArg, OFlag, fcntl};

use super::{CALLS_MAX, open};

#[derive(Default)]
pub(crate) struct Made(Mutex<State>);

#[derive(Default)]
struct State {
    open: HashSet<u64>,
    /// The generation is over: it makes no more.
    over: bool,
    /// Calls to be looked at.
    news: Vec<u64>,
    /// A byte is on its way, or the module is about to ask.
    told: bool,
    pipe: Option<PipeWriter>,
}

impl Made {
    /// False when there are as many as there may be, or the generation is over.
    pub(super) fn add(&self, call: u64) -> bool {
        let mut state = self.lock();
        !state.over && state.open.len() < CALLS_MAX && state.open.insert(call)
    }

    pub(super) fn remove(&self, call: u64) {
        self.lock().open.remove(&call);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.lock().over
    }

    /// The end that the module reads; `None` when it has it already.
    pub(crate) fn listen(&self) -> std::io::Result<Option<PipeReader>> {
        let mut state = self.lock();
        if state.pipe.is_some() || state.over {
            return Ok(None);
        }
        let (reader, writer) = std::io::pipe()?;
        // A module that asks for news and does not read would fill it.
        fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        state.pipe = Some(writer);
        if !state.news.is_empty() {
            state.write();
        }
        Ok(Some(reader))
    }

    /// The module should look at this call.
    pub(super) fn tell(&self, call: u64) {
        let mut state = self.lock();
        // It may have been forgotten meanwhile.
        if !state.open.contains(&call) {
            return;
        }
        state.news.push(call);
        if !state.told {
            state.write();
        }
    }

    /// Up to `count` calls to be looked at.
    pub(crate) fn take_news(&self, count: usize) -> Vec<abi::Call> {
        let mut state = self.lock();
        let count = count.min(state.news.len());
        let news = state.news.drain(..count).map(abi::Call).collect();
        state.told = !state.news.is_empty();
        news
    }

    /// Cancels all calls: the generation is over.
    pub(crate) fn end(&self) {
        let open = {
            let mut state = self.lock();
            state.over = true;
            state.pipe = None;
            std::mem::take(&mut state.open)
        };
        for call in open {
            if let Some(call) = open::find(abi::Call(call)) {
                call.forget();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn write(&mut self) {
        let Some(pipe) = &mut self.pipe else { return };
        self.told = true;
        // A module that has closed its end is not told.
        let _ = pipe.write(&[1]);
    }
}
