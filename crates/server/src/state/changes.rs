//! Runs requests that change keys to their end, each in a task of its own: when its caller disconnects, only the
//! response is not sent; the outcome is logged, audited and counted.

use std::sync::{Arc, Weak};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::http::error::ApiError;

/// Owner of the tasks of changes.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    tasks: TaskTracker,
    cut_off: CancellationToken,
}

/// Whether the caller of a request still waits for its answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Waiting(Option<Weak<()>>);

impl Changes {
    /// Runs a request to its end, or until [`Self::cut_off`], whether this future lives or not.
    pub(crate) async fn run<F>(
        &self,
        request: impl FnOnce(Waiting) -> F,
    ) -> Result<F::Output, ApiError>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let caller = Arc::new(());
        let request = request(Waiting(Some(Arc::downgrade(&caller))));
        let cut_off = self.cut_off.clone();
        let task = self.tasks.spawn(async move { cut_off.run_until_cancelled(request).await });
        let answer = match task.await {
            Ok(answer) => answer.ok_or_else(|| ApiError::internal(CutOff)),
            Err(died) => {
                tracing::error!(cause = %died, "a change ended without an answer");
                Err(ApiError::internal(died))
            }
        };
        drop(caller);
        answer
    }

    /// Waits for those that run when no connection is left.
    pub(crate) async fn ended(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Ends those that still run; their outcome is not known.
    pub(crate) async fn cut_off(&self) {
        self.cut_off.cancel();
        self.ended().await;
    }
}

impl Waiting {
    /// Whether the caller of a change has hung up. Of other requests nothing is left then.
    pub(crate) fn has_ended(&self) -> bool {
        self.0.as_ref().is_some_and(|caller| caller.strong_count() == 0)
    }
}

/// The server ended before the change did.
#[derive(Debug, thiserror::Error)]
#[error("the server ended before the change did")]
struct CutOff;

#[cfg(test)]
mod tests {
    use futures_util::poll;
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn a_change_runs_to_its_end_and_knows_whether_its_caller_waits() {
        let changes = Changes::default();
        for is_gone in [false, true] {
            let (go, begin) = oneshot::channel::<()>();
            let (report, reported) = oneshot::channel();
            let mut answer = Box::pin(changes.run(|caller| async move {
                let _ = begin.await;
                let _ = report.send(caller.has_ended());
                7
            }));
            assert!(poll!(&mut answer).is_pending());
            if is_gone {
                drop(answer);
                go.send(()).unwrap();
            } else {
                go.send(()).unwrap();
                assert_eq!(answer.await.unwrap(), 7);
            }
            assert_eq!(reported.await, Ok(is_gone));
        }
        changes.ended().await;
    }

    #[tokio::test]
    async fn a_change_that_does_not_end_is_cut_off() {
        let changes = Changes::default();
        let mut answer = Box::pin(changes.run(|_| std::future::pending::<()>()));
        assert!(poll!(&mut answer).is_pending());
        changes.cut_off().await;
        assert_eq!(answer.await.unwrap_err().status().as_u16(), 500);
    }

    #[test]
    fn other_requests_have_no_one_to_lose() {
        assert!(!Waiting::default().has_ended());
    }
}
