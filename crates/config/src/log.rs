//! Reads the section `log`: the log levels.

use std::fmt;

use crate::cursor::{Cursor, Text};
use crate::error::Fault;
use crate::findings::{Findings, read_fields};
use crate::section::{Setting, section};

/// The log levels of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// The level of the error log; warnings and above by default.
    pub error: LogLevel,
    /// The events of the audit log on standard output; changes of keys by default.
    pub audit: AuditEvents,
}

/// The lowest severity of events that are logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// No events.
    Off,
    /// Events of at least this severity, in the numbers of Go's `log/slog`: debug -4, info 0, warn 4,
    /// error 8, and anything between, below and above.
    At(i32),
}

/// The audit events that are written to standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditEvents {
    /// None.
    Off,
    /// Requests that create, import or delete a key, whether they succeed or not.
    Changes,
    /// Every request to an authenticated route.
    All,
}

impl LogLevel {
    /// Details for developers, and all above.
    pub const DEBUG: Self = Self::At(-4);
    /// Information for operators; audit events have this severity.
    pub const INFO: Self = Self::At(0);
    /// Events that an operator should check.
    pub const WARN: Self = Self::At(4);
    /// Failures.
    pub const ERROR: Self = Self::At(8);
}

impl Default for Log {
    fn default() -> Self {
        Self { error: LogLevel::WARN, audit: AuditEvents::Changes }
    }
}

impl fmt::Display for LogLevel {
    /// Formats the level as the configuration has it: `off`, `warn`, `warn+2`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match *self {
            Self::Off => return f.write_str("off"),
            Self::At(severity) => severity,
        };
        let (name, base) = match severity {
            ..=-1 => ("debug", -4),
            0..=3 => ("info", 0),
            4..=7 => ("warn", 4),
            8.. => ("error", 8),
        };
        f.write_str(name)?;
        match i64::from(severity) - base {
            0 => Ok(()),
            offset => write!(f, "{offset:+}"),
        }
    }
}

impl fmt::Display for AuditEvents {
    /// Formats the value as the configuration has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "off",
            Self::Changes => "changes",
            Self::All => "on",
        })
    }
}

section! {
    /// The log levels; see [`Log`].
    struct LogSection<'a> {
        error: Setting<'a> = "on",
        audit: Setting<'a> = "changes",
    }
}

/// Reads the section `log`.
pub(crate) fn read(log: &LogSection<'_>, findings: &mut Findings) -> Option<Log> {
    read_fields!(findings => Log { error: error(&log.error), audit: audit(&log.audit) })
}

fn error(place: &Cursor<'_>) -> Result<LogLevel, Fault> {
    switch(&place.text()?, LogLevel::WARN, "")
}

fn audit(place: &Cursor<'_>) -> Result<AuditEvents, Fault> {
    let text = place.text()?;
    if text.as_str().eq_ignore_ascii_case("changes") {
        return Ok(AuditEvents::Changes);
    }
    switch(&text, LogLevel::INFO, "changes, ").map(events)
}

/// Audit events have the severity `info`.
fn events(level: LogLevel) -> AuditEvents {
    match level {
        LogLevel::At(..=0) => AuditEvents::All,
        LogLevel::At(_) | LogLevel::Off => AuditEvents::Off,
    }
}

/// Reads a level. `on` is the level of the word `on`; `also` lists words that
/// are possible in addition to levels.
fn switch(text: &Text<'_>, on: LogLevel, also: &str) -> Result<LogLevel, Fault> {
    let lower = text.as_str().to_ascii_lowercase();
    match lower.as_str() {
        "on" => Ok(on),
        "off" => Ok(LogLevel::Off),
        "true" => Err(text.fault("is a switch; write `on` instead of `true`")),
        "false" => Err(text.fault("is a switch; write `off` instead of `false`")),
        other => severity(other).map(LogLevel::At).ok_or_else(|| {
            text.invalid(format!(
                "is no log level; it wants {also}on, off, debug, info, warn or error, or one \
                 with an offset like `warn+2`"
            ))
        }),
    }
}

/// Parses a severity: a name in lower case with an optional offset. Source: the documentation of
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

    #[test]
    fn a_level_is_shown_as_it_is_written() {
        let texts = ["debug-1", "debug", "debug+3", "info", "info+1", "warn", "warn+2", "error+9"];
        for text in texts {
            assert_eq!(LogLevel::At(severity(text).unwrap()).to_string(), text);
        }
        assert_eq!(LogLevel::Off.to_string(), "off");
        assert_eq!(LogLevel::At(i32::MIN).to_string(), "debug-2147483644");
    }
}
