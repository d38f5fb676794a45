//! Writes data to standard output, and messages to standard error.

use std::borrow::Cow;
use std::io::{self, IsTerminal as _, Stderr, Stdout, Write as _};
use std::process::ExitCode;

use kes_config::Environment;
use kes_types::escape;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::args::Color;
use crate::exit::{Failure, OutputError};
use crate::{mask, usage};

const RED: &str = "\x1b[1;31m";
const YELLOW: &str = "\x1b[1;33m";
const BOLD: &str = "\x1b[1m";
const PLAIN: &str = "\x1b[0m";

/// The outputs of the process: data goes to standard output, everything else to standard error.
#[derive(Debug)]
pub(crate) struct Output {
    out: Stdout,
    err: Stderr,
    /// Whether standard output is a terminal.
    is_terminal: bool,
    is_out_colored: bool,
    is_err_colored: bool,
}

impl Output {
    /// Makes the outputs; by default they have colours on terminals if `NO_COLOR` is not set.
    pub(crate) fn new(color: Color, environment: &dyn Environment) -> Self {
        let no_color = environment.variable("NO_COLOR");
        let wants_color = no_color.is_ok_and(|value| value.is_none_or(|value| value.is_empty()));
        let is_colored = |is_terminal: bool| match color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => is_terminal && wants_color,
        };
        let (out, err) = (io::stdout(), io::stderr());
        Self {
            is_terminal: out.is_terminal(),
            is_out_colored: is_colored(out.is_terminal()),
            is_err_colored: is_colored(err.is_terminal()),
            out,
            err,
        }
    }

    /// Whether standard output is a terminal.
    pub(crate) fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// Formats a text as bold if colours are in use.
    pub(crate) fn bold<'a>(&self, text: &'a str) -> Cow<'a, str> {
        if self.is_out_colored { format!("{BOLD}{text}{PLAIN}").into() } else { text.into() }
    }

    /// Writes a line of data.
    pub(crate) fn line(&self, text: &str) -> Result<(), Failure> {
        self.write(text.as_bytes(), b"\n")
    }

    /// Writes data unchanged, followed by a line break on a terminal only.
    pub(crate) fn bare(&self, text: &str) -> Result<(), Failure> {
        self.write(text.as_bytes(), if self.is_terminal { b"\n" } else { b"" })
    }

    /// Writes data as one line of JSON.
    pub(crate) fn json(&self, data: &(impl Serialize + ?Sized)) -> Result<(), Failure> {
        self.write(&Zeroizing::new(escape::json(data).map_err(Failure::new)?), b"\n")
    }

    /// Writes a warning to standard error.
    pub(crate) fn warn(&self, text: &str) {
        self.message("Warning", YELLOW, text);
    }

    /// Writes the failure of a command to standard error and returns its exit code.
    pub(crate) fn report(&self, failure: &Failure) -> ExitCode {
        // A reader that closes the pipe has read enough.
        if !failure.is_broken_pipe() {
            self.message("Error", RED, &failure.text());
            for other in failure.others() {
                self.message("Error", RED, other);
            }
            if let Some(advice) = failure.advice() {
                self.message("Hint", BOLD, advice);
            }
        }
        failure.code()
    }

    fn write(&self, data: &[u8], end: &[u8]) -> Result<(), Failure> {
        let mut out = self.out.lock();
        out.write_all(data)
            .and_then(|()| out.write_all(end))
            .and_then(|()| out.flush())
            .map_err(|error| Failure::new(OutputError(error)))
    }

    fn message(&self, label: &str, color: &str, text: &str) {
        let text = printable(&mask::api_keys(text));
        let mut err = self.err.lock();
        // An error cannot be reported when standard error is closed.
        let _ = if self.is_err_colored {
            writeln!(err, "{color}{label}:{PLAIN} {text}")
        } else {
            writeln!(err, "{label}: {text}")
        };
    }
}

/// Writes help, the version or an error about the arguments, and returns the exit code.
pub(crate) fn usage(message: clap::Error) -> ExitCode {
    let message = usage::without_secrets(message);
    // An error cannot be reported when the output is closed.
    let _ = match message.to_string().strip_prefix("error: ") {
        Some(text) => write!(io::stderr(), "Error: {}", mask::api_keys(text)),
        None => message.print(),
    };
    ExitCode::from(u8::try_from(message.exit_code()).unwrap_or(1))
}

/// Replaces unprintable characters of a text.
///
/// The text of a server can then neither move the cursor nor change the direction of the text around it.
pub(crate) fn printable(text: &str) -> String {
    let shown =
        |char| if escape::is_unprintable(char) { char::REPLACEMENT_CHARACTER } else { char };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_of_others_do_not_reach_the_terminal() {
        assert_eq!(printable("a\x1b[2Jb\n\u{9b}c ä"), "a\u{fffd}[2Jb\u{fffd}\u{fffd}c ä");
        assert_eq!(printable("a\u{202e}b\u{2028}\u{feff}"), "a\u{fffd}b\u{fffd}\u{fffd}");
    }
}
