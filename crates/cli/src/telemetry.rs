//! The process's log: lines on standard error, and errors to whoever follows `/v1/log/error`.

use std::fmt::{self, Write as _};
use std::time::Duration;

use kes_config::LogLevel;
use kes_server::ErrorLog;
use kes_store::{Observer, Operation, Outcome};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

/// The target of what an operator is told whatever the log level: warnings about the configuration
/// and its surroundings, and what signals do.
pub(crate) const NOTICE: &str = "notice";

/// Lines that wait to be written to standard error; where it takes no more, newer ones are lost.
const LINES_MAX: usize = 8192;

/// Starts logging, once per process. Lines are written by a thread of their own until what is
/// returned is dropped.
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
        .with_filter(targets(filter(level)));
    let stream = ErrorStream(errors).with_filter(targets(LevelFilter::ERROR));
    // A second start, in a test say, keeps the first.
    let _ = tracing_subscriber::registry().with(lines).with(stream).try_init();
    guard
}

/// Our own lines by the configured level; of the libraries below no more than their warnings: they
/// tell of every frame.
fn targets(level: LevelFilter) -> Targets {
    let libraries =
        ["h2", "hyper", "hyper_util", "mio", "reqwest", "rustls", "tokio_util", "tower"];
    Targets::new()
        .with_default(level)
        .with_targets(libraries.map(|library| (library, level.min(LevelFilter::WARN))))
        // Their errors name keys; what comes of them is ours to tell.
        .with_targets(["aws_", "rustify", "vaultrs"].map(|library| (library, LevelFilter::OFF)))
        .with_target(NOTICE, Level::INFO)
}

/// The configuration counts as Go does: debug -4, info 0, warn 4, error 8, and anything between.
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

/// Hands error events to the error log's followers.
struct ErrorStream(ErrorLog);

impl<S: Subscriber> Layer<S> for ErrorStream {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if *event.metadata().level() == Level::ERROR {
            self.0.publish(|| {
                let mut line = Line::default();
                event.record(&mut line);
                line.message + &line.fields
            });
        }
    }
}

/// An event as one text: its message, then its fields.
#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a String does not fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

/// Tells the debug log of every call to the key store.
#[derive(Debug)]
pub(crate) struct StoreCalls;

impl Observer for StoreCalls {
    fn observed(&self, operation: Operation, outcome: Outcome, elapsed: Duration) {
        tracing::debug!(?operation, ?outcome, ?elapsed, "key store call");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_between_show_what_is_above_them() {
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
