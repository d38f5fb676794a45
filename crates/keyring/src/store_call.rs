//! Calls to the key store: each takes a slot, runs on the task tracker, and is bounded in time.

use std::time::Duration;

use kes_store::{BoxError, StoreError};

use crate::calls::{Busy, Client, Slot};
use crate::keyring::GET_TIMEOUT;
use crate::{CallError, Keyring};

/// The timeout of a store read, so that a caller gets its response in time and the next caller a read of its
/// own. Stores with shorter timeouts of their own report why they failed.
const READ_TIMEOUT: Duration = Duration::from_secs(12);

/// The longest that a write or a listing waits for a slot.
const QUEUE_TIMEOUT: Duration = GET_TIMEOUT;

impl Keyring {
    /// Waits for a slot, then runs a store call.
    pub(crate) async fn call<T: Send + 'static>(
        &self,
        client: Client,
        call: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, CallError> {
        let slot = self.calls.request(client)?.slot();
        let slot = tokio::time::timeout(QUEUE_TIMEOUT, slot).await.map_err(|_| Busy)?;
        Ok(self.call_in(slot, call).await?)
    }

    /// Runs a store call on the tracker: to its end, even if its caller hangs up.
    pub(crate) async fn call_in<T: Send + 'static>(
        &self,
        slot: Slot,
        call: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        let task = async move {
            let result = call.await;
            drop(slot);
            result
        };
        let result = self.deps.tasks.spawn(task).await.unwrap_or_else(|error| Err(died(error)));
        if matches!(result, Err(StoreError::Unreachable(_))) {
            self.probe.call_failed();
        }
        result
    }

    /// Runs a store call as [`Self::call_in`] does, for at most [`READ_TIMEOUT`].
    pub(crate) async fn read_in<T: Send + 'static>(
        &self,
        slot: Slot,
        call: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        let result = tokio::time::timeout(READ_TIMEOUT, self.call_in(slot, call)).await;
        result.unwrap_or_else(|_| {
            self.probe.call_failed();
            Err(StoreError::Unreachable(NoAnswer(READ_TIMEOUT).into()))
        })
    }
}

pub(crate) fn died(error: tokio::task::JoinError) -> StoreError {
    let cause: BoxError = Box::new(error);
    StoreError::Refused(cause)
}

/// The store took longer than it may.
#[derive(Debug, thiserror::Error)]
#[error("no answer within {} s", .0.as_secs_f32())]
pub(crate) struct NoAnswer(pub(crate) Duration);
