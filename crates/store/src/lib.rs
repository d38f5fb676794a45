//! Durable storage for keys: one small trait, many backends.

mod backoff;
#[cfg(feature = "conformance")]
pub mod conformance;
mod deadline;
mod error;
#[cfg(feature = "conformance")]
mod fleet;
mod memory;
mod metered;
mod page;

use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use async_trait::async_trait;
use kes_types::{KeyName, Secret};

pub use backoff::{Backoff, Retries};
pub use deadline::Deadline;
pub use error::{BoxError, StoreError, on_a_line};
#[cfg(feature = "conformance")]
pub use fleet::Fleet;
pub use memory::MemoryStore;
pub use metered::{Metered, Observer, Operation, Outcome};
pub use page::{ListQuery, Page};

/// The boxed future of opening a store: the store with warnings for the operator, or why it cannot be opened.
///
/// It is boxed so that its code is compiled in the store's crate, at that crate's optimisation level: the body of
/// an `async fn` is compiled in the crate that awaits it.
pub type OpenFuture<S, E> = Pin<Box<dyn Future<Output = Result<(S, Vec<BoxError>), E>> + Send>>;

/// The longest value that a store keeps, in bytes.
pub const VALUE_LEN_MAX: usize = 1 << 20;

/// A durable map from key names to opaque values.
///
/// # Contract
///
/// - `create` never overwrites: of any number of racing calls for one name, on any number of
///   servers that share the backend, at most one succeeds.
/// - A `create` that succeeded is durable, and the value is readable by every server that shares
///   the backend.
/// - A `create` that failed leaves no part of a value under the name, and never removes what
///   another writer created there.
/// - `get` returns, byte for byte, what `create` was given.
/// - [`StoreError::NotFound`] is only ever the backend's own, definite answer about that name.
///   Every doubt is [`StoreError::Refused`] or [`StoreError::Unreachable`].
/// - A call that fails with [`StoreError::Unreachable`] may still have taken effect.
/// - Dropping a returned future may abandon a read; `create` and `delete` are driven to their end
///   by the caller.
///
/// Stores neither cache nor retry what is not idempotent; caching is the keyring's job. Every
/// implementation passes `conformance::run`, and every decorator implements every method.
#[async_trait]
pub trait KeyStore: fmt::Debug + Send + Sync + 'static {
    /// Asks the backend for a sign of life and returns how long it took.
    async fn status(&self) -> Result<Duration, StoreError>;

    /// Stores `value` under `name` if the name is free.
    async fn create(&self, name: &KeyName, value: Secret) -> Result<(), StoreError>;

    /// Returns the value stored under `name`.
    async fn get(&self, name: &KeyName) -> Result<Secret, StoreError>;

    /// Removes `name` and its value for good.
    async fn delete(&self, name: &KeyName) -> Result<(), StoreError>;

    /// Lists the names that start with `query.prefix`, in byte order, `query.limit` at the most.
    async fn list(&self, query: &ListQuery) -> Result<Page, StoreError>;
}
