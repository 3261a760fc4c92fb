//! Other services, the kernel's first of all.

use std::net::TcpStream;
use std::os::unix::net::{UnixDatagram, UnixStream};

use axum::Router;
use axum::extract::Query;
use axum::routing::get;
use serde::Deserialize;

use crate::outcome::{Outcome, ended, tried};

#[derive(Deserialize)]
struct Service {
    #[serde(default)]
    name: String,
    #[serde(default)]
    port: u16,
}

pub(crate) fn routes() -> Router {
    let routes = Router::new()
        .route(
            "/connect-pair",
            get(async |Query(service): Query<Service>| {
                ended(UnixDatagram::pair().and_then(|(near, _)| near.connect(&service.name)))
            }),
        )
        .route(
            "/connect-tcp",
            get(async |Query(service): Query<Service>| {
                ended(TcpStream::connect(("127.0.0.1", service.port)).map(drop))
            }),
        )
        .route("/pair", get(async || ended(UnixStream::pair().map(drop))))
        .route(
            "/forge-packets",
            get(async || socket(libc::AF_INET, libc::SOCK_RAW)),
        );
    #[cfg(target_os = "linux")]
    let routes = routes
        .route("/connect-abstract", get(connect_abstract))
        .route(
            "/see-packets",
            get(async || socket(libc::AF_PACKET, libc::SOCK_DGRAM)),
        )
        .route(
            "/netlink",
            get(async || socket(libc::AF_NETLINK, libc::SOCK_RAW)),
        );
    routes
}

pub(crate) fn connect(path: &str) -> Outcome {
    ended(UnixStream::connect(path).map(drop))
}

#[cfg(target_os = "linux")]
async fn connect_abstract(Query(service): Query<Service>) -> Outcome {
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::net::SocketAddr;

    ended(
        SocketAddr::from_abstract_name(service.name)
            .and_then(|address| UnixStream::connect_addr(&address))
            .map(drop),
    )
}

fn socket(family: libc::c_int, kind: libc::c_int) -> Outcome {
    // SAFETY: makes a descriptor, which is closed below.
    let made = unsafe { libc::socket(family, kind, 0) };
    let outcome = tried(made);
    // SAFETY: made above and owned by nobody else; on -1 it fails.
    unsafe { libc::close(made) };
    outcome
}
