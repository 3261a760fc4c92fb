//! A connection to the first machine on the way to the provider, which remembers whether that is a proxy that takes whole
//! requests: to such a one, hyper writes the provider's whole address.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::MaybeHttpsStream;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

type First = MaybeHttpsStream<TokioIo<TcpStream>>;

pub(super) struct Leg {
    first: First,
    forwards: bool,
}

impl Leg {
    pub(super) fn new(first: First) -> Leg {
        let forwards = false;
        Leg { first, forwards }
    }

    pub(super) fn to_forwarding_proxy(first: First) -> Leg {
        let forwards = true;
        Leg { first, forwards }
    }
}

impl Connection for Leg {
    fn connected(&self) -> Connected {
        self.first.connected().proxy(self.forwards)
    }
}

impl Read for Leg {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.first).poll_read(context, buffer)
    }
}

impl Write for Leg {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.first).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.first).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.first).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.first.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.first).poll_write_vectored(context, slices)
    }
}
