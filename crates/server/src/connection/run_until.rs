//! Runs a future until another one ends, and polls that one only when it was woken itself
//! (docs/performance.md).

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;

/// Runs `work` to its end, or until `cancelled` is ready; then returns `None`.
///
/// In a `select!` both futures are polled at each wake. Here a wake of `work` does not poll `cancelled`,
/// which holds timers. On HTTP/1.1 the CPU time is 1.4 instead of 1.8 times that of the baseline server.
pub(crate) fn run_until_cancelled<T>(
    mut cancelled: Pin<&mut impl Future<Output = ()>>,
    mut work: Pin<&mut impl Future<Output = T>>,
) -> impl Future<Output = Option<T>> {
    let flag = Arc::new(WakeFlag { is_set: AtomicBool::new(true), task: AtomicWaker::new() });
    let waker = Waker::from(Arc::clone(&flag));
    poll_fn(move |cx| {
        flag.task.register(cx.waker());
        if flag.is_set.swap(false, Ordering::AcqRel)
            && cancelled.as_mut().poll(&mut Context::from_waker(&waker)).is_ready()
        {
            return Poll::Ready(None);
        }
        work.as_mut().poll(cx).map(Some)
    })
}

/// Wakes the task and records that `cancelled` has to be polled.
#[derive(Debug)]
struct WakeFlag {
    is_set: AtomicBool,
    task: AtomicWaker,
}

impl Wake for WakeFlag {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_set.store(true, Ordering::Release);
        self.task.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::pending;
    use std::pin::pin;
    use std::time::Duration;

    use futures_util::poll;
    use tokio::sync::Notify;
    use tokio_util::task::TaskTracker;

    use super::*;

    #[tokio::test]
    async fn cancelled_is_polled_at_first_and_when_it_was_woken() {
        let (polls, cancelled, more) = (Cell::new(0), Notify::new(), Notify::new());
        let mut ended = pin!(cancelled.notified());
        let counted = poll_fn(|cx| {
            polls.set(polls.get() + 1);
            ended.as_mut().poll(cx)
        });
        let work = async {
            loop {
                more.notified().await;
            }
        };
        let (counted, work) = (pin!(counted), pin!(work));
        let mut run = Box::pin(run_until_cancelled::<()>(counted, work));
        for _ in 0..3 {
            assert!(poll!(&mut run).is_pending());
            more.notify_one();
        }
        assert_eq!(polls.get(), 1);
        cancelled.notify_one();
        assert_eq!(run.await, None);
        assert_eq!(polls.get(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn cancelled_wakes_the_task() {
        let (cancelled, tasks) = (Arc::new(Notify::new()), TaskTracker::new());
        let ended = Arc::clone(&cancelled);
        let task = tasks.spawn(async move {
            run_until_cancelled(pin!(ended.notified()), pin!(pending::<()>())).await
        });
        tokio::task::yield_now().await;
        cancelled.notify_one();
        let ended = tokio::time::timeout(Duration::from_secs(1), task).await;
        assert_eq!(ended.unwrap().unwrap(), None);
    }

    #[tokio::test]
    async fn work_that_is_done_is_not_waited_for() {
        assert_eq!(run_until_cancelled(pin!(pending()), pin!(async { 5 })).await, Some(5));
        assert_eq!(run_until_cancelled(pin!(async {}), pin!(pending::<()>())).await, None);
    }
}
