//! What can go wrong in a store, by meaning.

use kes_types::KeyName;

/// A cause of any type; it reaches the log, never a client.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why a [`KeyStore`](crate::KeyStore) could not do as asked.
///
/// Exhaustive on purpose: a new variant must break the build where statuses are chosen.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// `create` found the name taken.
    #[error("key `{0}` already exists")]
    Exists(KeyName),
    /// The backend said that the name is not there.
    #[error("key `{0}` does not exist")]
    NotFound(KeyName),
    /// The backend answered, and refused: bad credentials, a full disk, a damaged entry.
    #[error("key store refused the request")]
    Refused(#[source] BoxError),
    /// The backend did not answer, or said that it cannot right now.
    #[error("key store is unreachable")]
    Unreachable(#[source] BoxError),
}

impl StoreError {
    /// Classifies a backend's error: it is transient, or an operator has to correct something.
    pub fn of(is_passing: bool, cause: impl Into<BoxError>) -> Self {
        if is_passing { Self::Unreachable(cause.into()) } else { Self::Refused(cause.into()) }
    }
}

/// What a backend says, on one line of the log: words with blanks between, without control
/// characters, cut off before the line has `len_max` bytes.
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
