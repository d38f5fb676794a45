//! Work that is heavy while it runs, a few pieces at a time.
//!
//! A handshake is some hundred microseconds of arithmetic between waits for the client. When a thousand
//! clients come at once, those of them that could go on would stand in the runtime's queue all
//! together, and every request of a connection that exists behind them. In a lane no more of them
//! stand in that queue than there are processors; a client that is waited for stands nowhere.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::ready;

use tokio::sync::Semaphore;
use tokio_util::sync::PollSemaphore;

/// A lane for so many at a time.
#[derive(Clone, Debug)]
pub(crate) struct Lane(Arc<Semaphore>);

impl Lane {
    pub(crate) fn new(width: usize) -> Self {
        Self(Arc::new(Semaphore::new(width.max(1))))
    }

    /// Runs `work` to its end; each time it can go on it waits for its turn.
    pub(crate) async fn run<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        let mut turns = PollSemaphore::new(Arc::clone(&self.0));
        poll_fn(move |cx| {
            // Held while `work` runs and not while it waits. The semaphore is never closed.
            let _turn = ready!(turns.poll_acquire(cx));
            work.as_mut().poll(cx)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use futures_util::poll;

    use super::*;

    #[tokio::test]
    async fn who_waits_for_something_else_is_in_nobodys_way() {
        let lane = Lane::new(1);
        let mut stuck = Box::pin(lane.run(pending::<()>()));
        assert!(poll!(&mut stuck).is_pending());
        assert_eq!(lane.run(async { 5 }).await, 5);
    }

    #[tokio::test]
    async fn no_more_than_the_width_run_at_a_time() {
        let lane = Lane::new(1);
        let turn = lane.0.acquire().await.unwrap();
        let mut next = Box::pin(lane.run(async {}));
        assert!(poll!(&mut next).is_pending());
        drop(turn);
        next.await;
    }
}
