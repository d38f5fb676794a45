//! Runs an h2 connection and its streams in one task, so that responses share a write
//! (docs/performance.md).
//!
//! hyper passes each stream to an executor. If the executor spawns a task for each, every response wakes
//! the connection, which then writes that response alone. Here the connection's task polls all streams that are
//! ready before it polls the connection, so their responses are written at once, and nothing is
//! scheduled, moved to another thread or locked between them.
//!
//! In return a connection uses one processor at a time, for [`TIME_MAX`] before it yields, and its streams
//! end with it. Changes of keys run in tasks of their own.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::stream::{FuturesUnordered, Stream as _};
use futures_util::task::AtomicWaker;
use hyper::rt::Executor;
use kes_types::lock;
use tokio::time::Instant;

use crate::connection::activity::Activity;
use crate::connection::timed_stream::{ResponseTimes, Stream, TimedStream};

/// How often the connection and its streams are polled before the task yields.
const ROUNDS_MAX: usize = 16;

/// How long streams are polled before the task yields. It is checked after each stream: streams with large
/// bodies take milliseconds each, and there may be hundreds; a hundred small ones take less.
const TIME_MAX: Duration = Duration::from_millis(2);

/// Collects the streams that a connection has begun and that were not polled yet.
#[derive(Clone, Default)]
pub(crate) struct NewStreams(Arc<Mutex<Vec<Stream>>>);

impl NewStreams {
    /// Moves the streams to the end of `ready`.
    fn take(&self, ready: &mut VecDeque<Stream>) {
        ready.extend(lock(&self.0).drain(..));
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for NewStreams {
    /// Adds a stream. A panic ends only this stream, because the others are other requests.
    fn execute(&self, stream: F) {
        let stream = AssertUnwindSafe(stream).catch_unwind().map(|end| {
            if end.is_err() {
                tracing::error!("a stream of a connection panicked and was reset");
            }
        });
        lock(&self.0).push(Box::pin(stream));
    }
}

/// Runs a connection with the streams that it passes to its [`NewStreams`]; they end with it.
pub(crate) struct Multiplexed<C> {
    connection: C,
    begun: NewStreams,
    /// Streams that are to be polled for the first time.
    ready: VecDeque<Stream>,
    /// Streams that were polled and are pending.
    pending: FuturesUnordered<TimedStream>,
    activity: Arc<Activity>,
    times: ResponseTimes,
    signal: Arc<Signal>,
    /// The waker of the connection and its streams, made of `signal`.
    waker: Waker,
}

impl<C> Multiplexed<C> {
    pub(crate) fn new(
        connection: C,
        begun: NewStreams,
        activity: Arc<Activity>,
        times: ResponseTimes,
    ) -> Self {
        let signal = Arc::new(Signal::default());
        let waker = Waker::from(Arc::clone(&signal));
        let (ready, pending) = (VecDeque::new(), FuturesUnordered::new());
        Self { connection, begun, ready, pending, activity, times, signal, waker }
    }

    /// Returns the connection without its streams.
    pub(crate) fn connection(&mut self) -> &mut C {
        &mut self.connection
    }

    /// Polls the streams that were begun or woken. Returns whether all were polled before `until`.
    fn run_streams(&mut self, until: Instant, cx: &mut Context<'_>) -> bool {
        self.begun.take(&mut self.ready);
        while let Some(mut stream) = self.ready.pop_front() {
            // Most streams end at the first poll. Others are polled once more among the pending ones,
            // and after that when they are woken.
            if stream.as_mut().poll(cx).is_pending() {
                let (activity, times) = (Arc::clone(&self.activity), self.times);
                self.pending.push(TimedStream::new(stream, activity, times));
            } else {
                // Discards the event of the stream that has ended.
                self.activity.take_event();
            }
            if Instant::now() >= until {
                return false;
            }
        }
        while let Poll::Ready(Some(())) = Pin::new(&mut self.pending).poll_next(cx) {
            if Instant::now() >= until {
                return false;
            }
        }
        true
    }
}

impl<C> Drop for Multiplexed<C> {
    /// Drops the streams that were not polled: each holds a clone of [`NewStreams`], so there would be a
    /// reference cycle.
    fn drop(&mut self) {
        let mut unpolled = VecDeque::new();
        self.begun.take(&mut unpolled);
    }
}

impl<C: Future + Unpin> Future for Multiplexed<C> {
    type Output = C::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<C::Output> {
        let this = &mut *self;
        this.signal.task.register(cx.waker());
        let waker = this.waker.clone();
        let mut inner = Context::from_waker(&waker);
        let until = Instant::now() + TIME_MAX;
        for _ in 0..ROUNDS_MAX {
            this.signal.begin();
            if let Poll::Ready(end) = Pin::new(&mut this.connection).poll(&mut inner) {
                return Poll::Ready(end);
            }
            if !this.run_streams(until, &mut inner) {
                break;
            }
            if this.signal.is_quiet() {
                return Poll::Pending;
            }
        }
        // Yields to other tasks. The connection is polled first when the task runs again, and writes the
        // responses.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Wakes the task, unless it is running: then the task does one more round by itself.
#[derive(Debug, Default)]
struct Signal {
    task: AtomicWaker,
    state: AtomicU8,
}

const WAITING: u8 = 0;
const RUNNING: u8 = 1;
const WOKEN: u8 = 2;

impl Signal {
    fn begin(&self) {
        self.state.store(RUNNING, Ordering::Release);
    }

    /// Returns whether there was no wake since [`Self::begin`]; then the next wake wakes the task.
    fn is_quiet(&self) -> bool {
        let (ok, failed) = (Ordering::AcqRel, Ordering::Acquire);
        self.state.compare_exchange(RUNNING, WAITING, ok, failed).is_ok()
    }
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.state.swap(WOKEN, Ordering::AcqRel) == WAITING {
            self.task.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, poll_fn};
    use std::sync::atomic::AtomicUsize;

    use futures_util::poll;
    use tokio::sync::Notify;
    use tokio_util::task::TaskTracker;

    use super::*;

    const TIMES: ResponseTimes =
        ResponseTimes { part: Duration::from_secs(15), whole: Duration::from_mins(1) };

    fn multiplexed<C>(connection: C, begun: NewStreams) -> Multiplexed<C> {
        Multiplexed::new(connection, begun, Activity::new(TIMES.part), TIMES)
    }

    /// A connection that begins `streams` at its first poll, is woken by each of their responses, counts
    /// the responses at each poll, and ends with the last one.
    fn connection(
        streams: usize,
        proceed: Arc<Notify>,
    ) -> (Multiplexed<impl Future<Output = Vec<usize>> + Unpin>, Arc<AtomicUsize>) {
        let (begun, responded) = (NewStreams::default(), Arc::new(AtomicUsize::new(0)));
        let (executor, found) = (begun.clone(), Arc::clone(&responded));
        let (mut counts, waker) = (Vec::new(), Arc::new(AtomicWaker::new()));
        let connection = poll_fn(move |cx| {
            waker.register(cx.waker());
            if counts.is_empty() {
                for number in 0..streams {
                    let (proceed, found) = (Arc::clone(&proceed), Arc::clone(&found));
                    let waker = Arc::clone(&waker);
                    executor.execute(async move {
                        if number > 0 {
                            proceed.notified().await;
                        }
                        found.fetch_add(1, Ordering::SeqCst);
                        waker.wake();
                    });
                }
            }
            counts.push(found.load(Ordering::SeqCst));
            if counts.last() == Some(&streams) {
                Poll::Ready(std::mem::take(&mut counts))
            } else {
                Poll::Pending
            }
        });
        (multiplexed(connection, begun), responded)
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_polled_once_for_all_responses_that_are_ready() {
        let proceed = Arc::new(Notify::new());
        let (connection, _) = connection(4, Arc::clone(&proceed));
        let mut connection = Box::pin(connection);
        assert!(poll!(&mut connection).is_pending());
        proceed.notify_waiters();
        // It begins, then finds the response that did not wait, then the other three at once.
        assert_eq!(connection.await, [0, 1, 1, 4]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pending_stream_wakes_the_task() {
        let proceed = Arc::new(Notify::new());
        let (connection, responded) = connection(2, Arc::clone(&proceed));
        let end = TaskTracker::new().spawn(connection);
        while responded.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        proceed.notify_one();
        let end = tokio::time::timeout(Duration::from_secs(1), end).await;
        assert_eq!(end.unwrap().unwrap().last(), Some(&2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_is_always_ready_yields() {
        let polls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&polls);
        let busy = poll_fn(move |cx| {
            counted.fetch_add(1, Ordering::SeqCst);
            cx.waker().wake_by_ref();
            Poll::<()>::Pending
        });
        let mut connection = Box::pin(multiplexed(busy, NewStreams::default()));
        assert!(poll!(&mut connection).is_pending());
        assert_eq!(polls.load(Ordering::SeqCst), ROUNDS_MAX);
        assert!(poll!(&mut connection).is_pending());
        assert_eq!(polls.load(Ordering::SeqCst), 2 * ROUNDS_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn the_task_yields_between_streams_that_take_long() {
        let (begun, ran) = (NewStreams::default(), Arc::new(AtomicUsize::new(0)));
        for _ in 0..10 {
            let ran = Arc::clone(&ran);
            begun.execute(async move {
                ran.fetch_add(1, Ordering::SeqCst);
                // The clock is paused; this advances it immediately.
                let _ = poll!(Box::pin(tokio::time::advance(TIME_MAX)));
            });
        }
        let mut connection = Box::pin(multiplexed(std::future::pending::<()>(), begun));
        for round in 1..=5 {
            assert!(poll!(&mut connection).is_pending());
            assert_eq!(ran.load(Ordering::SeqCst), round);
        }
        // It wakes its task itself.
        let task = TaskTracker::new().spawn(connection);
        let all = async {
            while ran.load(Ordering::SeqCst) < 10 {
                tokio::time::sleep(TIME_MAX).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(1), all).await.unwrap();
        task.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_ends_only_its_stream() {
        let proceed = Arc::new(Notify::new());
        let (connection, responded) = connection(3, Arc::clone(&proceed));
        connection.begun.execute(async { panic!("in a stream") });
        let mut connection = Box::pin(connection);
        assert!(poll!(&mut connection).is_pending());
        proceed.notify_waiters();
        assert_eq!(connection.await.last(), Some(&3));
        assert_eq!(responded.load(Ordering::SeqCst), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn streams_that_were_not_polled_end_with_their_connection() {
        let (begun, held) = (NewStreams::default(), Arc::new(()));
        let (executor, kept) = (begun.clone(), Arc::clone(&held));
        // As hyper's streams do, this one holds the executor that it was passed to.
        let held_executor = executor.clone();
        let connection = poll_fn(move |_| {
            let (held_executor, kept) = (held_executor.clone(), Arc::clone(&kept));
            executor.execute(async move { drop((held_executor, kept)) });
            Poll::Ready(())
        });
        multiplexed(connection, begun).await;
        assert_eq!(Arc::strong_count(&held), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn streams_end_with_their_connection() {
        let proceed = Arc::new(Notify::new());
        let (connection, responded) = connection(3, Arc::clone(&proceed));
        let mut connection = Box::pin(connection);
        assert!(poll!(&mut connection).is_pending());
        // One is here, one in the connection, and two in the pending streams.
        assert_eq!(Arc::strong_count(&responded), 4);
        drop(connection);
        assert_eq!(Arc::strong_count(&responded), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_ends_when_its_response_is_not_read_or_read_too_slowly() {
        let activity = Activity::new(TIMES.part);
        let begun = NewStreams::default();
        let (held, other) = (Arc::new(()), Arc::clone(&activity));
        for is_slow in [true, false] {
            let (activity, held) = (Arc::clone(&other), Arc::clone(&held));
            begun.execute(async move {
                let (response, held) = (activity.begin().into_sending(true, Instant::now()), held);
                loop {
                    tokio::time::sleep(TIMES.part / 2).await;
                    if is_slow {
                        response.activity().progress();
                    }
                    assert!(Arc::strong_count(&held) > 1);
                }
            });
        }
        let connection = pending::<()>();
        let multiplexed = Multiplexed::new(connection, begun, Arc::clone(&activity), TIMES);
        let task = TaskTracker::new().spawn(multiplexed);
        tokio::time::sleep(TIMES.part * 9 / 10).await;
        assert_eq!((Arc::strong_count(&held), activity.is_overdue()), (3, false));
        tokio::time::sleep(TIMES.part / 5).await;
        assert_eq!((Arc::strong_count(&held), activity.is_overdue()), (2, true));
        tokio::time::sleep(TIMES.whole).await;
        assert_eq!(Arc::strong_count(&held), 1);
        task.abort();
    }
}
