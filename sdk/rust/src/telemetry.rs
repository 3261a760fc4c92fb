//! Forwards the module's `tracing` events, `log` records and panics to the kernel's log.
//!
//! Each copy of the library, that is, each generation, has its own statics, so what is global here is one generation's.

use std::any::Any;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use midplane_abi::{Request, level};
use serde_json::{Map, Value, json};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

use crate::boundary::host;

static OWNER: AtomicU64 = AtomicU64::new(0);

/// Takes over this library's log and panics, once, for the generation that the kernel calls `owner`.
pub(crate) fn install(owner: u64) {
    OWNER.store(owner, Ordering::Relaxed);
    // Both fail only when the module itself has installed its own before; then that one is what its author wants.
    let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry().with(Forward));
    let _ = tracing_log::LogTracer::init();
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

/// The text of a panic.
pub(crate) fn panic_message(payload: &(dyn Any + Send)) -> String {
    let text = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic whose payload is not a text")
        .to_owned()
}

/// The layer that hands events to the kernel, with the fields of the spans around them.
struct Forward;

/// What a span leaves for the events in it.
struct SpanNotes {
    request: Request,
    fields: Map<String, Value>,
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Forward {
    /// The kernel's filter can change at any time: no callsite's first answer may be kept for ever.
    fn register_callsite(&self, _metadata: &'static Metadata<'static>) -> Interest {
        Interest::sometimes()
    }

    fn enabled(&self, metadata: &Metadata<'_>, _cx: Context<'_, S>) -> bool {
        number(metadata.level()) >= host::log_level(OWNER.load(Ordering::Relaxed))
    }

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
