use super::*;

const LEN_MAX: usize = 1000;

fn offered(protocols: &[&'static str]) -> Socket {
    let protocols = protocols.iter().copied().map(HeaderValue::from_static);
    Socket::offered(protocols.collect(), LEN_MAX)
}

fn open() -> Socket {
    let mut socket = offered(&[]);
    assert_eq!(socket.accept(None, HeaderMap::new(), 0), Done::Yes);
    socket
}

fn text(text: &'static str) -> Message {
    Message {
        kind: Kind::Text,
        bytes: Bytes::from_static(text.as_bytes()),
    }
}

#[test]
fn only_an_offered_protocol_is_accepted() {
    for (protocol, expect) in [
        (None, Done::Yes),
        (Some("a.v1"), Done::Yes),
        (Some("b"), Done::Yes),
        (Some("c"), Done::Yes),
        (Some("B"), Done::Invalid),
        (Some("a"), Done::Invalid),
        (Some(""), Done::Invalid),
        (Some("a.v1, b"), Done::Invalid),
    ] {
        let mut socket = offered(&["a.v1, b", "c"]);
        let done = socket.accept(protocol.map(str::as_bytes), HeaderMap::new(), 0);
        assert_eq!(done, expect, "{protocol:?}");
        let accepted = socket.take_accepted();
        assert_eq!(accepted.is_some(), expect == Done::Yes);
        let named = accepted.and_then(|accepted| accepted.protocol);
        assert_eq!(
            named.as_ref().map(HeaderValue::as_bytes),
            protocol.filter(|_| expect == Done::Yes).map(str::as_bytes)
        );
    }
}

#[test]
fn a_module_may_only_lower_the_limit_of_what_it_receives() {
    for (asked, expect) in [
        (0, LEN_MAX),
        (10, 10),
        (LEN_MAX, LEN_MAX),
        (LEN_MAX + 1, LEN_MAX),
    ] {
        let mut socket = offered(&[]);
        socket.accept(None, HeaderMap::new(), asked);
        assert_eq!(socket.take_accepted().unwrap().message_len_max, expect);
        assert_eq!(socket.send(Kind::Binary, &[0; LEN_MAX]), Done::Yes);
        assert_eq!(socket.send(Kind::Binary, &[0; LEN_MAX + 1]), Done::TooLarge);
    }
}

#[test]
fn nothing_goes_before_the_handshake_is_taken_and_that_once() {
    let mut socket = offered(&[]);
    assert_eq!(socket.receive(LEN_MAX), None);
    assert_eq!(socket.send(Kind::Text, b"early"), Done::Invalid);
    assert_eq!(socket.close(Close::new(1000, "")), Done::Invalid);
    assert_eq!(socket.accept(None, HeaderMap::new(), 0), Done::Yes);
    assert_eq!(socket.accept(None, HeaderMap::new(), 0), Done::Invalid);
}

#[test]
fn a_module_that_waits_is_polled_for_a_message_and_no_other() {
    let mut socket = open();
    assert!(!socket.deliver(text("unasked")));
    assert_eq!(socket.receive(3), Some(Received::TooSmall(7)));
    assert_eq!(socket.receive(7), Some(Received::Message(text("unasked"))));
    assert_eq!(socket.receive(7), Some(Received::Nothing));
    assert!(socket.deliver(text("")));
    assert!(!socket.deliver(text("more")));
    assert_eq!(socket.receive(0), Some(Received::Message(text(""))));
}

#[test]
fn the_inbound_window_is_bounded_in_messages_and_bytes() {
    let mut socket = open();
    let mut count = 0;
    while socket.has_room() {
        let _ = socket.deliver(text(""));
        count += 1;
    }
    assert_eq!(count, INBOUND_MESSAGES_MAX);
    assert_eq!(socket.receive(0), Some(Received::Message(text(""))));
    assert!(socket.has_room());

    let mut socket = open();
    let _ = socket.deliver(Message {
        kind: Kind::Binary,
        bytes: Bytes::from(vec![0; INBOUND_WINDOW_LEN]),
    });
    assert!(!socket.has_room());
    assert!(matches!(
        socket.receive(INBOUND_WINDOW_LEN),
        Some(Received::Message(_))
    ));
    assert!(socket.has_room());
}

#[test]
fn a_module_that_was_told_to_stop_is_polled_once_when_all_has_gone() {
    let mut socket = open();
    let mut count = 0;
    while socket.send(Kind::Text, b"x") == Done::Yes {
        count += 1;
    }
    assert_eq!(count, OUTBOUND_MESSAGES_MAX);
    assert_eq!(socket.send(Kind::Text, b"x"), Done::Full);
    for _ in 0..count {
        assert!(!socket.take_writable());
        assert_eq!(socket.take_outbound(), Some(text("x")));
    }
    assert_eq!(socket.take_outbound(), None);
    assert!(socket.take_writable());
    assert!(!socket.take_writable());
    assert_eq!(socket.send(Kind::Text, b"x"), Done::Yes);
}

#[test]
fn text_is_utf8() {
    let mut socket = open();
    assert_eq!(socket.send(Kind::Text, b"\xff"), Done::Invalid);
    assert_eq!(socket.send(Kind::Binary, b"\xff"), Done::Yes);
    assert_eq!(socket.send(Kind::Text, "ä".as_bytes()), Done::Yes);
}

#[test]
fn closing_lets_out_what_was_sent_before_and_nothing_after() {
    let mut socket = open();
    assert_eq!(socket.send(Kind::Text, b"last"), Done::Yes);
    assert_eq!(socket.close(Close::new(4000, "enough")), Done::Yes);
    assert_eq!(socket.send(Kind::Text, b"late"), Done::Gone);
    assert_eq!(socket.close(Close::new(1000, "")), Done::Gone);
    assert_eq!(socket.closing(), Some(&Close::new(4000, "enough")));
    assert_eq!(socket.take_outbound(), Some(text("last")));
    assert_eq!(socket.take_outbound(), None);
}

#[test]
fn the_end_comes_behind_the_last_message_and_stays() {
    let mut socket = open();
    let _ = socket.deliver(text("last"));
    assert!(!socket.end(Close::new(1001, "away")));
    assert!(!socket.end(Close::new(1006, "")));
    assert_eq!(socket.send(Kind::Text, b"late"), Done::Gone);
    assert_eq!(socket.receive(9), Some(Received::Message(text("last"))));
    for _ in 0..2 {
        let end = Close::new(1001, "away");
        assert_eq!(socket.receive(9), Some(Received::End(&end)));
    }

    let mut waiting = open();
    assert_eq!(waiting.receive(9), Some(Received::Nothing));
    assert!(waiting.end(Close::new(1001, "away")));
}

#[test]
fn only_codes_that_the_protocol_allows_are_sent() {
    for (code, allowed) in [
        (0, false),
        (999, false),
        (1000, true),
        (1003, true),
        (1004, false),
        (1005, false),
        (1006, false),
        (1007, true),
        (1013, true),
        (1014, false),
        (1015, false),
        (2999, false),
        (3000, true),
        (4999, true),
        (5000, false),
        (u16::MAX, false),
    ] {
        let done = open().close(Close::new(code, ""));
        assert_eq!(done == Done::Yes, allowed, "{code}: {done:?}");
    }
    let long = Close {
        code: 1000,
        reason: "x".repeat(REASON_LEN_MAX + 1).into(),
    };
    assert_eq!(open().close(long), Done::Invalid);
    let cut = Close::because(1000, "ä".repeat(REASON_LEN_MAX));
    assert_eq!(cut.reason.len(), REASON_LEN_MAX - 1);
}
