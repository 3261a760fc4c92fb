//! Ctrl-C as something that can be awaited.
//!
//! While this lives SIGINT does not end the program: whoever runs work that a person may want to stop runs it
//! [`Interrupts::stops`]. At a prompt in raw mode Ctrl-C is a character, and no signal comes.

use std::future::pending;
use std::io::{self, Read};
use std::os::unix::net::UnixStream as StdUnixStream;

use signal_hook::consts::SIGINT;
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;

pub(crate) struct Interrupts {
    stream: UnixStream,
    /// The same socket, read without asking the runtime, which may not have seen yet that there is something.
    past: StdUnixStream,
}

impl Interrupts {
    /// From now on SIGINT is an event. Must be called in the runtime.
    pub(crate) fn listen() -> io::Result<Interrupts> {
        let (interrupts, sender) = Interrupts::pair()?;
        // The handler writes one byte; what it cannot write for a full socket would change nothing.
        signal_hook::low_level::pipe::register(SIGINT, sender)?;
        Ok(interrupts)
    }

    /// An end to await, and one on which each byte is an interrupt.
    fn pair() -> io::Result<(Interrupts, StdUnixStream)> {
        let (receiver, sender) = StdUnixStream::pair()?;
        receiver.set_nonblocking(true)?;
        let past = receiver.try_clone()?;
        let stream = UnixStream::from_std(receiver)?;
        Ok((Interrupts { stream, past }, sender))
    }

    /// Runs the work to its end, or drops it at an interrupt and returns nothing. Interrupts from before do not count.
    pub(crate) async fn stops<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        self.forget_past();
        tokio::select! {
            biased; // a person who says stop is heard before the next event of a fast stream
            // Cancel-safe: a byte that is not read stays in the socket, and is forgotten at the next work's start.
            () = self.next() => None,
            done = work => Some(done),
        }
    }

    async fn next(&mut self) {
        match self.stream.read_u8().await {
            Ok(_) => {}
            // The sender lives as long as the handler does; without it there is nothing to wait for.
            Err(_) => pending().await,
        }
    }

    fn forget_past(&mut self) {
        let mut bytes = [0; 64];
        while matches!(self.past.read(&mut bytes), Ok(1..)) {}
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::Write;

    use super::*;

    /// Interrupts that come when the test writes a byte.
    pub(crate) fn pair() -> (Interrupts, StdUnixStream) {
        Interrupts::pair().expect("sockets")
    }

    #[tokio::test(flavor = "current_thread")]
    async fn an_interrupt_drops_the_work() {
        struct Dropped<'a>(&'a mut bool);
        impl Drop for Dropped<'_> {
            fn drop(&mut self) {
                *self.0 = true;
            }
        }
        let (mut interrupts, mut sender) = pair();
        let mut was_dropped = false;
        let guard = Dropped(&mut was_dropped);
        let done = interrupts
            .stops(async move {
                let _guard = guard;
                sender.write_all(b"x").unwrap();
                pending::<()>().await;
            })
            .await;
        assert_eq!(done, None);
        assert!(was_dropped);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn an_interrupt_from_before_does_not() {
        let (mut interrupts, mut sender) = pair();
        sender.write_all(b"xx").unwrap();
        let done = interrupts
            .stops(async {
                tokio::task::yield_now().await;
                7
            })
            .await;
        assert_eq!(done, Some(7));
        drop(sender);
        assert_eq!(interrupts.stops(async { 8 }).await, Some(8));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn the_signal_is_an_interrupt() {
        let mut interrupts = Interrupts::listen().unwrap();
        let done = interrupts
            .stops(async {
                signal_hook::low_level::raise(SIGINT).unwrap();
                pending::<()>().await;
            })
            .await;
        assert_eq!(done, None);
    }
}
