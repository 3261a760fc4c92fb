//! A socket that carries messages as frames, each with its length before it.
//!
//! Sending never waits: what the socket does not take at once is kept and written when it does. Windows bound how much
//! that is, since a body goes no further than its reader has asked for.

use std::io;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::{Buf as _, BytesMut};
use serde::Serialize;
use tokio::net::UnixStream;
use tokio::sync::Notify;
use tokio_util::codec::{Decoder as _, LengthDelimitedCodec};
use zeroize::Zeroize as _;

/// The length goes before each frame in so many bytes, the lowest first.
const LENGTH_LEN: usize = 4;
/// A window of body and its frame are read at once.
const READ_LEN: usize = 80 * 1024;
/// A buffer that grew over this is given back once it is empty.
const KEPT_LEN: usize = 256 * 1024;

/// One end of a lane.
pub(crate) struct Lane {
    /// Until it is served.
    idle: Mutex<Option<StdUnixStream>>,
    socket: OnceLock<UnixStream>,
    output: Mutex<Output>,
    /// There is something to write, or the lane was closed.
    pending: Notify,
    frame_len_max: usize,
}

#[derive(Default)]
struct Output {
    bytes: BytesMut,
    /// A secret is among them.
    secret: bool,
    closed: bool,
    /// Is told no further.
    overflow: u64,
}

/// The other end is gone, or this one was closed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Closed;

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
        let socket = UnixStream::from_std(socket)?;
        let socket = self.socket.get_or_init(|| socket);
        self.pending.notify_one();
        let outcome = tokio::select! {
            read = self.read(socket, take) => read,
            write = self.write(socket) => write.map_err(ReadError::from),
        };
        self.close();
        outcome
    }

    /// Sends a message, or keeps it until the lane is served.
    pub(crate) fn send(&self, message: &impl Serialize) -> Result<(), Closed> {
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
    pub(crate) fn queue(&self, message: &impl Serialize, secret: bool) -> Result<(), Closed> {
        let mut output = self.output();
        if output.closed {
            return Err(Closed);
        }
        let at = output.bytes.len();
        output.secret |= secret;
        output.bytes.extend_from_slice(&[0; LENGTH_LEN]);
        let mut bytes = std::mem::take(&mut output.bytes);
        let written = postcard::to_io(message, Tail(&mut bytes)).map(drop);
        let len = bytes.len() - at - LENGTH_LEN;
        output.bytes = bytes;
        match (written, u32::try_from(len)) {
            (Ok(()), Ok(len_u32)) if len <= self.frame_len_max => {
                output.bytes[at..at + LENGTH_LEN].copy_from_slice(&len_u32.to_le_bytes());
                Ok(())
            }
            _ => {
                output.bytes.truncate(at);
                output.overflow += 1;
                Err(Closed)
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

    /// Nothing is sent from here on.
    pub(crate) fn close(&self) {
        let mut output = self.output();
        output.closed = true;
        output.wipe();
        drop(output);
        self.pending.notify_one();
    }

    async fn write(&self, socket: &UnixStream) -> io::Result<()> {
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
        socket: &UnixStream,
        mut take: impl FnMut(&[u8]) -> Result<(), ReadError>,
    ) -> Result<(), ReadError> {
        let mut codec = LengthDelimitedCodec::builder()
            .little_endian()
            .length_field_length(LENGTH_LEN)
            .max_frame_length(self.frame_len_max)
            .new_codec();
        let mut input = BytesMut::with_capacity(READ_LEN);
        loop {
            socket.readable().await?;
            match socket.try_read_buf(&mut input) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(()),
                Err(error) => return Err(error.into()),
            }
            while let Some(frame) = codec.decode(&mut input)? {
                take(&frame)?;
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
    fn write_to(&mut self, socket: &UnixStream) -> io::Result<()> {
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
