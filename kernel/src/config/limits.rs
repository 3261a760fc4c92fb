//! `[limits]`: every limit of the HTTP side and of loading modules, by name, with its default and its bounds.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::error::ConfigError;
use super::section::Section;

/// Twice hyper's own floor; a token, an origin and a page of cookies fit.
const HEADER_BYTES: u64 = 16 * 1024;
/// hyper panics below this (`http1::Builder::max_buf_size`).
const HEADER_BYTES_MIN: u64 = 8 * 1024;
/// hyper's own default (`http1::Builder::max_headers`).
const HEADER_FIELDS: usize = 100;
/// A local peer writes its header in one go; slower is a peer that holds a place.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// nginx's default; an editor's bursts reuse their connection.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(75);
/// nginx's default.
const BODY_BYTES: u64 = 1 << 20;
/// Attachments to a conversation fit.
const BODY_BYTES_MAX: u64 = 64 << 20;
const BODY_STALL_TIMEOUT: Duration = Duration::from_secs(10);
const WRITE_STALL_TIMEOUT: Duration = Duration::from_secs(30);
/// The usual soft limit of descriptors on Linux, which the kernel raises at start.
const CONNECTIONS: usize = 1024;
/// One process cannot take every place.
const CONNECTIONS_PER_PROCESS: usize = 64;
/// One for the bridge and one to steer with.
const CONNECTIONS_FOR_HOST: usize = 2;
const REQUESTS_PER_MODULE: usize = 1024;
/// What is written and read within the quarter of a second that a hand-over may take, with room to spare.
const STATE_BYTES: u64 = 16 << 20;
/// As much as a body: what fits into a request fits into a message, either way.
const WEBSOCKET_MESSAGE_BYTES: u64 = 1 << 20;
/// As long as a session lives that nobody renews (`[sessions] ttl`).
const WEBSOCKET_IDLE_TIMEOUT: Duration = Duration::from_secs(600);
/// A client that hangs is noticed within a minute. Shorter would wake an idle machine more often than it is worth.
const WEBSOCKET_PING_INTERVAL: Duration = Duration::from_secs(30);
/// A person types ten keys a second; an editor's protocols have bursts of some hundred messages.
const WEBSOCKET_MESSAGES_PER_SECOND: usize = 1000;
/// Constructors and `init` together. A module that opens files or reaches its provider needs a second or two.
const INIT_TIMEOUT: Duration = Duration::from_secs(30);
/// A hundred times what counts as a slow poll, and as long as a person bears it.
const QUARANTINE_AFTER: Duration = Duration::from_secs(1);
/// A thousand times what counts as a slow poll: no work that a handler does by mistake on its worker takes that long.
const STUCK_AFTER: Duration = Duration::from_secs(10);
/// A module that reaches its provider when it starts is there by then, and no client has given up.
const RESTART_WAIT: Duration = Duration::from_secs(5);
/// Below, a loaded machine would be taken for a module that hangs.
const STUCK_AFTER_MIN: Duration = Duration::from_millis(100);
const STUCK_AFTER_MAX: Duration = Duration::from_secs(3600);

const TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(86_400);

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Limits {
    pub(crate) header_bytes: usize,
    pub(crate) header_fields: usize,
    pub(crate) header_timeout: Duration,
    pub(crate) keep_alive_timeout: Duration,
    pub(crate) body_bytes: u64,
    /// What a module may raise `body_bytes` to for a route of its own.
    pub(crate) body_bytes_max: u64,
    pub(crate) body_stall_timeout: Duration,
    pub(crate) write_stall_timeout: Duration,
    pub(crate) connections: usize,
    pub(crate) connections_per_process: usize,
    pub(crate) connections_for_host: usize,
    pub(crate) requests_per_module: usize,
    /// A WebSocket's message, either way.
    pub(crate) websocket_message_bytes: usize,
    /// A WebSocket without a message either way ends.
    pub(crate) websocket_idle_timeout: Duration,
    /// A WebSocket's client that has been silent for so long is pinged, and ends when it stays silent for as long again.
    pub(crate) websocket_ping_interval: Duration,
    /// From a client on one WebSocket, over ten seconds; pings count.
    pub(crate) websocket_messages_per_second: u32,
    /// State that a module hands over to its next generation.
    pub(crate) state_bytes: usize,
    pub(crate) init_timeout: Duration,
    /// A poll that takes longer puts its module in quarantine.
    pub(crate) quarantine_after: Duration,
    /// How long a worker may be inside one call of a module before it counts as lost.
    pub(crate) stuck_after: Duration,
    /// How long a request may wait for a module that is started again, or of which one generation ends before the next begins.
    pub(crate) restart_wait: Duration,
}

impl Limits {
    pub(super) fn read(mut section: Section<'_>) -> Result<Limits, ConfigError> {
        let s = &mut section;
        let header_bytes = s.size("header_bytes", HEADER_BYTES, HEADER_BYTES_MIN..=1 << 20)?;
        let body_bytes_max = s.size("body_bytes_max", BODY_BYTES_MAX, 1..=1 << 40)?;
        let state_bytes = s.size("state_bytes", STATE_BYTES, 1..=1 << 30)?;
        let websocket_message_bytes = s.size(
            "websocket_message_bytes",
            WEBSOCKET_MESSAGE_BYTES,
            1..=1 << 30,
        )?;
        let websocket_messages_per_second = s.count(
            "websocket_messages_per_second",
            WEBSOCKET_MESSAGES_PER_SECOND,
            1..=1_000_000,
        )?;
        let connections = s.count("connections", CONNECTIONS, 4..=65_536)?;
        let limits = Limits {
            header_bytes: usize::try_from(header_bytes).expect("at most 1 MiB"),
            header_fields: s.count("header_fields", HEADER_FIELDS, 16..=1024)?,
            header_timeout: s.duration("header_timeout", HEADER_TIMEOUT, TIMEOUT)?,
            keep_alive_timeout: s.duration("keep_alive_timeout", KEEP_ALIVE_TIMEOUT, TIMEOUT)?,
            body_bytes: s.size(
                "body_bytes",
                BODY_BYTES.min(body_bytes_max),
                1..=body_bytes_max,
            )?,
            body_bytes_max,
            body_stall_timeout: s.duration("body_stall_timeout", BODY_STALL_TIMEOUT, TIMEOUT)?,
            write_stall_timeout: s.duration("write_stall_timeout", WRITE_STALL_TIMEOUT, TIMEOUT)?,
            connections,
            connections_per_process: s.count(
                "connections_per_process",
                CONNECTIONS_PER_PROCESS.min(connections),
                1..=connections,
            )?,
            connections_for_host: s.count(
                "connections_for_host",
                CONNECTIONS_FOR_HOST,
                1..=connections - 1,
            )?,
            requests_per_module: s.count("requests_per_module", REQUESTS_PER_MODULE, 1..=65_536)?,
            websocket_message_bytes: usize::try_from(websocket_message_bytes)
                .expect("at most 1 GiB"),
            websocket_idle_timeout: s.duration(
                "websocket_idle_timeout",
                WEBSOCKET_IDLE_TIMEOUT,
                TIMEOUT,
            )?,
            websocket_ping_interval: s.duration(
                "websocket_ping_interval",
                WEBSOCKET_PING_INTERVAL,
                TIMEOUT,
            )?,
            websocket_messages_per_second: u32::try_from(websocket_messages_per_second)
                .expect("at most a million"),
            state_bytes: usize::try_from(state_bytes).expect("at most 1 GiB"),
            init_timeout: s.duration("init_timeout", INIT_TIMEOUT, TIMEOUT)?,
            quarantine_after: s.duration(
                "quarantine_after",
                QUARANTINE_AFTER,
                STUCK_AFTER_MIN..=STUCK_AFTER_MAX,
            )?,
            stuck_after: s.duration(
                "stuck_after",
                STUCK_AFTER,
                STUCK_AFTER_MIN..=STUCK_AFTER_MAX,
            )?,
            restart_wait: s.duration("restart_wait", RESTART_WAIT, TIMEOUT)?,
        };
        section.finish()?;
        Ok(limits)
    }
}
