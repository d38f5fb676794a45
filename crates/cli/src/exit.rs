//! Failures of commands: messages, hints and exit codes.

use std::error::Error;
use std::io;
use std::process::ExitCode;

/// The failure of a command, with its causes, a hint and the exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    error: Box<dyn Error + Send + Sync>,
    /// Further errors.
    others: Vec<String>,
    hint: Option<String>,
    code: u8,
}

/// The exit code of a command that failed.
const FAILED: u8 = 1;
/// The exit code of a command with invalid arguments.
const USAGE: u8 = 2;

impl Failure {
    /// Makes a failure of an error and its causes.
    pub(crate) fn new(error: impl Error + Send + Sync + 'static) -> Self {
        Self::of(Box::new(error))
    }

    /// Makes a failure of a boxed error and its causes.
    pub(crate) fn of(error: Box<dyn Error + Send + Sync>) -> Self {
        Self { error, others: Vec::new(), hint: None, code: FAILED }
    }

    /// Makes a failure without causes.
    pub(crate) fn message(text: impl Into<String>) -> Self {
        Self::of(text.into().into())
    }

    /// Makes a failure of several errors.
    pub(crate) fn messages(texts: impl IntoIterator<Item = String>) -> Self {
        let mut texts = texts.into_iter();
        let first = texts.next().unwrap_or_default();
        Self { others: texts.collect(), ..Self::message(first) }
    }

    /// Makes a failure for invalid arguments or settings.
    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Self { code: USAGE, ..Self::message(text) }
    }

    /// Adds a message about the failed step; the error so far becomes its cause.
    pub(crate) fn context(self, text: impl Into<String>) -> Self {
        let error = Box::new(Context { text: text.into(), cause: self.error });
        Self { error, ..self }
    }

    /// Adds a hint about what to do.
    pub(crate) fn hint(self, text: impl Into<String>) -> Self {
        Self { hint: Some(text.into()), ..self }
    }

    /// The error and its causes, outermost first, joined by `: `.
    pub(crate) fn text(&self) -> String {
        let outermost: &(dyn Error + 'static) = &*self.error;
        let errors = std::iter::successors(Some(outermost), |error| (*error).source());
        errors.map(ToString::to_string).collect::<Vec<_>>().join(": ")
    }

    /// The further errors, one line each.
    pub(crate) fn others(&self) -> &[String] {
        &self.others
    }

    /// The hint about what to do.
    pub(crate) fn advice(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// The exit code: 1, or 2 for invalid arguments.
    pub(crate) fn code(&self) -> ExitCode {
        ExitCode::from(self.code)
    }

    /// Whether the failure is only that the reader has closed the output.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        let error = self.error.downcast_ref::<OutputError>();
        error.is_some_and(|error| error.0.kind() == io::ErrorKind::BrokenPipe)
    }
}

/// The error for an output that cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to standard output")]
pub(crate) struct OutputError(#[source] pub(crate) io::Error);

#[derive(Debug, thiserror::Error)]
#[error("{text}")]
struct Context {
    text: String,
    #[source]
    cause: Box<dyn Error + Send + Sync>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_shown_in_their_order() {
        let denied = io::Error::new(io::ErrorKind::PermissionDenied, "no");
        let failure = Failure::new(OutputError(denied)).context("one").context("two");
        assert_eq!(failure.text(), "two: one: cannot write to standard output: no");
        assert_eq!(failure.code(), ExitCode::from(1));
        assert_eq!(Failure::usage("x").context("y").code(), ExitCode::from(2));
    }
}
