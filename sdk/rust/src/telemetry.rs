//! Forwards the module's `tracing` events, `log` records and panics to the kernel's log.
//!
//! Each copy of the library, that is, each generation, has its own statics, so what is global here is one generation's.

use std::any::Any;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use midplane_abi::{Request, level};
use serde_json::{Map, Value, json};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_log::LogTracer;
use tracing_subscriber::Registry;
use tracing_subscriber::layer::{Context, Layer, Layered, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

use crate::boundary::host;

static OWNER: AtomicU64 = AtomicU64::new(0);

/// Takes over this library's log and panics, once, for the generation that the kernel calls `owner`.
pub(crate) fn install(owner: u64) {
    OWNER.store(owner, Ordering::Relaxed);
    *INNER.write().unwrap_or_else(PoisonError::into_inner) =
        Some(Arc::new(tracing_subscriber::registry().with(Forward)));
    // Both fail only when the module itself has installed its own before; then that one is what its author wants.
    let _ = tracing::subscriber::set_global_default(Forwarding);
    let _ = log::set_logger(LOGGER.get_or_init(LogTracer::new))
        .map(|()| log::set_max_level(log::LevelFilter::max()));
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        let message = panic_message(info.payload());
        let fields = json!({ "panic": message, "place": place }).to_string();
        host::log(
            OWNER.load(Ordering::Relaxed),
            host::current(),
            level::ERROR,
            "panic",
            "the module panicked",
            Some(&fields),
        );
    }));
}

/// Frees what [`install`] made, at the end of the generation: what is told after that is lost.
pub(crate) fn uninstall() {
    let inner = INNER.write().unwrap_or_else(PoisonError::into_inner).take();
    // In a unit test nothing was installed.
    if inner.is_some() {
        drop(std::panic::take_hook());
    }
}

/// The text of a panic.
pub(crate) fn panic_message(payload: &(dyn Any + Send)) -> String {
    let text = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic whose payload is not a text")
        .to_owned()
}

/// What [`Forwarding`] hands on to.
static INNER: RwLock<Option<Arc<Layered<Forward, Registry>>>> = RwLock::new(None);
static LOGGER: OnceLock<LogTracer> = OnceLock::new();

/// `tracing` keeps its global subscriber for ever, and the process outlives this library. So it is given one that is nothing
/// but a way to a place in the library, and what is in that place can go.
struct Forwarding;

impl Forwarding {
    /// The lock is not held meanwhile: closing a span may close the one around it, through here again.
    fn with<T>(act: impl FnOnce(&Layered<Forward, Registry>) -> T) -> Option<T> {
        let inner = INNER.read().unwrap_or_else(PoisonError::into_inner).clone();
        inner.as_deref().map(act)
    }
}

impl Subscriber for Forwarding {
    /// The kernel's filter can change at any time: no callsite's first answer may be kept for ever.
    fn register_callsite(&self, _metadata: &'static Metadata<'static>) -> Interest {
        Interest::sometimes()
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        number(metadata.level()) >= host::log_level(OWNER.load(Ordering::Relaxed))
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        Forwarding::with(|inner| inner.new_span(attributes)).unwrap_or(Id::from_u64(u64::MAX))
    }

    fn record(&self, id: &Id, values: &tracing::span::Record<'_>) {
        Forwarding::with(|inner| inner.record(id, values));
    }

    fn record_follows_from(&self, id: &Id, follows: &Id) {
        Forwarding::with(|inner| inner.record_follows_from(id, follows));
    }

    fn event(&self, event: &Event<'_>) {
        Forwarding::with(|inner| inner.event(event));
    }

    fn enter(&self, id: &Id) {
        Forwarding::with(|inner| inner.enter(id));
    }

    fn exit(&self, id: &Id) {
        Forwarding::with(|inner| inner.exit(id));
    }

    fn clone_span(&self, id: &Id) -> Id {
        Forwarding::with(|inner| inner.clone_span(id)).unwrap_or_else(|| id.clone())
    }

    fn try_close(&self, id: Id) -> bool {
        Forwarding::with(|inner| inner.try_close(id)).unwrap_or(false)
    }

    fn current_span(&self) -> tracing_core::span::Current {
        Forwarding::with(Subscriber::current_span).unwrap_or_else(tracing_core::span::Current::none)
    }
}

/// The layer that hands events to the kernel, with the fields of the spans around them.
struct Forward;

/// What a span leaves for the events in it.
struct SpanNotes {
    request: Request,
    fields: Map<String, Value>,
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Forward {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, cx: Context<'_, S>) {
        let Some(span) = cx.span(id) else { return };
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        span.extensions_mut().insert(SpanNotes {
            request: host::current(),
            fields: fields.members,
        });
    }

    fn on_record(&self, id: &Id, values: &tracing::span::Record<'_>, cx: Context<'_, S>) {
        let Some(span) = cx.span(id) else { return };
        let mut fields = Fields::default();
        values.record(&mut fields);
        if let Some(notes) = span.extensions_mut().get_mut::<SpanNotes>() {
            notes.fields.extend(fields.members);
        }
    }

    fn on_event(&self, event: &Event<'_>, cx: Context<'_, S>) {
        use tracing_log::NormalizeEvent;
        let normalized = event.normalized_metadata();
        let metadata = normalized.as_ref().unwrap_or_else(|| event.metadata());
        let mut fields = Fields::default();
        let mut request = host::current();
        for span in cx
            .event_scope(event)
            .into_iter()
            .flat_map(|scope| scope.from_root())
        {
            if let Some(notes) = span.extensions().get::<SpanNotes>() {
                fields.members.extend(notes.fields.clone());
                if request.0 == 0 {
                    request = notes.request;
                }
            }
        }
        event.record(&mut fields);
        // What `log` records carry of their origin is in the metadata already.
        fields
            .members
            .retain(|name, _value| !name.starts_with("log."));
        let text = (!fields.members.is_empty()).then(|| Value::Object(fields.members).to_string());
        let owner = OWNER.load(Ordering::Relaxed);
        host::log(
            owner,
            request,
            number(metadata.level()),
            metadata.target(),
            &fields.message,
            text.as_deref(),
        );
    }
}

/// An event's message and its other fields.
#[derive(Default)]
struct Fields {
    message: String,
    members: Map<String, Value>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        self.members.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            // Writing to a string does not fail.
            let _ = write!(self.message, "{value:?}");
        } else {
            self.put(field, format!("{value:?}"));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        } else {
            self.put(field, value);
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }
}

fn number(level: &Level) -> u32 {
    match *level {
        Level::TRACE => level::TRACE,
        Level::DEBUG => level::DEBUG,
        Level::INFO => level::INFO,
        Level::WARN => level::WARN,
        Level::ERROR => level::ERROR,
    }
}
