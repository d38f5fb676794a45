//! The log of the process: lines on standard error, and errors for the subscribers of `/v1/log/error`.

use std::error::Error;
use std::fmt::{self, Write as _};
use std::time::Duration;

use kes_config::LogLevel;
use kes_server::ErrorLog;
use kes_store::{CallKind, CallOutcome, Observer};
use kes_types::escape::{self, EscapingWriter};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

/// The target of events that are logged independent of the log level: warnings about the configuration and
/// its environment, and the effect of signals.
pub(crate) const NOTICE: &str = "notice";

/// The maximum number of buffered lines for standard error; further ones are dropped.
const LINES_MAX: usize = 8192;

/// The field that holds an event's message.
const MESSAGE: &str = "message";

/// Starts logging, once per process.
///
/// A separate thread writes the lines until the returned guard is dropped. It drops lines when standard
/// error is blocked, because a stalled log must not stop the server.
pub(crate) fn start(level: LogLevel, errors: ErrorLog) -> WorkerGuard {
    let (writer, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(LINES_MAX)
        .lossy(true)
        .thread_name("log")
        .finish(std::io::stderr());
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(writer)
        .with_ansi(false)
        .with_target(false)
        .fmt_fields(LineFields)
        .with_filter(targets(filter(level)));
    let stream = ErrorStream(errors).with_filter(targets(LevelFilter::ERROR));
    // A second start, for example in a test, keeps the first one.
    let _ = tracing_subscriber::registry().with(lines).with(stream).try_init();
    guard
}

/// Selects events: those of this program by the configured level, and of libraries only warnings, because
/// they log every frame.
fn targets(level: LevelFilter) -> Targets {
    let libraries =
        ["h2", "hyper", "hyper_util", "mio", "reqwest", "rustls", "tokio_util", "tower"];
    Targets::new()
        .with_default(level)
        .with_targets(libraries.map(|library| (library, level.min(LevelFilter::WARN))))
        // Their errors contain names of keys; the stores log the results.
        .with_targets(["aws_", "rustify", "vaultrs"].map(|library| (library, LevelFilter::OFF)))
        .with_target(NOTICE, Level::INFO)
}

/// Converts a log level, which has the numbers of Go: debug -4, info 0, warn 4, error 8, and all between.
fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Off | LogLevel::At(9..) => LevelFilter::OFF,
        LogLevel::At(5..=8) => LevelFilter::ERROR,
        LogLevel::At(1..=4) => LevelFilter::WARN,
        LogLevel::At(-3..=0) => LevelFilter::INFO,
        LogLevel::At(-7..=-4) => LevelFilter::DEBUG,
        LogLevel::At(..=-8) => LevelFilter::TRACE,
    }
}

/// Sends error events to the subscribers of the error log.
struct ErrorStream(ErrorLog);

impl<S: Subscriber> Layer<S> for ErrorStream {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if *event.metadata().level() == Level::ERROR {
            self.0.publish(|| {
                let mut line = String::new();
                // Writing to a String does not fail.
                let _ = LineFields.format_fields(Writer::new(&mut line), event);
                line
            });
        }
    }
}

/// Formats the message and the fields of an event on one line of printable characters.
#[derive(Debug)]
struct LineFields;

impl<'w> FormatFields<'w> for LineFields {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut line = Line { writer, is_empty: true, result: Ok(()) };
        fields.record(&mut line);
        line.result
    }
}

/// Writes the message, then the fields in their order.
struct Line<'w> {
    writer: Writer<'w>,
    is_empty: bool,
    result: fmt::Result,
}

impl<'w> Line<'w> {
    fn add(&mut self, field: &Field, value: impl FnOnce(&mut Writer<'w>) -> fmt::Result) {
        let write = || {
            if !std::mem::take(&mut self.is_empty) {
                self.writer.write_char(' ')?;
            }
            let name = field.name();
            if name != MESSAGE {
                write!(self.writer, "{}=", name.strip_prefix("r#").unwrap_or(name))?;
            }
            value(&mut self.writer)
        };
        self.result = self.result.and_then(|()| write());
    }
}

impl Visit for Line<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, |writer| match field.name() {
            MESSAGE => EscapingWriter::new(writer).write_str(value),
            _ => escape::write_quoted(writer, value),
        });
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.add(field, |writer| {
            let mut text = EscapingWriter::new(writer);
            write!(text, "{value}")?;
            let mut next = value.source();
            while let Some(cause) = next {
                write!(text, ": {cause}")?;
                next = cause.source();
            }
            Ok(())
        });
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, |writer| write!(EscapingWriter::new(writer), "{value:?}"));
    }
}

/// Logs every call to the key store at the level debug.
#[derive(Debug)]
pub(crate) struct StoreCalls;

impl Observer for StoreCalls {
    fn observed(&self, operation: CallKind, outcome: CallOutcome, elapsed: Duration) {
        tracing::debug!(?operation, ?outcome, ?elapsed, "key store call");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex, PoisonError};

    use super::*;

    /// Collects the lines of the log.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<String>>>);

    impl<S: Subscriber> Layer<S> for Lines {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            let mut line = String::new();
            LineFields.format_fields(Writer::new(&mut line), event).unwrap();
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        }
    }

    #[test]
    fn each_part_of_an_event_is_escaped_once() {
        let lines = Lines::default();
        let subscriber = tracing_subscriber::registry().with(lines.clone());
        let hostile = "a\n\\nb\u{202e}\"";
        let inner = std::io::Error::other("in\rner");
        let outer = kes_server::BindError::Listen { addresses: Vec::new(), source: inner };
        tracing::subscriber::with_default(subscriber, || {
            let cause: &dyn Error = &outer;
            tracing::error!(text = hostile, shown = %hostile, cause, n = 5, "it's '{hostile}'");
        });
        let lines = lines.0.lock().unwrap();
        let [line] = &lines[..] else { panic!("{lines:?}") };
        let escaped = r"a\n\\nb\u{202e}";
        let wanted = format!(
            r#"it's '{escaped}"' text="{escaped}\"" shown={escaped}" cause=cannot listen on []: in\rner n=5"#
        );
        assert_eq!(*line, wanted);
    }

    #[test]
    fn levels_between_show_the_levels_above_them() {
        for (severity, level) in [
            (8, LevelFilter::ERROR),
            (6, LevelFilter::ERROR),
            (4, LevelFilter::WARN),
            (0, LevelFilter::INFO),
            (-4, LevelFilter::DEBUG),
            (10, LevelFilter::OFF),
        ] {
            assert_eq!(filter(LogLevel::At(severity)), level);
        }
        assert_eq!(filter(LogLevel::Off), LevelFilter::OFF);
    }
}
