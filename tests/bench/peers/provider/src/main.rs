//! A model behind the Responses API, as fast as a stream can be: bench-provider DELTAS [PAUSE_MS]. Prints the port it listens on.
//!
//! Each delta is a chunk of its own, and other streams have their turn before the next one, as with a model. With a pause it
//! speaks as slowly as one.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::Response;
use hyper::body::{Frame, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut number = || arguments.next().and_then(|text| text.parse::<u32>().ok());
    let deltas = number().expect("how many deltas an answer has is the first argument");
    let pause = Duration::from_millis(number().unwrap_or(0).into());
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?.port());
    loop {
        let (connection, _) = listener.accept().await?;
        connection.set_nodelay(true)?;
        tokio::spawn(async move {
            let service = service_fn(|request: hyper::Request<Incoming>| async move {
                // Read to its end, so that the connection can be used again.
                let _ = request.into_body().collect().await;
                Ok::<_, Infallible>(answer(deltas, pause))
            });
            let connection =
                http1::Builder::new().serve_connection(TokioIo::new(connection), service);
            // The client may leave at any time.
            let _ = connection.await;
        });
    }
}

fn answer(
    deltas: u32,
    pause: Duration,
) -> Response<impl hyper::body::Body<Data = Bytes, Error = Infallible>> {
    let events = stream::iter(0..deltas + 2).then(move |number| async move {
        match pause.is_zero() {
            true => tokio::task::yield_now().await,
            false => tokio::time::sleep(pause).await,
        }
        Ok(Frame::data(event(number, deltas)))
    });
    let mut response = Response::new(StreamBody::new(events));
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/event-stream; charset=utf-8"),
    );
    response
}

/// The first, the deltas, and the last.
fn event(number: u32, deltas: u32) -> Bytes {
    const RESPONSE: &str = r#""id":"resp_1","object":"response","created_at":1,"model":"bench","output":[],"parallel_tool_calls":true,"tool_choice":"auto","tools":[]"#;
    let (name, members) = match number {
        0 => (
            "response.created",
            format!(r#""response":{{{RESPONSE},"status":"in_progress"}}"#),
        ),
        last if last > deltas => (
            "response.completed",
            format!(
                r#""response":{{{RESPONSE},"status":"completed","usage":{{"input_tokens":9,"input_tokens_details":{{"cached_tokens":0}},"output_tokens":{deltas},"output_tokens_details":{{"reasoning_tokens":0}},"total_tokens":{}}}}}"#,
                deltas + 9
            ),
        ),
        delta => (
            "response.output_text.delta",
            format!(
                r#""item_id":"msg_1","output_index":0,"content_index":0,"delta":"token {delta} ","logprobs":[]"#
            ),
        ),
    };
    format!(
        "event: {name}\ndata: {{\"type\":\"{name}\",\"sequence_number\":{number},{members}}}\n\n"
    )
    .into()
}
