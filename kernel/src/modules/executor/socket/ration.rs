//! What one turn may read of a connection, so that a client's flood of tiny frames does not keep its worker from others.
//!
//! tungstenite reads on until a message is whole, and an empty fragment of six bytes makes none: the bound has to be below it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Two or three thousand of the smallest frames, which take a fraction of a millisecond. A turn costs a few microseconds, so that
/// large messages are hardly slower for it.
const TURN_LEN: usize = 16 * 1024;

/// A connection that lets others have their turn.
pub(super) struct Rationed<T> {
    io: T,
    left: usize,
}

impl<T> Rationed<T> {
    pub(super) fn new(io: T) -> Rationed<T> {
        Rationed { io, left: TURN_LEN }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Rationed<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.left == 0 {
            self.left = TURN_LEN;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let outcome = Pin::new(&mut self.io).poll_read(cx, buffer);
        if outcome.is_pending() {
            // The turn ends here.
            self.left = TURN_LEN;
        }
        ready!(outcome)?;
        let read = buffer.filled().len() - before;
        self.left = self.left.saturating_sub(read);
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Rationed<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    #[test]
    fn one_turn_reads_so_much_and_the_next_goes_on() {
        let flood = vec![0; TURN_LEN * 2 + 10];
        let mut rationed = Rationed::new(&flood[..]);
        let mut cx = Context::from_waker(Waker::noop());
        let mut turns = Vec::new();
        let mut read = 0;
        loop {
            let mut bytes = [0; 4096];
            let mut buffer = ReadBuf::new(&mut bytes);
            match Pin::new(&mut rationed).poll_read(&mut cx, &mut buffer) {
                Poll::Pending => turns.push(std::mem::take(&mut read)),
                Poll::Ready(Ok(())) if buffer.filled().is_empty() => break,
                Poll::Ready(outcome) => {
                    outcome.unwrap();
                    read += buffer.filled().len();
                }
            }
        }
        assert_eq!(turns, [TURN_LEN, TURN_LEN]);
        assert_eq!(read, 10);
    }
}
