//! Reports every call to a store to an observer.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use kes_types::{Clock, KeyName, Secret};

use crate::{KeyStore, ListQuery, Page, StoreError};

/// Forwards every call to another store, and reports its outcome and duration.
#[derive(Debug)]
pub struct Metered {
    inner: Arc<dyn KeyStore>,
    observer: Arc<dyn Observer>,
    clock: Arc<dyn Clock>,
}

/// Observes every call to a [`Metered`] store, when the call has ended.
pub trait Observer: fmt::Debug + Send + Sync + 'static {
    /// Records a call: the operation, its outcome and its duration.
    ///
    /// A call that was cancelled before it ended is reported as [`CallOutcome::Unreachable`].
    fn observed(&self, operation: CallKind, outcome: CallOutcome, elapsed: Duration);
}

/// The operation of a call to a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallKind {
    /// [`KeyStore::status`]
    Status,
    /// [`KeyStore::create`]
    Create,
    /// [`KeyStore::get`]
    Get,
    /// [`KeyStore::delete`]
    Delete,
    /// [`KeyStore::list`]
    List,
}

/// The outcome of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallOutcome {
    /// The call succeeded.
    Ok,
    /// [`StoreError::Exists`]
    Exists,
    /// [`StoreError::NotFound`]
    NotFound,
    /// [`StoreError::Refused`]
    Refused,
    /// [`StoreError::Unreachable`], or the caller dropped the future before the call ended.
    Unreachable,
}

impl Metered {
    /// Wraps `inner`; `clock` measures the durations.
    pub fn new(
        inner: Arc<dyn KeyStore>,
        observer: Arc<dyn Observer>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { inner, observer, clock }
    }

    fn watch(&self, operation: CallKind) -> Watch<'_> {
        let start = self.clock.monotonic();
        Watch { metered: self, operation, start, outcome: CallOutcome::Unreachable }
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl KeyStore for Metered {
    async fn status(&self) -> Result<Duration, StoreError> {
        let watch = self.watch(CallKind::Status);
        watch.end(self.inner.status().await)
    }

    async fn create(&self, name: &KeyName, value: Secret) -> Result<(), StoreError> {
        let watch = self.watch(CallKind::Create);
        watch.end(self.inner.create(name, value).await)
    }

    async fn get(&self, name: &KeyName) -> Result<Secret, StoreError> {
        let watch = self.watch(CallKind::Get);
        watch.end(self.inner.get(name).await)
    }

    async fn delete(&self, name: &KeyName) -> Result<(), StoreError> {
        let watch = self.watch(CallKind::Delete);
        watch.end(self.inner.delete(name).await)
    }

    async fn list(&self, query: &ListQuery) -> Result<Page, StoreError> {
        let watch = self.watch(CallKind::List);
        watch.end(self.inner.list(query).await)
    }
}

/// A call in progress. It reports when it is dropped, so that a cancelled call is reported too.
struct Watch<'a> {
    metered: &'a Metered,
    operation: CallKind,
    start: Instant,
    outcome: CallOutcome,
}

impl Watch<'_> {
    fn end<T>(mut self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        self.outcome = match &result {
            Ok(_) => CallOutcome::Ok,
            Err(StoreError::Exists(_)) => CallOutcome::Exists,
            Err(StoreError::NotFound(_)) => CallOutcome::NotFound,
            Err(StoreError::Refused(_)) => CallOutcome::Refused,
            Err(StoreError::Unreachable(_)) => CallOutcome::Unreachable,
        };
        result
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        let elapsed = self.metered.clock.monotonic().saturating_duration_since(self.start);
        self.metered.observer.observed(self.operation, self.outcome, elapsed);
    }
}
