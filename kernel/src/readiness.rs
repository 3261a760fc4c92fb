//! Tells the service manager how far the kernel is (sd_notify(3)).
//!
//! One datagram each; without `NOTIFY_SOCKET` nothing happens. A service manager that cannot be told is no reason to fail.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixDatagram;

/// Where to send to.
#[derive(Debug)]
pub(crate) struct Readiness {
    /// `None`: nobody asked.
    address: Option<OsString>,
}

impl Readiness {
    /// `address` is the value of `NOTIFY_SOCKET`.
    pub(crate) fn new(address: Option<OsString>) -> Readiness {
        Readiness { address }
    }

    /// The socket listens and the modules are loaded.
    pub(crate) fn notify_ready(&self) -> io::Result<()> {
        self.send("READY=1")
    }

    /// The drain has begun.
    pub(crate) fn notify_stopping(&self) -> io::Result<()> {
        self.send("STOPPING=1")
    }

    fn send(&self, state: &str) -> io::Result<()> {
        let Some(address) = &self.address else {
            return Ok(());
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        match address.as_bytes().first() {
            Some(b'/') => socket.send_to(state.as_bytes(), address)?,
            Some(b'@') => send_abstract(&socket, state, address)?,
            _ => return Err(unsupported()),
        };
        Ok(())
    }
}

#[cfg(target_os = "linux")]
fn send_abstract(socket: &UnixDatagram, state: &str, address: &OsStr) -> io::Result<usize> {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::SocketAddr;
    let address = SocketAddr::from_abstract_name(&address.as_bytes()[1..])?;
    socket.send_to_addr(state.as_bytes(), &address)
}

#[cfg(not(target_os = "linux"))]
fn send_abstract(_: &UnixDatagram, _: &str, _: &OsStr) -> io::Result<usize> {
    Err(unsupported())
}

fn unsupported() -> io::Error {
    io::Error::new(
        io::ErrorKind::Unsupported,
        "NOTIFY_SOCKET is neither a path nor an abstract name",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(socket: &UnixDatagram) -> String {
        let mut text = [0; 64];
        let length = socket.recv(&mut text).unwrap();
        String::from_utf8(text[..length].to_vec()).unwrap()
    }

    #[test]
    fn a_path_is_told() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let readiness = Readiness::new(Some(path.into()));
        readiness.notify_ready().unwrap();
        assert_eq!(received(&socket), "READY=1");
        readiness.notify_stopping().unwrap();
        assert_eq!(received(&socket), "STOPPING=1");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn an_abstract_name_is_told() {
        use std::os::linux::net::SocketAddrExt;
        let name = format!("midplane-test-{}", std::process::id());
        let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        Readiness::new(Some(format!("@{name}").into()))
            .notify_ready()
            .unwrap();
        assert_eq!(received(&socket), "READY=1");
    }

    #[test]
    fn nobody_asked_or_nobody_there() {
        Readiness::new(None).notify_ready().unwrap();
        for address in ["", "relative", "vsock:2:1", "/nonexistent/notify"] {
            assert!(
                Readiness::new(Some(address.into())).notify_ready().is_err(),
                "{address}"
            );
        }
    }
}
