//! Reads values that the configuration refers to: `${NAME}`, `${file:<path>}`, and
//! the file that the variable `NAME_FILE` names when `NAME` is not set.

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::environment::Environment;
use crate::error::BoxError;
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

/// The reason why there is no value.
pub(crate) struct NoValue {
    pub(crate) message: String,
    pub(crate) source: Option<BoxError>,
}

impl From<String> for NoValue {
    fn from(message: String) -> Self {
        Self { message, source: None }
    }
}

/// Reads the value of a reference, the text between the braces of `${…}`.
pub(crate) fn replace(
    inner: &str,
    environment: &dyn Environment,
) -> Result<(Zeroizing<String>, Origin), NoValue> {
    if let Some(path) = inner.strip_prefix("file:") {
        return read(path.trim(), None);
    }
    let shown = suggest::shown(inner);
    if inner.is_empty() {
        return Err("`${}` names no environment variable".to_owned().into());
    }
    if inner.contains(':') {
        return Err(format!(
            "`{shown}` is no name of an environment variable; only `${{NAME}}` and \
             `${{file:<path>}}` are replaced, without defaults"
        )
        .into());
    }
    if let Some(value) = variable(environment, inner)? {
        return Ok((value, Origin::Variable(shown)));
    }
    let named = format!("{inner}_FILE");
    match variable(environment, &named)? {
        Some(path) => read(&path, Some(suggest::shown(&named))),
        None => Err(format!("the environment variable `{shown}` is not set").into()),
    }
}

/// Reads an environment variable; the error describes what is wrong with it.
pub(crate) fn variable(
    environment: &dyn Environment,
    name: &str,
) -> Result<Option<Zeroizing<String>>, String> {
    let value = environment
        .variable(name)
        .map_err(|_| format!("the environment variable `{}` is not UTF-8", suggest::shown(name)))?;
    Ok(value.map(Zeroizing::new))
}

/// Reads a file without its last line end.
fn read(path: &str, variable: Option<String>) -> Result<(Zeroizing<String>, Origin), NoValue> {
    if path.is_empty() {
        return Err(match variable {
            Some(name) => format!("the environment variable `{name}` is empty; it names a file"),
            None => "`${file:}` names no file".to_owned(),
        }
        .into());
    }
    let origin = Origin::File(Path::new(path).to_owned(), variable);
    let contents = file::read(Path::new(path), VALUE_BYTES_MAX).map_err(|error| NoValue {
        message: format!("cannot read {}", origin.source()),
        source: Some(error.into()),
    })?;
    let text = std::str::from_utf8(&contents.bytes)
        .map_err(|_| NoValue::from(format!("{} is not UTF-8", origin.source())))?;
    let line = text.strip_suffix('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
    let text = line.unwrap_or(text);
    Ok((Zeroizing::new(text.to_owned()), origin))
}
