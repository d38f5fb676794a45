//! What can go wrong with a directory of keys.

use std::io;
use std::path::{Path, PathBuf};

use kes_store::{StoreError, VALUE_LEN_MAX};
use rustix::io::Errno;

/// Why a key directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory is missing and cannot be made.
    #[error("cannot make key directory `{}`", path.display())]
    Make {
        /// The directory, or the one above it that stood in the way.
        path: PathBuf,
        /// The system's word.
        #[source]
        source: io::Error,
    },
    /// The directory cannot be opened, or is none.
    #[error("cannot open key directory `{}`", path.display())]
    Open {
        /// The directory.
        path: PathBuf,
        /// The system's word.
        #[source]
        source: io::Error,
    },
}

/// What the operator should know about a key directory that can be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenWarning {
    /// Users other than the directory's owner can get at it.
    #[error("key directory `{}` is open to other users: its mode is {mode:04o}, not 0700", path.display())]
    OpenToOthers {
        /// The directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// What crashed servers left behind cannot be removed.
    #[error("cannot remove what an interrupted key creation left in `{}`", path.display())]
    NotSwept {
        /// The directory, or the file that stays.
        path: PathBuf,
        /// The system's word.
        #[source]
        source: io::Error,
    },
}

/// Why an operation on the directory failed; becomes the source of a [`StoreError`].
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
    /// The change is visible, and may or may not outlive a crash.
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

    /// Whether the file system gave no answer, as opposed to a bad one.
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

/// A network file system out of reach, or a process out of descriptors or memory. A full,
/// read-only, forbidden or damaged disk has answered.
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
