//! Defines the errors of a key directory.

use std::io;
use std::path::{Path, PathBuf};

use kes_store::{StoreError, VALUE_LEN_MAX};
use rustix::io::Errno;

/// Why a key directory cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory does not exist and cannot be created.
    #[error("cannot make key directory `{}`", path.display())]
    Make {
        /// The directory, or the parent that could not be created.
        path: PathBuf,
        /// The error of the system.
        #[source]
        source: io::Error,
    },
    /// The directory cannot be opened, or is not a directory.
    #[error("cannot open key directory `{}`", path.display())]
    Open {
        /// The directory.
        path: PathBuf,
        /// The error of the system.
        #[source]
        source: io::Error,
    },
}

/// A problem of a usable key directory, for the operator.
#[derive(Debug, thiserror::Error)]
pub enum OpenWarning {
    /// Users other than the owner have access to the directory.
    #[error("key directory `{}` is open to other users: its mode is {mode:04o}, not 0700", path.display())]
    OpenToOthers {
        /// The directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Leftovers of crashed servers cannot be removed.
    #[error("cannot remove what an interrupted key creation left in `{}`", path.display())]
    NotSwept {
        /// The directory, or the file that could not be removed.
        path: PathBuf,
        /// The error of the system.
        #[source]
        source: io::Error,
    },
}

/// Why an operation on the directory failed; it becomes the source of a [`StoreError`].
#[derive(Debug, thiserror::Error)]
pub(crate) enum FsError {
    #[error("cannot {action} `{}`", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("`{}` is not a regular file", path.display())]
    NotAFile { path: PathBuf },
    #[error("`{}` is a link that leads out of the key directory", path.display())]
    LeadsOutside { path: PathBuf },
    #[error("`{}` is longer than {VALUE_LEN_MAX} bytes", path.display())]
    TooLong { path: PathBuf },
    #[error("`{}` was written to while it was read", path.display())]
    Changed { path: PathBuf },
    #[error("what was written for `{}` was removed before it was complete; is the clock of a server wrong?", path.display())]
    Swept { path: PathBuf },
    #[error("key directory `{}` is gone", path.display())]
    Vanished { path: PathBuf },
    #[error("key directory `{}` is not the one that was opened at start; restart the server if that is intended", path.display())]
    Replaced { path: PathBuf },
    /// The change is visible, but may be lost in a crash.
    #[error("the outcome for key file `{}` is not known", path.display())]
    Unconfirmed {
        path: PathBuf,
        #[source]
        source: Box<Self>,
    },
}

impl FsError {
    pub(crate) fn io(action: &'static str, path: &Path, source: impl Into<io::Error>) -> Self {
        Self::Io { action, path: path.to_owned(), source: source.into() }
    }

    /// Returns whether the file system did not respond, as opposed to a definite error.
    pub(crate) fn is_silence(&self) -> bool {
        match self {
            Self::Io { source, .. } => is_silence(source),
            Self::Swept { .. }
            | Self::Vanished { .. }
            | Self::Replaced { .. }
            | Self::Unconfirmed { .. } => true,
            Self::NotAFile { .. }
            | Self::LeadsOutside { .. }
            | Self::TooLong { .. }
            | Self::Changed { .. } => false,
        }
    }
}

impl From<FsError> for StoreError {
    fn from(error: FsError) -> Self {
        Self::of(error.is_silence(), error)
    }
}

/// Returns whether the error is transient: a network file system is unreachable, or the process
/// lacks descriptors or memory. Errors of a full, read-only, forbidden or damaged disk are
/// definite.
fn is_silence(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(
            Errno::STALE
                | Errno::TIMEDOUT
                | Errno::NOTCONN
                | Errno::HOSTDOWN
                | Errno::HOSTUNREACH
                | Errno::NETDOWN
                | Errno::NETUNREACH
                | Errno::CONNREFUSED
                | Errno::CONNRESET
                | Errno::CONNABORTED
                | Errno::AGAIN
                | Errno::INTR
                | Errno::MFILE
                | Errno::NFILE
                | Errno::NOMEM
        )
    )
}
