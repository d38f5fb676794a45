//! Reads values that the configuration refers to: `${NAME}`, `${file:<path>}`, and
//! the file that the variable `NAME_FILE` names when `NAME` is not set.

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::cursor::Cursor;
use crate::environment::Environment;
use crate::error::Fault;
use crate::file;
use crate::suggest;

/// The longest file with a value, in bytes.
const VALUE_BYTES_MAX: u64 = 64 << 10;

/// The source of a value.
pub(crate) enum Origin {
    /// The environment variable of that name.
    Variable(String),
    /// A file, and the environment variable that names it.
    File(PathBuf, Option<String>),
}

impl Origin {
    /// Formats the source for messages.
    pub(crate) fn source(&self) -> String {
        match self {
            Self::Variable(name) => format!("the environment variable `{name}`"),
            Self::File(path, None) => format!("the file {}", file::shown(path)),
            Self::File(path, Some(name)) => {
                format!("the file {} of the environment variable `{name}`", file::shown(path))
            }
        }
    }

    /// Formats the value for messages, without showing it.
    pub(crate) fn value(&self) -> String {
        match self {
            Self::Variable(name) => format!("the value of `${{{name}}}`"),
            Self::File(..) => format!("the content of {}", self.source()),
        }
    }
}

/// Reads the value of a reference, the text between the braces of `${…}`, in a place.
pub(crate) fn replace(
    inner: &str,
    place: &Cursor<'_>,
    environment: &dyn Environment,
) -> Result<(Zeroizing<String>, Origin), Fault> {
    if let Some(path) = inner.strip_prefix("file:") {
        return read(path.trim(), None, place);
    }
    let shown = suggest::shown(inner);
    if inner.is_empty() {
        return Err(place.fault("`${}` names no environment variable"));
    }
    if inner.contains(':') {
        return Err(place.fault(format!(
            "`{shown}` is no name of an environment variable; only `${{NAME}}` and \
             `${{file:<path>}}` are replaced, without defaults"
        )));
    }
    if let Some(value) = variable(inner, place, environment)? {
        return Ok((value, Origin::Variable(shown)));
    }
    let named = format!("{inner}_FILE");
    match variable(&named, place, environment)? {
        Some(path) => read(&path, Some(suggest::shown(&named)), place),
        None => Err(place.fault(format!("the environment variable `{shown}` is not set"))),
    }
}

/// Reads an environment variable for a place.
pub(crate) fn variable(
    name: &str,
    place: &Cursor<'_>,
    environment: &dyn Environment,
) -> Result<Option<Zeroizing<String>>, Fault> {
    let value = environment.variable(name).map_err(|_| {
        place.fault(format!("the environment variable `{}` is not UTF-8", suggest::shown(name)))
    })?;
    Ok(value.map(Zeroizing::new))
}

/// Reads a file without its last line end.
fn read(
    path: &str,
    variable: Option<String>,
    place: &Cursor<'_>,
) -> Result<(Zeroizing<String>, Origin), Fault> {
    if path.is_empty() {
        return Err(place.fault(match variable {
            Some(name) => format!("the environment variable `{name}` is empty; it names a file"),
            None => "`${file:}` names no file".to_owned(),
        }));
    }
    let origin = Origin::File(Path::new(path).to_owned(), variable);
    let contents = file::read(Path::new(path), VALUE_BYTES_MAX)
        .map_err(|error| place.fault(format!("cannot read {}", origin.source())).because(error))?;
    let text = std::str::from_utf8(&contents.bytes)
        .map_err(|_| place.fault(format!("{} is not UTF-8", origin.source())))?;
    let line = text.strip_suffix('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
    Ok((Zeroizing::new(line.unwrap_or(text).to_owned()), origin))
}
