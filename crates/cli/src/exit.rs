//! How a command fails.

use std::error::Error;
use std::io;
use std::process::ExitCode;

/// Why a command failed, for the person who gave it.
#[derive(Debug)]
pub(crate) struct Failure {
    error: Box<dyn Error + Send + Sync>,
    /// What else is wrong.
    others: Vec<String>,
    hint: Option<String>,
    code: u8,
}

/// The command was understood, and failed.
const FAILED: u8 = 1;
/// The command was not understood.
const USAGE: u8 = 2;

impl Failure {
    /// A failure with its causes.
    pub(crate) fn new(error: impl Error + Send + Sync + 'static) -> Self {
        Self::of(Box::new(error))
    }

    /// A failure with its causes, of a type that is not known.
    pub(crate) fn of(error: Box<dyn Error + Send + Sync>) -> Self {
        Self { error, others: Vec::new(), hint: None, code: FAILED }
    }

    /// A failure that has no cause but itself.
    pub(crate) fn message(text: impl Into<String>) -> Self {
        Self::of(text.into().into())
    }

    /// A failure that has several reasons.
    pub(crate) fn messages(texts: impl IntoIterator<Item = String>) -> Self {
        let mut texts = texts.into_iter();
        let first = texts.next().unwrap_or_default();
        Self { others: texts.collect(), ..Self::message(first) }
    }

    /// A command that cannot be carried out as it was given.
    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Self { code: USAGE, ..Self::message(text) }
    }

    /// Says what was being done; the error so far becomes its cause.
    pub(crate) fn context(self, text: impl Into<String>) -> Self {
        let error = Box::new(Context { text: text.into(), cause: self.error });
        Self { error, ..self }
    }

    /// Adds what the person could do about it.
    pub(crate) fn hint(self, text: impl Into<String>) -> Self {
        Self { hint: Some(text.into()), ..self }
    }

    /// The error and its causes, outermost first, joined by `: `.
    pub(crate) fn text(&self) -> String {
        let mut text = self.error.to_string();
        let mut cause = self.error.source();
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        text
    }

    /// What else is wrong, a line for each.
    pub(crate) fn others(&self) -> &[String] {
        &self.others
    }

    /// What the person could do about it.
    pub(crate) fn advice(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// 1, or 2 for a command that was not understood.
    pub(crate) fn code(&self) -> ExitCode {
        ExitCode::from(self.code)
    }

    /// Whether it is only that nobody reads the output any longer.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        let error = self.error.downcast_ref::<OutputError>();
        error.is_some_and(|error| error.0.kind() == io::ErrorKind::BrokenPipe)
    }
}

/// The output cannot be written.
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
    fn causes_are_told_in_their_order() {
        let denied = io::Error::new(io::ErrorKind::PermissionDenied, "no");
        let failure = Failure::new(OutputError(denied)).context("one").context("two");
        assert_eq!(failure.text(), "two: one: cannot write to standard output: no");
        assert_eq!(failure.code(), ExitCode::from(1));
        assert_eq!(Failure::usage("x").context("y").code(), ExitCode::from(2));
    }
}
