//! Limits how many TLS handshakes run at once, so that a burst does not delay requests.
//!
//! A handshake computes for some hundred microseconds and then waits for its client. If a thousand
//! clients connect at once, all handshakes that can continue are in the runtime's queue together, and
//! the requests of established connections wait behind them. Therefore no more handshakes are polled
//! at once than there are processors. A handshake that waits for its client holds no permit.
//!
//! New handshakes get permits in round robin by source prefix. Handshakes that have begun have permits
//! of their own, so they do not wait behind new ones: the work that was done for them is not lost, and
//! their clients have proved that they respond.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Poll, ready};

use kes_fair::{Acquire, FairSemaphore, Share};
use tokio::sync::Semaphore;
use tokio_util::sync::PollSemaphore;

use crate::limit::prefix::Prefix;

/// Limits how many handshakes are polled at once.
#[derive(Clone, Debug)]
pub(crate) struct HandshakeLimiter {
    new: Arc<FairSemaphore<Prefix>>,
    begun: Arc<Semaphore>,
}

impl HandshakeLimiter {
    /// Allows `limit` new handshakes and `limit` begun ones at a time.
    pub(crate) fn new(limit: usize) -> Self {
        let limit = limit.max(1);
        // The number of waiting handshakes is limited by `Admission`.
        let new = FairSemaphore::new(limit, Share::All, usize::MAX);
        Self { new, begun: Arc::new(Semaphore::new(limit)) }
    }

    /// Waits for a permit of the prefix, then begins a handshake and runs it to its end. Each poll needs
    /// a permit. Returns `None` if `begin` finds that the client has disconnected.
    pub(crate) async fn run<F: Future>(
        &self,
        prefix: Prefix,
        begin: impl FnOnce() -> Option<F>,
    ) -> Option<F::Output> {
        let mut work = pin!(None);
        // The number of waiters is not limited, so this is never refused.
        let mut first: Option<Acquire<Prefix>> = self.new.acquire(&prefix, 1).ok();
        let mut begin = Some(begin);
        let mut again = PollSemaphore::new(Arc::clone(&self.begun));
        poll_fn(move |cx| {
            // Held while `work` runs and not while it waits.
            let _permit = match &mut first {
                Some(acquire) => Permit::New(ready!(Pin::new(acquire).poll(cx))),
                // The semaphore is never closed.
                None => Permit::Begun(ready!(again.poll_acquire(cx))),
            };
            first = None;
            if let Some(begin) = begin.take() {
                work.set(begin());
            }
            match work.as_mut().as_pin_mut() {
                Some(work) => work.poll(cx).map(Some),
                None => Poll::Ready(None),
            }
        })
        .await
    }
}

/// A permit of either kind.
#[expect(dead_code, reason = "held, and dropped after the poll")]
enum Permit {
    New(kes_fair::FairPermit<Prefix>),
    Begun(Option<tokio::sync::OwnedSemaphorePermit>),
}

#[cfg(test)]
mod tests {
    use std::future::{Ready, pending, ready};

    use futures_util::poll;

    use super::*;

    fn prefix(last: u8) -> Prefix {
        Prefix::of([192, 0, 2, last].into())
    }

    #[tokio::test]
    async fn a_handshake_that_waits_for_its_client_holds_no_permit() {
        let limiter = HandshakeLimiter::new(1);
        let mut stuck = Box::pin(limiter.run(prefix(1), || Some(pending::<()>())));
        assert!(poll!(&mut stuck).is_pending());
        assert_eq!(limiter.run(prefix(1), || Some(async { 5 })).await, Some(5));
    }

    #[tokio::test]
    async fn new_handshakes_are_limited_and_get_permits_in_round_robin_by_prefix() {
        let limiter = HandshakeLimiter::new(1);
        let held = limiter.new.acquire(&prefix(1), 1).unwrap().await;
        let run = |last| limiter.run(prefix(last), move || Some(ready(last)));
        let mut first: Vec<_> = (0..10).map(|_| Box::pin(run(1))).collect();
        for one in &mut first {
            assert!(poll!(one).is_pending());
        }
        let mut other = Box::pin(run(2));
        assert!(poll!(&mut other).is_pending());
        drop(held);
        assert!(poll!(&mut first[0]).is_ready());
        assert!(poll!(&mut first[1]).is_pending());
        assert!(poll!(&mut other).is_ready());
        assert!(poll!(&mut first[1]).is_ready());
    }

    #[tokio::test]
    async fn a_handshake_that_has_begun_does_not_wait_behind_new_ones() {
        let limiter = HandshakeLimiter::new(1);
        let (go, gone) = tokio::sync::oneshot::channel();
        let mut begun = Box::pin(limiter.run(prefix(1), || Some(gone)));
        assert!(poll!(&mut begun).is_pending());
        let _held = limiter.new.acquire(&prefix(1), 1).unwrap().await;
        go.send(5).unwrap();
        assert_eq!(begun.await, Some(Ok(5)));
    }

    #[tokio::test]
    async fn a_handshake_whose_client_has_disconnected_is_not_begun() {
        let limiter = HandshakeLimiter::new(1);
        assert_eq!(limiter.run(prefix(1), || None::<Ready<u8>>).await, None);
        assert_eq!(limiter.run(prefix(1), || Some(ready(5))).await, Some(5));
    }
}
