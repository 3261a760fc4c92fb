//! The client leaves: whatever the module had under way for it is dropped.

use std::sync::atomic::Ordering;

use super::wire::{Exchange, Upload};
use super::{counted, eventually, expect_well, faults, module};

#[tokio::test]
async fn before_the_head_and_in_the_middle_of_a_stream() {
    let (kernel, token) = faults("").await;
    let request = kernel.get("/api/faults/wait").bearer(&token);
    let waiting = tokio::spawn(request.stream());
    counted(&kernel, &token, "began to wait", 1).await;
    waiting.abort();
    counted(&kernel, &token, "waiting", 1).await;

    let mut stream = kernel
        .get("/api/faults/lines")
        .bearer(&token)
        .stream()
        .await;
    stream.read_until("one\n").await;
    drop(stream);
    counted(&kernel, &token, "open stream", 1).await;
    eventually(&kernel, "the end of both", async || {
        let module = module(&kernel).await;
        (module["in_flight_requests"] == 0 && module["requests"]["cancelled"] == 2).then_some(())
    })
    .await;
    expect_well(&kernel, &token).await;
}

#[tokio::test]
async fn in_the_middle_of_an_upload() {
    let (kernel, token) = faults("").await;
    let upload = Upload::new(1000).hanging();
    let taken = upload.taken();
    let exchange = Exchange::start(&kernel, "/api/faults/count", &token, upload).await;
    eventually(&kernel, "the upload", async || {
        (taken.load(Ordering::Relaxed) == 1000 && module(&kernel).await["in_flight_requests"] == 1)
            .then_some(())
    })
    .await;
    drop(exchange);
    eventually(&kernel, "the end of the request", async || {
        (module(&kernel).await["in_flight_requests"] == 0).then_some(())
    })
    .await;
    expect_well(&kernel, &token).await;
}
