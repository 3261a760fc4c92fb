//! Services of the user and of the system.

use super::*;

pub(super) const ATTEMPTS: &[Attempt] = &[
    (
        "connect to the kernel",
        |s| ended(UnixStream::connect(s.path("kernel.sock"))),
        Err(EPERM),
    ),
    (
        "connect to an abstract name",
        |s| ended(UnixStream::connect_addr(&s.abstract_address())),
        Err(EPERM),
    ),
    (
        "send to a service",
        |s| {
            ended(
                UnixDatagram::unbound()
                    .and_then(|socket| socket.send_to(b"x", s.path("datagrams.sock"))),
            )
        },
        Err(EPERM),
    ),
    (
        "listen on a path of its own",
        |s| ended(UnixListener::bind(s.path("own/listen"))),
        Err(EPERM),
    ),
    (
        "make a pair that can be connected",
        |s| {
            ended(
                UnixDatagram::pair()
                    .and_then(|(near, _)| near.send_to(b"x", s.path("datagrams.sock"))),
            )
        },
        Err(EPERM),
    ),
    (
        "make such a pair by another word",
        |_| {
            call(
                libc::SYS_socketpair,
                [1, 3, 0, [0i32; 2].as_mut_ptr() as i64, 0, 0],
            )
        },
        Err(EPERM),
    ),
    (
        "ask the network's kernel side",
        |_| socket(libc::AF_NETLINK, libc::SOCK_RAW),
        Err(EPERM),
    ),
    (
        "see packets",
        |_| socket(libc::AF_PACKET, libc::SOCK_DGRAM),
        Err(EPERM),
    ),
    (
        "forge packets",
        |_| socket(libc::AF_INET, libc::SOCK_RAW | libc::SOCK_CLOEXEC),
        Err(EPERM),
    ),
    (
        "use a protocol that must be loaded",
        |_| call(libc::SYS_socket, [2, 1, libc::IPPROTO_SCTP.into(), 0, 0, 0]),
        Err(EPERM),
    ),
    (
        "reach the machine's host",
        |_| socket(libc::AF_VSOCK, libc::SOCK_STREAM),
        Err(EPERM),
    ),
    (
        "use the kernel's ciphers",
        |_| socket(libc::AF_ALG, libc::SOCK_SEQPACKET),
        Err(EPERM),
    ),
];
