//! Log lines as the original shows them: the bare message on standard output, and in its files.
//!
//! Owns: how an event becomes one line, and where what is known of monitors comes from.

use std::fmt::{self, Write};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use crate::logs::{Facts, Logs};
use crate::sample::Code;
use crate::store::view::Filter;
use crate::store::{OpenReader, StoreError};

/// Passes events on to the log files.
pub struct OriginalLog {
    /// The way to them.
    pub logs: Logs,
    /// False where something else needs standard output.
    pub shown: bool,
}

impl<S: Subscriber> Layer<S> for OriginalLog {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = Line::default();
        event.record(&mut line);
        let text = format!("{}{}", line.message, line.fields);
        let is_error = *event.metadata().level() == Level::ERROR;
        if self.shown && is_error {
            println!("❌ ERROR: {text}");
        } else if self.shown {
            println!("{text}");
        }
        self.logs.event(is_error, text);
    }
}

/// The message of an event, and its fields after it.
#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

/// What lines say of the monitors of a store.
///
/// # Errors
///
/// The store cannot be read.
pub fn facts(readers: &dyn OpenReader) -> Result<Vec<Facts>, StoreError> {
    let monitors = readers.open()?.monitors(&Filter::default())?;
    let facts = monitors.into_iter().map(|monitor| Facts {
        id: monitor.id,
        kind: monitor.kind,
        target: monitor.target,
        interval_ms: monitor.interval_ms,
        user_id: monitor.user_id,
        last: (Code(monitor.code), monitor.message),
    });
    Ok(facts.collect())
}
