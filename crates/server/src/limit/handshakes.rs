//! Limits how many TLS handshakes run at once, so that a burst of them does not delay requests, and
//! shares the slots among source prefixes in round robin (docs/performance.md).
//!
//! A handshake is some hundred microseconds of computation between waits for the client. When a thousand clients
//! connect at once, all handshakes that can continue would be in the runtime's queue, and every request of an existing
//! connection behind them. Here no more of them run than there are processors. A handshake that waits for its client
//! holds no slot.
//!
//! New handshakes get slots by source prefix. Those that have begun have slots of their own: what was spent on them is not
//! lost, and their clients have shown that they are there.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Poll, ready};

use kes_fair::{Acquire, FairSemaphore, Share};
use tokio::sync::Semaphore;
use tokio_util::sync::PollSemaphore;

use crate::limit::prefix::Prefix;

/// Hands out the slots of handshakes.
#[derive(Clone, Debug)]
pub(crate) struct HandshakeLimiter {
    new: Arc<FairSemaphore<Prefix>>,
    begun: Arc<Semaphore>,
}

impl HandshakeLimiter {
    /// Runs at most `width` new handshakes and as many begun ones at a time.
    pub(crate) fn new(width: usize) -> Self {
        let width = width.max(1);
        // How many wait is limited where connections are admitted.
        let new = FairSemaphore::new(width, Share::All, usize::MAX);
        Self { new, begun: Arc::new(Semaphore::new(width)) }
    }

    /// Waits for a slot, then begins work and runs it to its end; for each further poll it waits for a slot again.
    /// `begin` may return that there is nothing to do any more.
    pub(crate) async fn run<F: Future>(
        &self,
        prefix: Prefix,
        begin: impl FnOnce() -> Option<F>,
    ) -> Option<F::Output> {
        let mut work = pin!(None);
        // The number of those that wait is not limited, so this is never refused.
        let mut first: Option<Acquire<Prefix>> = self.new.acquire(&prefix, 1).ok();
        let mut begin = Some(begin);
        let mut again = PollSemaphore::new(Arc::clone(&self.begun));
        poll_fn(move |cx| {
            // Held while `work` runs and not while it waits.
            let _slot = match &mut first {
                Some(acquire) => HandshakeSlot::New(ready!(Pin::new(acquire).poll(cx))),
                // The semaphore is never closed.
                None => HandshakeSlot::Begun(ready!(again.poll_acquire(cx))),
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

/// A slot; released when dropped.
#[expect(dead_code, reason = "held while the handshake is polled")]
enum HandshakeSlot {
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
    async fn one_that_waits_for_its_client_takes_no_turn() {
        let turns = HandshakeLimiter::new(1);
        let mut stuck = Box::pin(turns.run(prefix(1), || Some(pending::<()>())));
        assert!(poll!(&mut stuck).is_pending());
        assert_eq!(turns.run(prefix(1), || Some(async { 5 })).await, Some(5));
    }

    #[tokio::test]
    async fn no_more_than_the_width_begin_at_a_time_and_prefixes_take_turns() {
        let turns = HandshakeLimiter::new(1);
        let held = turns.new.acquire(&prefix(1), 1).unwrap().await;
        let run = |last| turns.run(prefix(last), move || Some(ready(last)));
        let mut crowd: Vec<_> = (0..10).map(|_| Box::pin(run(1))).collect();
        for one in &mut crowd {
            assert!(poll!(one).is_pending());
        }
        let mut other = Box::pin(run(2));
        assert!(poll!(&mut other).is_pending());
        drop(held);
        assert!(poll!(&mut crowd[0]).is_ready());
        assert!(poll!(&mut crowd[1]).is_pending());
        assert!(poll!(&mut other).is_ready());
        assert!(poll!(&mut crowd[1]).is_ready());
    }

    #[tokio::test]
    async fn one_that_has_begun_does_not_wait_behind_new_ones() {
        let turns = HandshakeLimiter::new(1);
        let (go, gone) = tokio::sync::oneshot::channel();
        let mut begun = Box::pin(turns.run(prefix(1), || Some(gone)));
        assert!(poll!(&mut begun).is_pending());
        let _held = turns.new.acquire(&prefix(1), 1).unwrap().await;
        go.send(5).unwrap();
        assert_eq!(begun.await, Some(Ok(5)));
    }

    #[tokio::test]
    async fn work_whose_client_has_left_is_not_begun() {
        let turns = HandshakeLimiter::new(1);
        assert_eq!(turns.run(prefix(1), || None::<Ready<u8>>).await, None);
        assert_eq!(turns.run(prefix(1), || Some(ready(5))).await, Some(5));
    }
}
