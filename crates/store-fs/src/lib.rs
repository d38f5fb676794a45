//! Stores keys in a directory: one file `<directory>/<name>` for each key, with mode 0600, which
//! contains only the value.
//!
//! Any number of servers may share the directory. A key is written to a staging file, synced, and
//! linked to its name, so that a name either has its complete value or does not exist. `create.rs`
//! describes the order of the steps, and the state after a crash or an error between two of them.
//!
//! The files: `lib.rs` (opens the store, and implements [`KeyStore`]), `error.rs`, one file for
//! each operation (`create.rs`, `read.rs`, `delete.rs`, `list.rs`), `directory.rs`, `staging.rs`
//! (staging files), `resolve.rs`, `identity.rs`, `syscalls.rs`; only for tests: `fake.rs` (a kernel
//! with faults), `faults.rs`, `interleavings.rs`, `exchanges.rs`.
//!
//! Decisions:
//!
//! - A path in the key directory is resolved and opened in one call (`resolve.rs`): `openat2` with
//!   `RESOLVE_BENEATH` and `RESOLVE_NO_MAGICLINKS`. Where the kernel or a seccomp filter has no
//!   `openat2`, and for absolute links, which may lead back into the directory, it is opened
//!   component by component through open directories. A path that is checked first and opened later
//!   can be replaced in between.
//! - A file is identified by an open descriptor (`identity.rs`), never by an inode number that was
//!   read earlier, because file systems reuse inode numbers at once. Leftovers are removed by their
//!   names, which are random and used once. They are renamed first, so that a server which still
//!   uses one can no longer link it.

mod create;
mod delete;
mod directory;
mod error;
#[cfg(test)]
mod exchanges;
#[cfg(test)]
mod fake;
#[cfg(test)]
mod faults;
mod identity;
#[cfg(test)]
mod interleavings;
mod list;
mod read;
mod resolve;
mod staging;
mod syscalls;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kes_store::{KeyStore, ListQuery, Page, StoreError};
use kes_types::{Clock, KeyName, Random, Secret};
use tokio::task;

pub use error::{OpenError, OpenWarning};

use crate::directory::Directory;
use crate::syscalls::Kernel;

/// A key store in a directory.
///
/// The directory is held open. When its path no longer refers to it (it was removed or mounted
/// over), every result that depends on a name that does *not* exist, and every write, is
/// [`StoreError::Unreachable`] until the server is restarted.
///
/// No link leaves the directory: a key may be a link to a file in or below the directory, and any
/// part of the path may be replaced at any time.
///
/// Writes run to completion even when their future is dropped.
#[derive(Debug)]
pub struct FsStore {
    directory: Arc<Directory>,
    clock: Arc<dyn Clock>,
}

impl FsStore {
    /// Opens the directory `path`, and removes leftovers of crashed servers that are more than an
    /// hour old by `clock`. A directory that does not exist is created with its parents (mode
    /// 0700).
    ///
    /// Blocks on the disk. The warnings are for the log of the operator.
    pub fn open(
        path: &Path,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<(Self, Vec<OpenWarning>), OpenError> {
        let directory = Directory::open(path, Box::new(Kernel), random)?;
        let mut warnings = Vec::new();
        warnings.extend(directory.open_to_others()?);
        warnings.extend(staging::sweep(&directory, clock.now()));
        Ok((Self { directory: Arc::new(directory), clock }, warnings))
    }

    /// Runs `work` on a thread that may block.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Directory) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let directory = Arc::clone(&self.directory);
        match task::spawn_blocking(move || work(&directory)).await {
            Ok(result) => result,
            // The runtime is shutting down, or the work panicked: its progress is unknown.
            Err(error) => Err(StoreError::Unreachable(error.into())),
        }
    }
}

#[async_trait]
impl KeyStore for FsStore {
    async fn status(&self) -> Result<Duration, StoreError> {
        let start = self.clock.monotonic();
        self.blocking(|directory| Ok(directory.verify()?)).await?;
        Ok(self.clock.monotonic().saturating_duration_since(start))
    }

    async fn create(&self, name: &KeyName, value: Secret) -> Result<(), StoreError> {
        let name = name.clone();
        self.blocking(move |directory| create::create(directory, &name, &value)).await
    }

    async fn get(&self, name: &KeyName) -> Result<Secret, StoreError> {
        let name = name.clone();
        self.blocking(move |directory| read::read(directory, &name)).await
    }

    async fn delete(&self, name: &KeyName) -> Result<(), StoreError> {
        let name = name.clone();
        self.blocking(move |directory| delete::delete(directory, &name)).await
    }

    async fn list(&self, query: &ListQuery) -> Result<Page, StoreError> {
        let query = query.clone();
        self.blocking(move |directory| list::list(directory, &query)).await
    }
}
