//! The yardstick: hyper on one thread, with constant answers and nobody asked who they are. What a server takes beyond
//! this is what it adds.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Either, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use job::Source;
use tokio::net::UnixListener;

/// A constant costs no box; what streams is boxed, as servers with more than one kind of stream do.
type Body = Either<Full<Bytes>, UnsyncBoxBody<Bytes, hyper::Error>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let listener = UnixListener::bind(job::socket())?;
    loop {
        let (stream, _address) = listener.accept().await?;
        tokio::spawn(async move {
            let service = service_fn(async |request| Ok::<_, Infallible>(answer(request)));
            let connection = http1::Builder::new()
                .pipeline_flush(true)
                .serve_connection(TokioIo::new(stream), service);
            // The client may leave at any time.
            let _ = connection.await;
        });
    }
}

fn answer(request: Request<Incoming>) -> Response<Body> {
    let target = request.uri();
    match (target.path(), target.query()) {
        ("/hello" | "/public/hello", _) => typed(
            "text/plain; charset=utf-8",
            Either::Left(Full::from(job::HELLO)),
        ),
        ("/echo", _) => Response::new(Either::Right(request.into_body().boxed_unsync())),
        ("/stream", Some(query)) => {
            let (n, from) = read(query);
            let frames = job::events(n, from).map_ok(Frame::data);
            let body = StreamBody::new(frames.map_err(|never| match never {}));
            typed(
                "text/event-stream",
                Either::Right(BodyExt::boxed_unsync(body)),
            )
        }
        _ => {
            let mut response = Response::new(Either::Left(Full::default()));
            *response.status_mut() = StatusCode::NOT_FOUND;
            response
        }
    }
}

/// `n=100&from=burst`
fn read(query: &str) -> (u32, Source) {
    let mut n = 0;
    let mut from = Source::default();
    for member in query.split('&') {
        match member.split_once('=') {
            Some(("n", value)) => n = value.parse().unwrap_or(0),
            Some(("from", "burst")) => from = Source::Burst,
            Some(("from", "task")) => from = Source::Task,
            _ => {}
        }
    }
    (n, from)
}

fn typed(content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
