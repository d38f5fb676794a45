//! Errors and warnings of a configuration file, with their positions.

use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};

/// All errors of a configuration file, in the order of the file.
///
/// `Display` is one line for each fault, at most [`FAULTS_SHOWN_MAX`] and then one with the number
/// of the others.
#[derive(Debug)]
pub struct ConfigErrors(Vec<ConfigError>);

/// The largest number of errors of a file that are shown.
pub const FAULTS_SHOWN_MAX: usize = 20;

impl ConfigErrors {
    pub(crate) fn new(errors: Vec<ConfigError>) -> Self {
        Self(errors)
    }

    /// Returns all errors.
    pub fn all(&self) -> &[ConfigError] {
        &self.0
    }

    /// Formats one line for each error with its causes, at most [`FAULTS_SHOWN_MAX`], and one that
    /// counts the others.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        let shown = self.0.iter().take(FAULTS_SHOWN_MAX).map(ConfigError::line);
        let others = self.0.len().saturating_sub(FAULTS_SHOWN_MAX);
        shown.chain((others > 0).then(|| format!("and {others} more")))
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<_> = self.lines().collect();
        f.write_str(&lines.join("\n"))
    }
}

impl Error for ConfigErrors {}

/// An error of a configuration file.
///
/// `Display` is one line, `<file>:<line>: <yaml path>: <what is wrong, what would be right>`; line
/// and path are left out where there is none. It never shows a secret, nor a value that came from
/// the environment or from a file.
#[derive(Debug)]
pub struct ConfigError {
    file: PathBuf,
    fault: Fault,
}

impl ConfigError {
    pub(crate) fn new(file: &Path, fault: Fault) -> Self {
        Self { file: file.to_owned(), fault }
    }

    /// Formats the error and its causes, outermost first, joined by `: `.
    fn line(&self) -> String {
        let mut line = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            line = format!("{line}: {error}");
            cause = error.source();
        }
        line
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fault { at, path, message, .. } = &self.fault;
        write!(f, "{}", self.file.display())?;
        if let Some(at) = at {
            write!(f, ":{}", at.line)?;
        }
        if !path.is_empty() {
            write!(f, ": {path}")?;
        }
        write!(f, ": {message}")
    }
}

impl Error for ConfigError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.fault.source.as_deref().map(|source| source as _)
    }
}

/// A warning about a probable mistake in a configuration file. The server starts
/// all the same.
///
/// `Display` is one line of the same shape as [`ConfigError`]'s.
#[derive(Clone, Debug)]
pub struct Warning(String);

impl Warning {
    pub(crate) fn new(file: &Path, warning: Fault) -> Self {
        Self(ConfigError::new(file, warning).to_string())
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

type BoxError = Box<dyn Error + Send + Sync>;

/// A place in the file: line, counted from 1, and column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Mark {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

/// An error or a warning without the name of its file.
#[derive(Debug)]
pub(crate) struct Fault {
    /// The position; none for the file as a whole, and for what is missing at its top.
    pub(crate) at: Option<Mark>,
    /// The YAML path; empty for the file as a whole.
    pub(crate) path: String,
    pub(crate) message: String,
    source: Option<BoxError>,
    /// Whether it was reported before: it only stops what depends on the value.
    pub(crate) is_known: bool,
}

impl Fault {
    /// Makes a fault of a place.
    pub(crate) fn new(at: Option<Mark>, path: String, message: impl Into<String>) -> Self {
        Self { at, path, message: message.into(), source: None, is_known: false }
    }

    /// Makes a fault of the file as a whole.
    pub(crate) fn of_file(message: impl Into<String>) -> Self {
        Self::new(None, String::new(), message)
    }

    /// Makes a fault of a line.
    pub(crate) fn of_line(line: usize, message: impl Into<String>) -> Self {
        Self::new(Some(Mark { line, column: 0 }), String::new(), message)
    }

    /// Makes a fault that stands for one that was reported before.
    pub(crate) fn known() -> Self {
        Self { is_known: true, ..Self::of_file("") }
    }

    /// Adds the cause.
    pub(crate) fn because(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }
}
