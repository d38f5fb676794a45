//! Classifies errors of stores by their meaning.

use kes_types::KeyName;

/// An underlying error of any type; it is logged and never sent to a client.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why an operation on a [`KeyStore`](crate::KeyStore) failed.
///
/// The enum is exhaustive, so that a new variant is a compile error where HTTP statuses are chosen.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A key of that name already exists.
    #[error("key `{0}` already exists")]
    Exists(KeyName),
    /// The backend reported that the key does not exist.
    #[error("key `{0}` does not exist")]
    NotFound(KeyName),
    /// The backend responded with a permanent error: bad credentials, a full disk, a damaged entry.
    #[error("key store refused the request")]
    Refused(#[source] BoxError),
    /// The backend did not respond, or reported a temporary failure.
    #[error("key store is unreachable")]
    Unreachable(#[source] BoxError),
}

impl StoreError {
    /// Classifies an error of a backend: a transient error becomes [`Self::Unreachable`], one that
    /// an operator has to correct becomes [`Self::Refused`].
    pub fn of(is_transient: bool, cause: impl Into<BoxError>) -> Self {
        if is_transient { Self::Unreachable(cause.into()) } else { Self::Refused(cause.into()) }
    }
}

/// Joins texts of a backend with spaces to one line for the log, without control characters and
/// truncated to fewer than `len_max` bytes.
pub fn on_a_line<'a>(words: impl IntoIterator<Item = &'a str>, len_max: usize) -> String {
    let mut line = String::new();
    for word in words {
        if line.len() + word.len() >= len_max {
            line.push_str(" …");
            break;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.extend(word.chars().filter(|char| !char.is_control()));
    }
    line
}
