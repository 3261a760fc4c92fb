//! The way of a log line from the kernel or a module to standard error.
//!
//! Both kinds share one filter, one rendering and one writer. Kernel events come through `tracing`; a module's lines
//! cannot, since a callsite's target is static and a module's is not. No line waits for its write.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use midplane_abi::level;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use super::filter::Filter;
use super::line::{Line, Origin, json_of, render};
use crate::config::LogFormat;

/// With `TEXT_BYTES_MAX` it bounds what waits for a slow reader; a burst of a second fits.
const LINES_WAITING_MAX: usize = 4096;
/// Of a module's message and of its fields, each; longer is a dump, not a message.
const TEXT_BYTES_MAX: usize = 8 * 1024;

/// How far a listener may fall behind before it loses lines: they are on standard error, too.
const HEARD_LINES_MAX: usize = 1024;

/// Keep it until the end of `main`: dropping it writes what still waits.
pub(crate) struct Logging {
    pub(crate) handle: LogHandle,
    _guard: WorkerGuard,
}

#[derive(Debug, thiserror::Error)]
#[error("logging is already installed in this process")]
pub(crate) struct InstallError(#[from] tracing::subscriber::SetGlobalDefaultError);

/// Changes and reads the log while it runs.
#[derive(Clone)]
pub(crate) struct LogHandle(Arc<Shared>);

struct Shared {
    format: LogFormat,
    colour: bool,
    filter: ArcSwap<Filter>,
    writer: NonBlocking,
    dropped: ErrorCounter,
    heard: broadcast::Sender<Arc<HeardLine>>,
    /// Dropped lines that the log has told of.
    told: AtomicUsize,
}

/// What a module says, and what the kernel knows about it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ModuleLine<'a> {
    pub(crate) module: &'a str,
    pub(crate) generation: u64,
    pub(crate) request_id: Option<&'a str>,
    pub(crate) session: Option<&'a str>,
    pub(crate) level: Level,
    /// The place in the module's code; its crate is shown under the module's mounted name.
    pub(crate) target: &'a str,
    pub(crate) message: &'a str,
    /// A JSON object.
    pub(crate) fields: Option<&'a str>,
}

/// Logs to standard error from here on. `no_colour`: whether NO_COLOR is set; colours are for terminals only.
pub(crate) fn install(
    format: LogFormat,
    filter: &Filter,
    no_colour: bool,
) -> Result<Logging, InstallError> {
    let colour = format == LogFormat::Human && !no_colour && io::stderr().is_terminal();
    let (layer, logging) = build(format, colour, filter, LINES_WAITING_MAX, io::stderr());
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(layer))?;
    Ok(logging)
}

/// A line, for whoever listens.
pub(crate) struct HeardLine {
    pub(crate) level: Level,
    /// As `--log json` writes it.
    pub(crate) json: Box<RawValue>,
}

/// Hears the lines that are written.
pub(crate) struct LogListener(broadcast::Receiver<Arc<HeardLine>>);

impl LogListener {
    /// `None` at the end. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Option<Arc<HeardLine>> {
        loop {
            match self.0.recv().await {
                Ok(line) => return Some(line),
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return None,
            }
        }
    }
}

/// Where a module's lines go.
pub(crate) trait ModuleLog: Send + Sync {
    /// Writes the line if the filter wants it from this module.
    fn line(&self, line: ModuleLine<'_>);

    /// The most verbose level of the module that is written, as the number of `midplane_abi::level` (which grow with
    /// importance), or one more than `ERROR` when none is.
    fn max_level(&self, module: &str) -> u32;
}

impl ModuleLog for LogHandle {
    fn line(&self, line: ModuleLine<'_>) {
        let target = mounted(line.module, line.target);
        if !self.0.filter.load().enables(&target, line.level) {
            return;
        }
        let fields = line.fields.map(module_fields).unwrap_or_default();
        self.0.write(&Line {
            time: SystemTime::now(),
            level: line.level,
            target: &target,
            message: cut(line.message),
            origin: Origin {
                module: Some(line.module),
                generation: Some(line.generation),
                request_id: line.request_id,
                session: line.session,
            },
            fields: &fields,
        });
    }

    /// Takes no lock.
    fn max_level(&self, module: &str) -> u32 {
        match self.0.filter.load().max_of(module).into_level() {
            None => level::ERROR + 1,
            Some(Level::ERROR) => level::ERROR,
            Some(Level::WARN) => level::WARN,
            Some(Level::INFO) => level::INFO,
            Some(Level::DEBUG) => level::DEBUG,
            Some(Level::TRACE) => level::TRACE,
        }
    }
}

/// The level of a number of `midplane_abi::level`.
pub(crate) fn level_of(number: u32) -> Level {
    match number {
        0..=level::TRACE => Level::TRACE,
        level::DEBUG => Level::DEBUG,
        level::INFO => Level::INFO,
        level::WARN => Level::WARN,
        _ => Level::ERROR,
    }
}

impl LogHandle {
    pub(crate) fn set_filter(&self, filter: Filter) {
        self.0.filter.store(Arc::new(filter));
        // callsites remember whether they are wanted
        tracing::callsite::rebuild_interest_cache();
    }

    pub(crate) fn filter(&self) -> Filter {
        Filter::clone(&self.0.filter.load())
    }

    /// Every line that is written from here on.
    pub(crate) fn listen(&self) -> LogListener {
        LogListener(self.0.heard.subscribe())
    }

    /// Lines that standard error did not take in time, since the start.
    pub(crate) fn dropped_lines(&self) -> u64 {
        self.0.dropped.dropped_lines() as u64
    }
}

fn build(
    format: LogFormat,
    colour: bool,
    filter: &Filter,
    lines_waiting_max: usize,
    writer: impl Write + Send + 'static,
) -> (KernelEvents, Logging) {
    let (writer, guard) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(lines_waiting_max)
        .thread_name("midplane-log")
        .finish(writer);
    let handle = LogHandle(Arc::new(Shared {
        format,
        colour,
        filter: ArcSwap::from_pointee(filter.clone()),
        dropped: writer.error_counter(),
        writer,
        heard: broadcast::channel(HEARD_LINES_MAX).0,
        told: AtomicUsize::new(0),
    }));
    (
        KernelEvents(handle.clone()),
        Logging {
            handle,
            _guard: guard,
        },
    )
}

impl Shared {
    fn write(&self, line: &Line<'_>) {
        let before = self.dropped.dropped_lines();
        self.send(line);
        let told = self.told.load(Ordering::Relaxed);
        // only once a line has gone through: telling a full queue would drop one more
        let through = self.dropped.dropped_lines() == before;
        let first = || {
            self.told
                .compare_exchange(told, before, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        };
        if through && before > told && first() {
            let fields = Map::from_iter([("lines".to_owned(), Value::from(before - told))]);
            self.send(&Line {
                time: SystemTime::now(),
                level: Level::WARN,
                target: "kernel::telemetry",
                message: "log lines were dropped because standard error is read too slowly",
                origin: Origin::default(),
                fields: &fields,
            });
        }
    }

    fn send(&self, line: &Line<'_>) {
        let text = render(line, self.format, self.colour);
        if self.heard.receiver_count() > 0 {
            let heard = HeardLine {
                level: line.level,
                json: json_of(line),
            };
            // The last listener may have left just now.
            let _ = self.heard.send(Arc::new(heard));
        }
        // a lossy writer counts what it cannot take; there is nowhere left to tell of any other failure
        let _ = self.writer.clone().write_all(text.as_bytes());
    }
}

/// The layer that takes the kernel's own events.
struct KernelEvents(LogHandle);

impl<S: Subscriber> Layer<S> for KernelEvents {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        self.0
            .0
            .filter
            .load()
            .enables(&shown(metadata.target()), *metadata.level())
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.0.0.filter.load().max())
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields(Map::new());
        event.record(&mut fields);
        let Fields(mut fields) = fields;
        let mut text = |name: &str| match fields.remove(name) {
            Some(Value::String(text)) => Some(text),
            Some(other) => Some(other.to_string()),
            None => None,
        };
        let (message, module) = (text("message"), text("module"));
        let (request_id, session) = (text("request_id"), text("session"));
        let generation = fields
            .remove("generation")
            .and_then(|generation| generation.as_u64());
        self.0.0.write(&Line {
            time: SystemTime::now(),
            level: *event.metadata().level(),
            target: &shown(event.metadata().target()),
            message: message.as_deref().unwrap_or_default(),
            origin: Origin {
                module: module.as_deref(),
                generation,
                request_id: request_id.as_deref(),
                session: session.as_deref(),
            },
            fields: &fields,
        });
    }
}

/// The crate is `kernel` to those who read the log.
fn shown(target: &str) -> String {
    match target.strip_prefix("midplane_kernel") {
        Some(rest) if rest.is_empty() || rest.starts_with("::") => format!("kernel{rest}"),
        _ => target.to_owned(),
    }
}

/// `hello` and `midplane_hello::provider` make `hello::provider`.
fn mounted(module: &str, target: &str) -> String {
    match cut(target).split_once("::") {
        Some((_crate, place)) => format!("{module}::{place}"),
        None => module.to_owned(),
    }
}

fn module_fields(text: &str) -> Map<String, Value> {
    match serde_json::from_str(text) {
        Ok(Value::Object(fields)) if text.len() <= TEXT_BYTES_MAX => fields,
        // better seen as it came than lost
        _ => Map::from_iter([("unparsed".to_owned(), Value::from(cut(text)))]),
    }
}

fn cut(text: &str) -> &str {
    let end = (0..=TEXT_BYTES_MAX.min(text.len()))
        .rev()
        .find(|index| text.is_char_boundary(*index))
        .expect("the start is a boundary");
    &text[..end]
}

struct Fields(Map<String, Value>);

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.into());
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name().to_owned(), value.into());
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.insert(field.name().to_owned(), value.into());
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.0.insert(field.name().to_owned(), value.into());
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.insert(field.name().to_owned(), value.into());
    }
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0
            .insert(field.name().to_owned(), format!("{value:?}").into());
    }
}

#[cfg(test)]
mod tests;
