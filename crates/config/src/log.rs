//! What is logged.

use crate::cursor::Cursor;
use crate::error::Fault;

/// The log levels of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// Of the error log; `on` unless configured.
    pub error: LogLevel,
    /// Of the audit log; `off` unless configured.
    pub audit: LogLevel,
}

/// From which severity on events are logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// None is.
    Off,
    /// Those of at least this severity, as Go's `log/slog` counts: debug -4, info 0, warn 4,
    /// error 8, and anything between, below and above.
    At(i32),
}

impl LogLevel {
    /// Everything down to details for developers.
    pub const DEBUG: Self = Self::At(-4);
    /// What an operator may like to know; audit events have this severity.
    pub const INFO: Self = Self::At(0);
    /// What an operator should look at.
    pub const WARN: Self = Self::At(4);
    /// What went wrong.
    pub const ERROR: Self = Self::At(8);
}

impl Default for Log {
    fn default() -> Self {
        Self { error: LogLevel::ERROR, audit: LogLevel::Off }
    }
}

/// Reads the section `log`.
pub(crate) fn read(log: &Cursor<'_>) -> Result<Log, Fault> {
    let default = Log::default();
    Ok(Log {
        error: level(&log.field("error"), LogLevel::ERROR, default.error)?,
        audit: level(&log.field("audit"), LogLevel::INFO, default.audit)?,
    })
}

/// Reads a level; `on` is what the switch stands for.
fn level(place: &Cursor<'_>, on: LogLevel, default: LogLevel) -> Result<LogLevel, Fault> {
    let text = place.text()?;
    let lower = text.as_str().to_ascii_lowercase();
    match lower.as_str() {
        "" => Ok(default),
        "on" => Ok(on),
        "off" => Ok(LogLevel::Off),
        "true" => Err(text.fault("is a switch; write `on` instead of `true`")),
        "false" => Err(text.fault("is a switch; write `off` instead of `false`")),
        other => severity(other).map(LogLevel::At).ok_or_else(|| {
            text.fault(format!(
                "{} is no log level; it wants on, off, debug, info, warn or error, or one with an \
                 offset like `warn+2`",
                text.shown()
            ))
        }),
    }
}

/// A severity by name, with an optional offset; lower case. Source: the documentation of
/// `Level.UnmarshalText` in Go's package `log/slog`.
fn severity(text: &str) -> Option<i32> {
    let end = text.find(['+', '-']).unwrap_or(text.len());
    let (name, offset) = text.split_at_checked(end)?;
    let base: i32 = match name {
        "debug" => -4,
        "info" => 0,
        "warn" => 4,
        "error" => 8,
        _ => return None,
    };
    let offset = if offset.is_empty() { 0 } else { offset.parse::<i32>().ok()? };
    base.checked_add(offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn severities_have_offsets() {
        for (text, want) in
            [("debug", -4), ("info", 0), ("warn+2", 6), ("error-8", 0), ("debug-1", -5)]
        {
            assert_eq!(severity(text), Some(want), "{text}");
        }
        for text in ["warning", "warn+", "warn 2", "warn+-2", "+2", "", "error+2147483647"] {
            assert_eq!(severity(text), None, "{text}");
        }
    }
}
