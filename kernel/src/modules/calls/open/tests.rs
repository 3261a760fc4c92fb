//! One call, by turns from both of its sides.

use std::sync::atomic::AtomicUsize;
use std::task::Wake;

use http::{HeaderMap, StatusCode};

use super::*;
use crate::modules::calls::{CALLS_MAX, Unfinished};

/// Counts how often it was woken.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

struct Sides {
    call: Arc<OpenCall>,
    made: Arc<Made>,
    caller: Arc<Count>,
    carrier: Arc<Count>,
}

impl Sides {
    fn new() -> Sides {
        let made = Arc::<Made>::default();
        Sides {
            call: OpenCall::start(&made, None).unwrap(),
            made,
            caller: Arc::default(),
            carrier: Arc::default(),
        }
    }

    fn waiter(&self) -> Waiter {
        Waiter::Task(Arc::clone(&self.caller).into())
    }

    fn carry<T>(&self, poll: impl FnOnce(&Context<'_>) -> T) -> T {
        poll(&Context::from_waker(&Arc::clone(&self.carrier).into()))
    }

    /// How often each side was woken.
    fn woken(&self) -> (usize, usize) {
        let count = |side: &Count| side.0.load(Ordering::Relaxed);
        (count(&self.caller), count(&self.carrier))
    }

    fn head(&self) -> Result<Option<StatusCode>, Status> {
        let look = |head: &Head| (head.status, true);
        self.call.look_at_head(self.waiter(), look)
    }

    fn read(&self, len_max: usize) -> Read {
        self.call.read(len_max, self.waiter())
    }
}

fn head() -> Head {
    Head {
        status: StatusCode::OK,
        headers: HeaderMap::new(),
    }
}

#[test]
fn a_body_goes_through_its_window() {
    let sides = Sides::new();
    let call = &sides.call;
    assert!(sides.carry(|cx| call.poll_body(cx)).is_pending());
    let window = vec![7; INPUT_WINDOW_LEN];
    assert_eq!(call.write(&window, sides.waiter()), Written::Taken);
    assert_eq!(sides.woken(), (0, 1));
    assert_eq!(call.write(b"more", sides.waiter()), Written::Full);
    let taken = sides.carry(|cx| call.poll_body(cx));
    assert_eq!(taken, Poll::Ready(Ok(Bytes::from(window))));
    assert_eq!(sides.woken(), (1, 1), "there is room again");
    assert_eq!(call.write(b"more", sides.waiter()), Written::Taken);
    call.end_body(InputEnd::Whole);
    assert_eq!(call.write(b"late", sides.waiter()), Written::Gone);
    let more = sides.carry(|cx| call.poll_body(cx));
    assert_eq!(more, Poll::Ready(Ok(Bytes::from("more"))));
    let end = sides.carry(|cx| call.poll_body(cx));
    assert_eq!(end, Poll::Ready(Err(InputEnd::Whole)));
    assert_eq!(call.lock().body_taken, INPUT_WINDOW_LEN + 4);
    assert_eq!(sides.woken(), (1, 1), "nobody was waiting");
}

#[test]
fn an_answer_goes_through_its_window() {
    let sides = Sides::new();
    let call = &sides.call;
    assert_eq!(sides.head(), Ok(None));
    call.put_head(head(), None);
    assert_eq!(sides.woken().0, 1);
    assert_eq!(sides.head(), Ok(Some(StatusCode::OK)));
    assert_eq!(sides.head(), Err(status::INVALID), "once");
    assert_eq!(sides.read(10), Read::Nothing);
    assert!(sides.carry(|cx| call.poll_room(cx)).is_ready());
    call.put_bytes(vec![1; OUTPUT_WINDOW_LEN].into());
    assert_eq!(sides.woken().0, 2);
    assert!(sides.carry(|cx| call.poll_room(cx)).is_pending());
    assert_eq!(sides.read(10), Read::Bytes(Bytes::from(vec![1; 10])));
    assert_eq!(sides.woken().1, 1);
    assert!(sides.carry(|cx| call.poll_room(cx)).is_ready());
    call.end();
    call.put_bytes(Bytes::from("after the end"));
    let rest = OUTPUT_WINDOW_LEN - 10;
    assert_eq!(sides.read(usize::MAX), Read::Bytes(vec![1; rest].into()));
    assert_eq!(sides.read(10), Read::End);
}

#[test]
fn what_fails_is_told_once_and_a_part_is_not_the_whole() {
    let sides = Sides::new();
    assert_eq!(sides.head(), Ok(None));
    sides.call.fail(status::NOT_LOADED);
    assert_eq!(sides.woken().0, 1);
    sides.call.fail(status::GONE);
    sides.call.put_head(head(), None);
    assert_eq!(sides.head(), Err(status::NOT_LOADED));
    assert_eq!(sides.read(10), Read::Cut);

    let sides = Sides::new();
    sides.call.put_head(head(), None);
    sides.call.put_bytes(Bytes::from("part"));
    drop(Unfinished(Arc::clone(&sides.call)));
    assert_eq!(sides.head(), Ok(Some(StatusCode::OK)));
    assert_eq!(sides.read(10), Read::Bytes(Bytes::from("part")));
    assert_eq!(sides.read(10), Read::Cut);

    let sides = Sides::new();
    sides.call.put_head(head(), Some(Bytes::from("whole")));
    drop(Unfinished(Arc::clone(&sides.call)));
    assert_eq!(sides.read(10), Read::Bytes(Bytes::from("whole")));
    assert_eq!(sides.read(10), Read::End);
}

#[test]
fn forgetting_a_call_tells_its_carrier_and_frees_its_place() {
    let sides = Sides::new();
    let call = &sides.call;
    assert!(sides.carry(|cx| call.poll_forgotten(cx)).is_pending());
    assert!(find(call.handle()).is_some());
    call.forget();
    assert_eq!(sides.woken().1, 1);
    assert!(sides.carry(|cx| call.poll_forgotten(cx)).is_ready());
    assert!(find(call.handle()).is_none());
    let body = sides.carry(|cx| call.poll_body(cx));
    assert_eq!(body, Poll::Ready(Err(InputEnd::Disconnected)));
    call.put_bytes(Bytes::from("for nobody"));
    assert_eq!(call.lock().answer_len, 0);
    assert!(sides.carry(|cx| call.poll_room(cx)).is_ready());
}

#[test]
fn a_generation_has_so_many_calls_and_none_when_it_is_over() {
    let made = Arc::<Made>::default();
    let calls: Vec<_> = (0..CALLS_MAX)
        .map(|_| OpenCall::start(&made, None).unwrap())
        .collect();
    assert!(OpenCall::start(&made, None).is_none());
    calls[0].forget();
    assert!(OpenCall::start(&made, None).is_some());
    made.end();
    assert!(made.is_over());
    assert!(OpenCall::start(&made, None).is_none());
    assert!(calls.iter().all(|call| find(call.handle()).is_none()));
}

#[test]
fn news_are_told_by_a_byte() {
    use std::io::Read as _;

    let sides = Sides::new();
    let mut pipe = sides.made.listen().unwrap().unwrap();
    assert!(sides.made.listen().unwrap().is_none(), "once");
    let look = |head: &Head| (head.status, true);
    assert_eq!(sides.call.look_at_head(Waiter::News, look), Ok(None));
    sides.call.put_head(head(), None);
    let mut byte = [0];
    pipe.read_exact(&mut byte).unwrap();
    assert_eq!(sides.made.take_news(10), [sides.call.handle()]);
    assert_eq!(sides.made.take_news(10), []);
    sides.call.forget();
    sides.made.end();
    assert_eq!(pipe.read(&mut byte).unwrap(), 0, "the end is told, too");
}
