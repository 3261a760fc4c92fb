//! Streams: as they come, broken, and left.

use super::*;

#[tokio::test]
async fn each_piece_is_passed_on_before_the_next_one_is_there() {
    let gateway = Gateway::start(json!({})).await;
    let begun = async {
        let mut exchange = gateway.provider.accept().await;
        exchange.begin_event_stream().await;
        exchange
    };
    let (response, mut exchange) = tokio::join!(gateway.call(ask()), begun);
    assert_eq!(
        response.headers()["content-type"],
        "text/event-stream; charset=utf-8"
    );
    let mut stream = response.into_body().into_data_stream();
    for piece in [
        "data: {\"a\":1}\n\n",
        "da",
        "ta: é\n",
        "\n",
        ": comment\n\n",
        "data: [DONE]\n\n",
    ] {
        exchange.send_chunk(piece).await;
        assert_eq!(next(&mut stream).await, piece);
    }
    exchange.end_chunks().await;
    assert!(timeout(DEADLINE, stream.next()).await.unwrap().is_none());
}

#[tokio::test]
async fn a_client_that_leaves_closes_the_provider_s_connection() {
    let gateway = Gateway::start(json!({})).await;
    // in the middle of a stream
    let begun = async {
        let mut exchange = gateway.provider.accept().await;
        exchange.begin_event_stream().await;
        exchange.send_chunk("data: 1\n\n").await;
        exchange
    };
    let (response, exchange) = tokio::join!(gateway.call(ask()), begun);
    let mut stream = response.into_body().into_data_stream();
    assert_eq!(next(&mut stream).await, "data: 1\n\n");
    drop(stream);
    exchange.closed().await;
    // before the answer has begun
    let exchange = tokio::select! {
        _ = gateway.call(ask()) => unreachable!("nothing was answered"),
        exchange = gateway.provider.accept() => exchange,
    };
    exchange.closed().await;
}

#[tokio::test]
async fn a_stream_that_breaks_off_ends_with_an_error_event_or_is_cut() {
    let gateway = Gateway::start(json!({})).await;
    for (said, is_cut) in [("data: 1\n\n", false), ("data: 1\n\ndata: {", true)] {
        let broken = async {
            let mut exchange = gateway.provider.accept().await;
            exchange.begin_event_stream().await;
            exchange.send_chunk(said).await;
        };
        let (response, ()) = tokio::join!(gateway.call(ask()), broken);
        let mut stream = response.into_body().into_data_stream();
        assert_eq!(next(&mut stream).await, said);
        match timeout(DEADLINE, stream.next()).await.unwrap() {
            Some(Ok(event)) if !is_cut => {
                let event = String::from_utf8(event.to_vec()).unwrap();
                assert!(event.starts_with("event: error\ndata: {"), "{event}");
                assert!(event.contains("provider_broke_off"), "{event}");
            }
            Some(Err(_)) if is_cut => {}
            other => panic!("{said}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_provider_that_falls_silent_is_an_error_with_the_time() {
    let provider = Scripted::start().await;
    let config = json!({"base_url": provider.base_url(), "model": "tiny", "timeout": "100ms"});
    let module = start(config).await;
    let session = || ada().secret(KEY);
    let (response, silent) = tokio::join!(call(&module, session(), ask()), provider.accept());
    let message = error_of(response, 504, "provider_timeout").await;
    assert!(message.contains("100ms"), "{message}");
    silent.closed().await;
    let begun = async {
        let mut exchange = provider.accept().await;
        exchange.begin_event_stream().await;
        exchange.send_chunk("data: 1\n\n").await;
        exchange
    };
    let (response, exchange) = tokio::join!(call(&module, session(), ask()), begun);
    let said = text(response).await;
    assert!(said.starts_with("data: 1\n\nevent: error\n"), "{said}");
    assert!(said.contains("provider_timeout"), "{said}");
    exchange.closed().await;
}
