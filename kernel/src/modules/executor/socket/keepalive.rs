//! When a socket is pinged, and when it has been silent or unused for too long.
//!
//! Decides only: the time is an argument. A client is held to answer a ping while it is listened to; while the module does not
//! take its messages, an answer may be among those that are not read.

use std::time::Duration;

use tokio::time::Instant;

pub(super) struct Keepalive {
    ping_interval: Duration,
    idle_timeout: Duration,
    /// When anything last came.
    heard: Instant,
    /// When a message last went either way.
    talked: Instant,
    /// When the last ping was sent.
    pinged: Instant,
    /// Nothing has come since that ping, although it would have been read.
    awaits_pong: bool,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    Nothing,
    Ping,
    /// No answer to the last ping.
    Silent,
    /// No message for too long.
    Idle,
}

impl Keepalive {
    pub(super) fn new(ping_interval: Duration, idle_timeout: Duration, now: Instant) -> Keepalive {
        Keepalive {
            ping_interval,
            idle_timeout,
            heard: now,
            talked: now,
            pinged: now,
            awaits_pong: false,
        }
    }

    /// Something came.
    pub(super) fn heard(&mut self, now: Instant) {
        self.heard = now;
        self.awaits_pong = false;
    }

    /// A message went either way.
    pub(super) fn talked(&mut self, now: Instant) {
        self.talked = now;
    }

    /// The client's silence is no fault of its own: nothing is read, or it could not be asked.
    pub(super) fn excuse(&mut self) {
        self.awaits_pong = false;
    }

    /// What is due at `now`. A ping counts as sent with this.
    pub(super) fn due(&mut self, now: Instant) -> Due {
        if now >= self.talked + self.idle_timeout {
            return Due::Idle;
        }
        if now < self.next_ping() {
            return Due::Nothing;
        }
        if self.awaits_pong {
            return Due::Silent;
        }
        self.pinged = now;
        self.awaits_pong = true;
        Due::Ping
    }

    /// When something may be due.
    pub(super) fn next(&self) -> Instant {
        self.next_ping().min(self.talked + self.idle_timeout)
    }

    /// A client that sends anyway is not asked whether it is there.
    fn next_ping(&self) -> Instant {
        self.heard.max(self.pinged) + self.ping_interval
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PING: Duration = Duration::from_secs(30);
    const IDLE: Duration = Duration::from_secs(600);

    /// What happens at a second, and what is due then.
    enum Event {
        Heard,
        Talked,
        Excused,
        Due(Due),
    }
    use Event::{Excused, Heard, Talked};

    #[test]
    fn pings_silence_and_idleness_are_told_apart() {
        let ping = || Event::Due(Due::Ping);
        let nothing = || Event::Due(Due::Nothing);
        let silent = || Event::Due(Due::Silent);
        let idle = || Event::Due(Due::Idle);
        for (name, events) in [
            ("early", vec![(29, nothing())]),
            (
                "no pong",
                vec![(30, ping()), (59, nothing()), (60, silent())],
            ),
            (
                "pongs",
                vec![(30, ping()), (31, Heard), (60, nothing()), (61, ping())],
            ),
            (
                "busy",
                vec![(29, Heard), (30, nothing()), (58, Heard), (60, nothing())],
            ),
            (
                "not read",
                vec![(30, ping()), (40, Excused), (60, ping()), (89, nothing())],
            ),
            (
                "unused",
                vec![(590, Heard), (599, nothing()), (600, idle())],
            ),
            (
                "used",
                vec![
                    (590, Heard),
                    (599, Talked),
                    (600, nothing()),
                    (1199, idle()),
                ],
            ),
        ] {
            let start = Instant::now();
            let mut keepalive = Keepalive::new(PING, IDLE, start);
            for (second, event) in events {
                let now = start + Duration::from_secs(second);
                match event {
                    Heard => keepalive.heard(now),
                    Talked => keepalive.talked(now),
                    Excused => keepalive.excuse(),
                    Event::Due(due) => assert_eq!(keepalive.due(now), due, "{name} at {second}"),
                }
            }
        }
    }

    #[test]
    fn what_is_due_next_is_never_missed() {
        let start = Instant::now();
        let mut keepalive = Keepalive::new(PING, IDLE, start);
        assert_eq!(keepalive.next(), start + PING);
        assert_eq!(keepalive.due(start + PING), Due::Ping);
        assert_eq!(keepalive.next(), start + PING * 2);
        keepalive.heard(start + Duration::from_secs(590));
        assert_eq!(keepalive.next(), start + IDLE);
    }
}
