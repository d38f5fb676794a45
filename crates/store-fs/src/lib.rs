//! A key store in a directory: one file `<directory>/<name>` for each key, with mode 0600 and the value alone.
//!
//! Any number of servers may share the directory. A key is written to a file of another name, synced, and linked
//! into place, so that a name has its whole value or does not exist; `create.rs` has the order of the steps and what a
//! crash or an error between two of them leaves behind.
//!
//! The files: `lib.rs` (opens the store, and implements [`KeyStore`]), `error.rs`, one file for each operation (`create.rs`,
//! `read.rs`, `delete.rs`, `list.rs`), `directory.rs` and `staging.rs` (files that are not keys yet), `resolve.rs`,
//! `identity.rs`, `syscalls.rs`; for tests alone `fake.rs` (a kernel with faults), `faults.rs`, `interleavings.rs`,
//! `exchanges.rs`.
//!
//! Decisions:
//!
//! - A path in the key directory is resolved and opened in one call (`resolve.rs`): `openat2` with `RESOLVE_BENEATH` and
//!   `RESOLVE_NO_MAGICLINKS`, and step by step through open directories where the kernel or a filter has no `openat2`,
//!   and for absolute links, which may lead back. A path that is checked first and opened later can be exchanged in
//!   between.
//! - A file is identified by an open descriptor (`identity.rs`), never by an inode number that was read earlier: file
//!   systems reuse them at once. Leftovers are removed by their names, which are random and used once, and renamed
//!   first, so that a server which still works on one can no longer link it.

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
/// The directory is held open. When its path no longer leads to it (it was removed, or something
/// was mounted over it) every answer that rests on what is *not* in it, and every write, is
/// [`StoreError::Unreachable`] until the server is started anew.
///
/// No link leads out of the directory: a key may be a link to a file in it or below, and anything
/// on that path may be exchanged at any time.
///
/// Writes run to their end even when the future that asked for them is dropped.
#[derive(Debug)]
pub struct FsStore {
    directory: Arc<Directory>,
    clock: Arc<dyn Clock>,
}

impl FsStore {
    /// Opens the directory `path`, which is made (mode 0700, parents too) when it is missing, and
    /// sweeps away what crashed servers left behind more than an hour ago by `clock`.
    ///
    /// Blocks on the disk. The warnings are for the operator's log.
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

    /// Runs `work` where it may block.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Directory) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let directory = Arc::clone(&self.directory);
        match task::spawn_blocking(move || work(&directory)).await {
            Ok(result) => result,
            // The runtime is shutting down, or the work panicked: how far it got is not known.
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
