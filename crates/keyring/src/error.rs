//! Errors of the keyring.

use kes_crypto::record::RecordError;
use kes_store::StoreError;
use kes_types::{KeyName, RandomFailed};

use crate::Busy;

/// Why [`Keyring::get`](crate::Keyring::get) has no key.
#[derive(Debug, thiserror::Error)]
pub enum GetError {
    /// The store's answer; [`StoreError::NotFound`] is definite.
    #[error("cannot read key `{0}` from the key store")]
    Store(KeyName, #[source] StoreError),
    /// The store has a value under the name that is not a key.
    #[error("the value stored under `{0}` is not a key")]
    Damaged(KeyName, #[source] RecordError),
    /// The client has too many requests waiting, or waited for a slot until its timeout. The store was not
    /// called.
    #[error("key `{0}` was not read")]
    Busy(KeyName, #[source] Busy),
}

impl GetError {
    /// The task that read the key panicked.
    pub(crate) fn lost(name: &KeyName) -> Self {
        Self::Store(name.clone(), StoreError::Refused(TaskDied.into()))
    }

    /// Whether the store said that the key does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Store(_, StoreError::NotFound(_)))
    }
}

/// Why a key was not created.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// The store's answer; [`StoreError::Exists`] is definite.
    #[error("cannot write key `{0}` to the key store")]
    Store(KeyName, #[source] StoreError),
    /// The source of randomness failed.
    #[error("cannot make key `{0}`")]
    Random(KeyName, #[source] RandomFailed),
    /// As [`GetError::Busy`]: nothing was written.
    #[error("key `{0}` was not written to the key store")]
    Busy(KeyName, #[source] Busy),
}

/// Why a key was not deleted, or names were not listed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The store's answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// As [`GetError::Busy`].
    #[error("the key store was not asked")]
    Busy(#[from] Busy),
}

/// A task panicked.
#[derive(Debug, thiserror::Error)]
#[error("the task that read the key died")]
struct TaskDied;
