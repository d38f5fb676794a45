//! Work that something else may end.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;

/// Runs `work` until it is done, or `end` is. Unlike in a `select!` whatever `work` is woken for
/// costs `end` nothing: it is polled when it was woken itself.
pub(crate) fn unless<T>(
    mut end: Pin<&mut impl Future<Output = ()>>,
    mut work: Pin<&mut impl Future<Output = T>>,
) -> impl Future<Output = Option<T>> {
    let bell = Arc::new(Bell { has_rung: AtomicBool::new(true), task: AtomicWaker::new() });
    let waker = Waker::from(Arc::clone(&bell));
    poll_fn(move |cx| {
        bell.task.register(cx.waker());
        if bell.has_rung.swap(false, Ordering::AcqRel)
            && end.as_mut().poll(&mut Context::from_waker(&waker)).is_ready()
        {
            return Poll::Ready(None);
        }
        work.as_mut().poll(cx).map(Some)
    })
}

/// Wakes the task and remembers for whom.
#[derive(Debug)]
struct Bell {
    has_rung: AtomicBool,
    task: AtomicWaker,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.has_rung.store(true, Ordering::Release);
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
    async fn the_end_is_polled_at_first_and_when_it_was_woken() {
        let (polls, end, more) = (Cell::new(0), Notify::new(), Notify::new());
        let mut ended = pin!(end.notified());
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
        let mut run = Box::pin(unless::<()>(counted, work));
        for _ in 0..3 {
            assert!(poll!(&mut run).is_pending());
            more.notify_one();
        }
        assert_eq!(polls.get(), 1);
        end.notify_one();
        assert_eq!(run.await, None);
        assert_eq!(polls.get(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_wakes_the_task() {
        let (end, tasks) = (Arc::new(Notify::new()), TaskTracker::new());
        let ended = Arc::clone(&end);
        let task =
            tasks.spawn(async move { unless(pin!(ended.notified()), pin!(pending::<()>())).await });
        tokio::task::yield_now().await;
        end.notify_one();
        let ended = tokio::time::timeout(Duration::from_secs(1), task).await;
        assert_eq!(ended.unwrap().unwrap(), None);
    }

    #[tokio::test]
    async fn work_that_is_done_is_not_waited_for() {
        assert_eq!(unless(pin!(pending()), pin!(async { 5 })).await, Some(5));
        assert_eq!(unless(pin!(async {}), pin!(pending::<()>())).await, None);
    }
}
