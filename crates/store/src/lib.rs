//! Defines durable storage for keys: one small trait with several backends.

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
pub use metered::{CallKind, CallOutcome, Metered, Observer};
pub use page::{ListQuery, Page};

/// The boxed future that opens a store: it returns the store and warnings for the operator, or an
/// error.
///
/// It is boxed so that its code is compiled in the crate of the store, at the optimisation level of
/// that crate: the body of an `async fn` is compiled in the crate that awaits it.
pub type OpenFuture<S, E> = Pin<Box<dyn Future<Output = Result<(S, Vec<BoxError>), E>> + Send>>;

/// The maximum length of a value that a store accepts, in bytes.
pub const VALUE_LEN_MAX: usize = 1 << 20;

/// Stores opaque values durably under key names.
///
/// # Contract
///
/// - `create` never overwrites: of any number of concurrent calls for one name, on any number of
///   servers that share the backend, at most one succeeds.
/// - A value whose `create` succeeded is durable, and every server that shares the backend can read
///   it.
/// - A `create` that failed leaves no partial value under the name, and never removes a value of
///   another writer.
/// - `get` returns, byte for byte, the value that was passed to `create`.
/// - [`StoreError::NotFound`] means that the backend itself reported, definitely, that the name
///   does not exist. Every uncertain case is [`StoreError::Refused`] or
///   [`StoreError::Unreachable`].
/// - A call that failed with [`StoreError::Unreachable`] may still have taken effect.
/// - Dropping the future of a read may cancel the read. The caller must drive `create` and `delete`
///   to completion.
///
/// A store has no cache, and retries only idempotent requests; the keyring caches keys. Every
/// implementation passes `conformance::run`, and every decorator implements every method.
#[async_trait]
pub trait KeyStore: fmt::Debug + Send + Sync + 'static {
    /// Probes the health of the backend, and returns how long the probe took.
    async fn status(&self) -> Result<Duration, StoreError>;

    /// Stores `value` under `name` if no key of that name exists.
    async fn create(&self, name: &KeyName, value: Secret) -> Result<(), StoreError>;

    /// Returns the value stored under `name`.
    async fn get(&self, name: &KeyName) -> Result<Secret, StoreError>;

    /// Deletes `name` and its value permanently.
    async fn delete(&self, name: &KeyName) -> Result<(), StoreError>;

    /// Lists at most `query.limit` names that start with `query.prefix`, in byte order.
    async fn list(&self, query: &ListQuery) -> Result<Page, StoreError>;
}
