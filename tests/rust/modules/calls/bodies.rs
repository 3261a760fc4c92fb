//! Bodies, both ways: large ones, endless ones, and those that nobody reads.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{each, in_time};

/// Over the window, each way.
const LARGE: usize = 5 * 1024 * 1024;
/// As much of a body as may be on its way: a window for each crossing, and what each side reads ahead.
const ON_ITS_WAY_MAX: u64 = 1024 * 1024;

#[tokio::test]
async fn a_body_comes_back_as_it_was_sent() {
    for calls in each("", "").await {
        let body: Vec<u8> = (0..LARGE).map(|at| (at % 251) as u8).collect();
        for len in [0, 1, 64 * 1024, 64 * 1024 + 1, 900_000] {
            for from in ["session", "background"] {
                let request = calls.request("POST", &format!("/call/in/echo?from={from}"));
                let answer = request.body(body[..len].to_vec()).send().await;
                assert!(
                    answer.expect_status(200).body == body[..len],
                    "{len} bytes from {from}: {} came",
                    answer.body.len()
                );
            }
        }
    }
}

#[tokio::test]
async fn a_large_body_goes_through_a_window() {
    for calls in each("", "").await {
        let chunks = LARGE / (16 * 1024);
        let count = calls.get(&format!("/upload?to=/in/count&chunks={chunks}"));
        assert_eq!(
            count.send().await.expect_status(200).text(),
            LARGE.to_string()
        );
        let stream = calls.call(&format!("stream?n={chunks}")).await;
        assert_eq!(stream.expect_status(200).body.len(), LARGE);
        assert!(stream.body.iter().all(|byte| *byte == b'y'));
    }
}

#[tokio::test]
async fn a_body_that_is_not_read_is_not_made() {
    for calls in each("", "").await {
        let chunks = LARGE / (16 * 1024);
        let upload = calls.get(&format!("/upload?to=/in/hold&chunks={chunks}"));
        let upload = tokio::spawn(upload.send());
        calls.counted("waiting", 1).await;
        let produced = async || {
            let produced = calls.get("/produced").send().await;
            produced.expect_status(200).text().parse::<u64>().unwrap()
        };
        // Until the windows are full, and no further.
        let last = AtomicU64::new(0);
        let settled = crate::harness::eventually("a full window", async || {
            let now = produced().await;
            let settled = now > 0 && now == last.swap(now, Ordering::Relaxed);
            settled.then_some(now)
        });
        let settled = settled.await;
        assert!(settled <= ON_ITS_WAY_MAX, "{settled}: {}", calls.isolations);
        calls.release().await;
        let answer = in_time("the upload", upload).await.unwrap();
        assert_eq!(answer.expect_status(200).text(), LARGE.to_string());
        assert_eq!(produced().await, LARGE as u64);
    }
}

#[tokio::test]
async fn an_answer_that_is_not_read_is_not_made() {
    for calls in each("", "").await {
        // More than the sockets on the way hold.
        let mut stream = calls.get("/call/in/stream?n=4096").stream().await;
        stream.next().await.unwrap().unwrap();
        let last = AtomicU64::new(0);
        let settled = crate::harness::eventually("a full window", async || {
            let now = calls.count("streamed").await;
            let settled = now > 0 && now == last.swap(now, Ordering::Relaxed);
            settled.then_some(now)
        });
        let settled = settled.await;
        assert!(
            settled < 16 * 1024 * 1024,
            "{settled}: {}",
            calls.isolations
        );
        let (rest, whole) = stream.rest().await;
        assert!(whole && rest.len() as u64 > settled);
        assert_eq!(calls.count("streamed").await, 4096 * 16 * 1024);
    }
}

#[tokio::test]
async fn events_come_one_by_one() {
    for calls in each("", "").await {
        for from in ["session", "nobody", "background"] {
            let path = format!("/call/in/events?from={from}");
            let mut events = calls.get(&path).stream().await;
            assert_eq!(events.parts.headers["content-type"], "text/event-stream");
            assert_eq!(events.read_until("\n\n").await, "data: first\n\n");
            calls.release().await;
            assert_eq!(events.rest().await, ("data: last\n\n".to_owned(), true));
        }
    }
}

#[tokio::test]
async fn an_answer_may_come_before_the_body_is_read() {
    for calls in each("", "").await {
        let upload = calls.get("/upload?to=/in/ignore&chunks=1000").send().await;
        assert_eq!(upload.expect_status(200).text(), "ignored");
        calls.expect_well().await;
    }
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused() {
    for calls in each("", "").await {
        // The callee takes 64 MiB.
        let answer = calls.get("/upload?to=/in/count&chunks=5000").send().await;
        let text = answer.text();
        assert!(
            answer.status() == 413 || text.contains("larger than the kernel allows"),
            "{answer}"
        );
        calls.expect_well().await;
    }
}
