//! What is wrong with a configuration file, and where.

use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::reading::Position;
use crate::yaml;

/// Why a configuration file is refused.
///
/// `Display` is one line, `<file>:<line>: <yaml path>: <what is wrong, what would be right>`; line
/// and path are left out where there is none. It never shows a secret, nor a value that came from
/// the environment.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {message}")]
pub struct ConfigError {
    place: Place,
    message: String,
    #[source]
    source: Option<BoxError>,
}

/// Something in a configuration file that is probably not what its author meant. The server works
/// all the same.
///
/// `Display` is one line of the same shape as [`ConfigError`]'s.
#[derive(Clone, Debug)]
pub struct Warning {
    place: Place,
    message: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

type BoxError = Box<dyn Error + Send + Sync>;

/// File, line and YAML path.
#[derive(Clone, Debug)]
struct Place {
    file: PathBuf,
    line: Option<usize>,
    path: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if !self.path.is_empty() {
            write!(f, ": {}", self.path)?;
        }
        Ok(())
    }
}

/// Where in the text a fault is, as far as is known.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Spot {
    /// The file as a whole, or something that is missing.
    Nowhere,
    /// A line, counted from 1.
    Line(usize),
    /// Something that was read; its line is looked up when it is needed.
    At(Position),
}

impl Spot {
    fn line(self, text: &str) -> Option<usize> {
        match self {
            Self::Nowhere => None,
            Self::Line(line) => Some(line),
            Self::At(position) => yaml::line(text, position),
        }
    }
}

/// An error or a warning that does not know its file yet.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) spot: Spot,
    /// The YAML path; empty for the file as a whole.
    pub(crate) path: String,
    pub(crate) message: String,
    pub(crate) source: Option<BoxError>,
}

impl Fault {
    /// A fault of the file as a whole.
    pub(crate) fn of_file(message: impl Into<String>) -> Self {
        Self { spot: Spot::Nowhere, path: String::new(), message: message.into(), source: None }
    }

    /// Adds the cause.
    pub(crate) fn because(mut self, source: impl Into<BoxError>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Becomes the error, of a file with that text.
    pub(crate) fn into_error(self, file: &Path, text: &str) -> ConfigError {
        let place = Place { file: file.to_owned(), line: self.spot.line(text), path: self.path };
        ConfigError { place, message: self.message, source: self.source }
    }
}

/// Lines are looked up for that many warnings; each look-up reads the whole file again.
const WARNING_LINES_MAX: usize = 100;

/// The warnings of a file, in the order they were found.
#[derive(Debug, Default)]
pub(crate) struct Warnings(Vec<Fault>);

impl Warnings {
    pub(crate) fn push(&mut self, warning: Fault) {
        self.0.push(warning);
    }

    /// Becomes the warnings of a file with that text.
    pub(crate) fn resolve(self, file: &Path, text: &str) -> Vec<Warning> {
        let resolve = |(index, fault): (usize, Fault)| {
            let line = if index < WARNING_LINES_MAX { fault.spot.line(text) } else { None };
            let place = Place { file: file.to_owned(), line, path: fault.path };
            Warning { place, message: fault.message }
        };
        self.0.into_iter().enumerate().map(resolve).collect()
    }
}
