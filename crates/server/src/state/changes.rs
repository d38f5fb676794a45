//! Runs each request that creates or deletes a key in a task of its own, to its end.
//!
//! A caller that disconnects cannot interrupt a change halfway. The request passes all layers in its task,
//! so its outcome is logged, audited and counted even if its caller has disconnected.

use std::sync::{Arc, Weak};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::http::error::ApiError;

/// Tracks the tasks of changes.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    tasks: TaskTracker,
    aborted: CancellationToken,
}

/// Records whether the caller of a request still waits for its response.
#[derive(Clone, Debug, Default)]
pub(crate) struct Waiting(Option<Weak<()>>);

impl Changes {
    /// Runs a request to its end, or until [`Self::abort`], even if this future is dropped.
    pub(crate) async fn run<F>(
        &self,
        request: impl FnOnce(Waiting) -> F,
    ) -> Result<F::Output, ApiError>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let caller = Arc::new(());
        let request = request(Waiting(Some(Arc::downgrade(&caller))));
        let aborted = self.aborted.clone();
        let task = self.tasks.spawn(async move { aborted.run_until_cancelled(request).await });
        let response = match task.await {
            Ok(response) => response.ok_or_else(|| ApiError::internal(Aborted)),
            Err(error) => {
                tracing::error!(cause = %error, "a change ended without an answer");
                Err(ApiError::internal(error))
            }
        };
        drop(caller);
        response
    }

    /// Waits for the running changes; called when there are no connections any more.
    pub(crate) async fn ended(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Aborts the running changes; their outcome is unknown.
    pub(crate) async fn abort(&self) {
        self.aborted.cancel();
        self.ended().await;
    }
}

impl Waiting {
    /// Returns whether the caller of a change has disconnected. Other requests are dropped with their
    /// connection, so for them this is always `false`.
    pub(crate) fn has_ended(&self) -> bool {
        self.0.as_ref().is_some_and(|caller| caller.strong_count() == 0)
    }
}

/// The error of a change that was aborted at the end of the server.
#[derive(Debug, thiserror::Error)]
#[error("the server ended before the change did")]
struct Aborted;

#[cfg(test)]
mod tests {
    use futures_util::poll;
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn a_change_runs_to_its_end_and_knows_whether_its_caller_waits() {
        let changes = Changes::default();
        for is_gone in [false, true] {
            let (proceed, proceeded) = oneshot::channel::<()>();
            let (sender, receiver) = oneshot::channel();
            let mut response = Box::pin(changes.run(|caller| async move {
                let _ = proceeded.await;
                let _ = sender.send(caller.has_ended());
                7
            }));
            assert!(poll!(&mut response).is_pending());
            if is_gone {
                drop(response);
                proceed.send(()).unwrap();
            } else {
                proceed.send(()).unwrap();
                assert_eq!(response.await.unwrap(), 7);
            }
            assert_eq!(receiver.await, Ok(is_gone));
        }
        changes.ended().await;
    }

    #[tokio::test]
    async fn a_change_that_does_not_end_is_aborted() {
        let changes = Changes::default();
        let mut response = Box::pin(changes.run(|_| std::future::pending::<()>()));
        assert!(poll!(&mut response).is_pending());
        changes.abort().await;
        assert_eq!(response.await.unwrap_err().status().as_u16(), 500);
    }

    #[test]
    fn the_caller_of_another_request_has_not_disconnected() {
        assert!(!Waiting::default().has_ended());
    }
}
