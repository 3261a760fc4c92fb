//! A socket that carries messages as frames, each with its length before it.
//!
//! Sending never waits: what the socket does not take at once is kept and written when it does. Windows bound how much
//! that is, since a body goes no further than its reader has asked for.

use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::{Buf as _, BytesMut};
use serde::Serialize;
use tokio::io::AsyncReadExt as _;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Notify;
use tokio_util::codec::{Decoder as _, LengthDelimitedCodec};
use zeroize::Zeroize as _;

/// The length goes before each frame in so many bytes, the lowest first.
const LENGTH_LEN: usize = 4;
/// A window of body and its frame are read at once.
const READ_LEN: usize = 80 * 1024;
/// A buffer that grew over this is given back once it is empty.
const KEPT_LEN: usize = 256 * 1024;
/// No windows that are kept add up to so much; an end that reads nothing and asks for more is closed.
const WAITING_LEN_MAX: usize = 64 * 1024 * 1024;

/// One end of a lane.
pub(crate) struct Lane {
    /// Until it is served.
    idle: Mutex<Option<StdUnixStream>>,
    socket: OnceLock<OwnedWriteHalf>,
    output: Mutex<Output>,
    /// There is something to write, or the lane was closed.
    pending: Notify,
    frame_len_max: usize,
    /// Bytes that went over it, either way, since that was last asked.
    moved: AtomicUsize,
}

#[derive(Default)]
struct Output {
    bytes: BytesMut,
    /// A secret is among them.
    secret: bool,
    closed: bool,
}

/// The lane is closed, or the message is longer than a frame may be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unsent;

/// Why nothing more comes from the other end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error("it sent what is no message: {0}")]
    Malformed(#[from] postcard::Error),
    #[error("it sent what is not allowed: {0}")]
    Forbidden(&'static str),
    #[error("the lane cannot be read: {0}")]
    Io(#[from] io::Error),
}

impl Lane {
    pub(crate) fn new(socket: StdUnixStream, frame_len_max: usize) -> Lane {
        Lane {
            idle: Mutex::new(Some(socket)),
            socket: OnceLock::new(),
            output: Mutex::default(),
            pending: Notify::new(),
            frame_len_max,
            moved: AtomicUsize::new(0),
        }
    }

    /// Whether this is the first call: then the caller serves it.
    pub(crate) fn claim(&self) -> Option<StdUnixStream> {
        self.idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    /// Reads and writes on the current runtime until the other end is gone. `take` is given every message, as it is framed.
    pub(crate) async fn serve(
        &self,
        socket: StdUnixStream,
        take: impl FnMut(&[u8]) -> Result<(), ReadError>,
    ) -> Result<(), ReadError> {
        socket.set_nonblocking(true)?;
        let (input, output) = UnixStream::from_std(socket)?.into_split();
        let socket = self.socket.get_or_init(|| output);
        self.pending.notify_one();
        let outcome = tokio::select! {
            read = self.read(input, take) => read,
            () = self.write(socket) => Ok(()),
        };
        self.close();
        outcome
    }

    /// Sends a message, or keeps it until the lane is served.
    pub(crate) fn send(&self, message: &impl Serialize) -> Result<(), Unsent> {
        self.queue(message, false)?;
        self.flush();
        Ok(())
    }

    /// Sends a message unless more than `waiting_max` bytes wait; whether it was sent.
    pub(crate) fn send_or_drop(&self, message: &impl Serialize, waiting_max: usize) -> bool {
        if self.output().bytes.len() > waiting_max {
            return false;
        }
        self.send(message).is_ok()
    }

    /// Puts a message to those that the next [`Lane::flush`] writes. Of one with a `secret` in it nothing stays here once it is
    /// written.
    pub(crate) fn queue(&self, message: &impl Serialize, secret: bool) -> Result<(), Unsent> {
        let mut output = self.output();
        if output.closed {
            return Err(Unsent);
        }
        let at = output.bytes.len();
        if at > WAITING_LEN_MAX {
            drop(output);
            self.close();
            return Err(Unsent);
        }
        output.secret |= secret;
        output.bytes.extend_from_slice(&[0; LENGTH_LEN]);
        let mut bytes = std::mem::take(&mut output.bytes);
        let written = postcard::to_io(message, Tail(&mut bytes)).map(drop);
        let len = bytes.len() - at - LENGTH_LEN;
        self.moved.fetch_add(len, Ordering::Relaxed);
        output.bytes = bytes;
        match (written, u32::try_from(len)) {
            (Ok(()), Ok(len_u32)) if len <= self.frame_len_max => {
                output.bytes[at..at + LENGTH_LEN].copy_from_slice(&len_u32.to_le_bytes());
                Ok(())
            }
            _ => {
                output.bytes[at..].zeroize();
                output.bytes.truncate(at);
                Err(Unsent)
            }
        }
    }

    /// Writes what was queued, as far as the socket takes it at once.
    pub(crate) fn flush(&self) {
        let Some(socket) = self.socket.get() else {
            return;
        };
        let mut output = self.output();
        if output.write_to(socket).is_err() || !output.bytes.is_empty() {
            drop(output);
            self.pending.notify_one();
        }
    }

    /// Whether something has come that nobody has read yet.
    pub(crate) fn has_unread(&self) -> bool {
        use nix::sys::socket::{MsgFlags, recv};
        self.socket.get().is_some_and(|socket| {
            let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
            recv(socket.as_ref().as_raw_fd(), &mut [0], flags).is_ok_and(|len| len > 0)
        })
    }

    /// Bytes that went over it, either way; if they are `least` or more, counted anew from here on.
    pub(crate) fn take_moved(&self, least: usize) -> bool {
        self.moved.load(Ordering::Relaxed) >= least
            && self.moved.swap(0, Ordering::Relaxed) >= least
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.output().closed
    }

    /// Nothing is sent from here on.
    pub(crate) fn close(&self) {
        let mut output = self.output();
        output.closed = true;
        output.wipe();
        drop(output);
        self.pending.notify_one();
    }

    /// Until the lane is closed. What cannot be written is for an end that is gone, of which there may be something to read.
    async fn write(&self, socket: &OwnedWriteHalf) {
        if self.try_write(socket).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    async fn try_write(&self, socket: &OwnedWriteHalf) -> io::Result<()> {
        loop {
            self.pending.notified().await;
            loop {
                {
                    let mut output = self.output();
                    if output.closed {
                        return Ok(());
                    }
                    if output.bytes.is_empty() {
                        break;
                    }
                    output.write_to(socket)?;
                    if output.bytes.is_empty() {
                        break;
                    }
                }
                socket.writable().await?;
            }
        }
    }

    async fn read(
        &self,
        mut socket: OwnedReadHalf,
        mut take: impl FnMut(&[u8]) -> Result<(), ReadError>,
    ) -> Result<(), ReadError> {
        let mut codec = LengthDelimitedCodec::builder()
            .little_endian()
            .length_field_length(LENGTH_LEN)
            .max_frame_length(self.frame_len_max)
            .new_codec();
        let mut input = BytesMut::with_capacity(READ_LEN);
        let mut read_in_row = 0;
        loop {
            // Not `try_read_buf`, which asks once more after a read that did not fill the buffer.
            let read_len = match socket.read_buf(&mut input).await {
                Ok(0) => return Ok(()),
                Ok(read_len) => read_len,
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            while let Some(frame) = codec.decode(&mut input)? {
                take(&frame)?;
            }
            // Whoever says so much at once is not alone on this thread.
            self.moved.fetch_add(read_len, Ordering::Relaxed);
            read_in_row += read_len;
            if read_in_row >= READ_LEN / 2 {
                read_in_row = 0;
                tokio::task::yield_now().await;
            }
            if input.is_empty() && input.capacity() > KEPT_LEN {
                input = BytesMut::new();
            }
            input.reserve(READ_LEN);
        }
    }

    fn output(&self) -> MutexGuard<'_, Output> {
        self.output.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Output {
    /// As much as the socket takes at once. An error is the other end's going, which its reader notices.
    fn write_to(&mut self, socket: &OwnedWriteHalf) -> io::Result<()> {
        while !self.bytes.is_empty() {
            match socket.try_write(&self.bytes) {
                Ok(written) => {
                    if self.secret {
                        self.bytes[..written].zeroize();
                    }
                    self.bytes.advance(written);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        self.secret = false;
        if self.bytes.capacity() > KEPT_LEN {
            self.bytes = BytesMut::new();
        } else {
            // All of its room again.
            self.bytes.clear();
        }
        Ok(())
    }

    fn wipe(&mut self) {
        if self.secret {
            self.bytes.zeroize();
        }
        self.bytes = BytesMut::new();
    }
}

/// Appends to a buffer.
struct Tail<'a>(&'a mut BytesMut);

impl io::Write for Tail<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::sync::Arc;

    use super::*;

    const FRAME_LEN_MAX: usize = 1024;

    fn pair() -> (Lane, StdUnixStream) {
        let (socket, other) = StdUnixStream::pair().unwrap();
        (Lane::new(socket, FRAME_LEN_MAX), other)
    }

    fn block_on<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
            .block_on(work)
    }

    #[test]
    fn messages_come_as_they_were_sent_also_before_the_lane_is_served() {
        let (ours, other) = pair();
        let theirs = Arc::new(Lane::new(other, FRAME_LEN_MAX));
        let sent: Vec<String> = (0..200).map(|number| "x".repeat(number)).collect();
        for message in &sent {
            ours.send(message).unwrap();
        }
        let mut came: Vec<String> = Vec::new();
        block_on(async {
            let (our_socket, their_socket) = (ours.claim().unwrap(), theirs.claim().unwrap());
            let reading = theirs.serve(their_socket, |frame| {
                came.push(postcard::from_bytes(frame)?);
                if came.len() == sent.len() {
                    return Err(ReadError::Forbidden("all there is"));
                }
                Ok(())
            });
            tokio::select! {
                read = reading => assert!(matches!(read, Err(ReadError::Forbidden(_)))),
                _ = ours.serve(our_socket, |_| Ok(())) => unreachable!("nothing comes back"),
            }
        });
        assert_eq!(came, sent);
        assert!(ours.claim().is_none());
    }

    #[test]
    fn what_does_not_fit_into_a_frame_is_not_sent_and_what_comes_after_is() {
        let (lane, mut other) = pair();
        lane.send(&"before").unwrap();
        assert_eq!(lane.send(&"x".repeat(FRAME_LEN_MAX)), Err(Unsent));
        lane.send(&"after").unwrap();
        block_on(async {
            let socket = lane.claim().unwrap();
            let served = lane.serve(socket, |_| Ok(()));
            let timeout = std::time::Duration::from_millis(100);
            let _still_open = tokio::time::timeout(timeout, served).await;
        });
        let mut came = [0; 4 + 7 + 4 + 6];
        other.read_exact(&mut came).unwrap();
        assert_eq!(&came, b"\x07\0\0\0\x06before\x06\0\0\0\x05after");
    }

    #[test]
    fn what_is_no_message_or_too_long_ends_the_lane() {
        for (bytes, expect) in [
            (&b"\x02\0\0\0\x05x"[..], "it sent what is no message"),
            (&b"\xff\xff\xff\xff"[..], "the lane cannot be read"),
        ] {
            let (lane, mut other) = pair();
            other.write_all(bytes).unwrap();
            let error = block_on(async {
                let socket = lane.claim().unwrap();
                let take = |frame: &[u8]| {
                    postcard::from_bytes::<String>(frame)?;
                    Ok(())
                };
                lane.serve(socket, take).await.unwrap_err()
            });
            assert!(error.to_string().starts_with(expect), "{error}");
            assert_eq!(lane.send(&"more"), Err(Unsent));
        }
    }

    #[test]
    fn a_secret_that_was_not_written_is_wiped_with_the_lane() {
        let (lane, _other) = pair();
        lane.queue(&"a key", true).unwrap();
        assert!(lane.output().secret);
        lane.close();
        assert!(lane.output().bytes.is_empty());
        assert_eq!(lane.queue(&"another", true), Err(Unsent));
    }

    #[test]
    fn droppable_messages_are_dropped_while_too_much_waits() {
        let (lane, _other) = pair();
        assert!(lane.send_or_drop(&"one", 4));
        assert!(!lane.send_or_drop(&"two", 4));
    }
}
