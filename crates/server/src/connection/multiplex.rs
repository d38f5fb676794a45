//! Runs an h2 connection and its streams in one task (docs/performance.md).
//!
//! hyper hands each stream to an executor. On the runtime's, each answer wakes the connection, which
//! then writes that one answer: a write a request. Here the streams run where their connection
//! does, all that are ready before it is asked to write: their answers share a write, and no
//! stream costs a task.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::stream::{FuturesUnordered, Stream as _};
use hyper::rt::Executor;
use tokio::time::{Instant, Sleep};

use crate::connection::activity::{Activity, Event};
use crate::connection::wake_signal::Signal;

/// How often the connection and its streams are polled before other tasks run.
const ROUNDS_MAX: usize = 16;

/// For how long; streams with large bodies take milliseconds each, and there may be hundreds. Looked
/// at between streams; a hundred small ones take less.
const TIME_MAX: Duration = Duration::from_millis(2);

type Stream = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Streams that a connection has begun and that have not run yet.
#[derive(Clone, Default)]
pub(crate) struct NewStreams(Arc<Mutex<Vec<Stream>>>);

impl NewStreams {
    /// Moves them to the end of `taken`.
    fn take(&self, taken: &mut VecDeque<Stream>) {
        taken.extend(self.0.lock().unwrap_or_else(PoisonError::into_inner).drain(..));
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for NewStreams {
    /// A stream that panics ends alone: its neighbours are other requests.
    fn execute(&self, stream: F) {
        let stream = AssertUnwindSafe(stream).catch_unwind().map(|end| {
            if end.is_err() {
                tracing::error!("a stream of a connection panicked and was reset");
            }
        });
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Box::pin(stream));
    }
}

/// The time that a client may take for an answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AnswerTimes {
    /// The longest time in which nothing of it is taken.
    pub(crate) part: Duration,
    /// The longest time for all of it.
    pub(crate) whole: Duration,
}

/// A stream that waits for something. When its answer is not taken in time it ends, which resets it.
struct Waiting {
    stream: Stream,
    activity: Arc<Activity>,
    times: AnswerTimes,
    /// Once there is an answer: when it has to be taken, and the next part of it.
    answer: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl Waiting {
    /// Sets the timer after the stream was polled.
    fn take_note(&mut self) {
        let Some(event) = self.activity.take_event() else { return };
        let now = Instant::now();
        let next = now + self.times.part;
        match (event, &mut self.answer) {
            (Event::Answered, answer) => {
                let timer = Box::pin(tokio::time::sleep_until(next));
                *answer = Some((now + self.times.whole, timer));
            }
            (Event::Progress, Some((end, timer))) => timer.as_mut().reset(next.min(*end)),
            (Event::Progress, None) => {}
        }
    }
}

impl Future for Waiting {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let end = self.stream.as_mut().poll(cx);
        self.take_note();
        if end.is_ready() {
            return end;
        }
        let Some((_, timer)) = &mut self.answer else { return Poll::Pending };
        if timer.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        self.activity.set_overdue();
        Poll::Ready(())
    }
}

/// Runs a connection with the streams that it gives to its [`NewStreams`]. They end with it.
pub(crate) struct Multiplexed<C> {
    connection: C,
    begun: NewStreams,
    /// Streams that are about to run for the first time.
    taken: VecDeque<Stream>,
    /// Streams that wait for something.
    waiting: FuturesUnordered<Waiting>,
    activity: Arc<Activity>,
    times: AnswerTimes,
    signal: Arc<Signal>,
    /// What the connection and its streams are woken by: `signal`.
    waker: Waker,
}

impl<C> Multiplexed<C> {
    pub(crate) fn new(
        connection: C,
        begun: NewStreams,
        activity: Arc<Activity>,
        times: AnswerTimes,
    ) -> Self {
        let signal = Arc::new(Signal::default());
        let waker = Waker::from(Arc::clone(&signal));
        let (taken, waiting) = (VecDeque::new(), FuturesUnordered::new());
        Self { connection, begun, taken, waiting, activity, times, signal, waker }
    }

    /// The connection itself.
    pub(crate) fn connection(&mut self) -> &mut C {
        &mut self.connection
    }

    /// Polls streams: those that were begun, and those that waited and were woken. Returns whether all of them were
    /// polled before the time was over.
    fn run_streams(&mut self, until: Instant, cx: &mut Context<'_>) -> bool {
        self.begun.take(&mut self.taken);
        while let Some(mut stream) = self.taken.pop_front() {
            // Most are answered at once and need no place among those that wait. Others are polled
            // once more from there, and from then on when they are woken.
            if stream.as_mut().poll(cx).is_pending() {
                let (activity, times) = (Arc::clone(&self.activity), self.times);
                let mut waiting = Waiting { stream, activity, times, answer: None };
                waiting.take_note();
                self.waiting.push(waiting);
            } else {
                // Of a stream that has ended.
                self.activity.take_event();
            }
            if Instant::now() >= until {
                return false;
            }
        }
        while let Poll::Ready(Some(())) = Pin::new(&mut self.waiting).poll_next(cx) {
            if Instant::now() >= until {
                return false;
            }
        }
        true
    }
}

impl<C> Drop for Multiplexed<C> {
    /// Streams that have not run hold what they lie in: they would keep themselves alive.
    fn drop(&mut self) {
        let mut unborn = VecDeque::new();
        self.begun.take(&mut unborn);
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
        // The rest later; what was answered is written first.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, poll_fn};
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::poll;
    use futures_util::task::AtomicWaker;
    use tokio::sync::Notify;
    use tokio_util::task::TaskTracker;

    use super::*;

    const TIMES: AnswerTimes =
        AnswerTimes { part: Duration::from_secs(15), whole: Duration::from_mins(1) };

    fn multiplexed<C>(connection: C, begun: NewStreams) -> Multiplexed<C> {
        Multiplexed::new(connection, begun, Activity::new(TIMES.part), TIMES)
    }

    /// A connection that begins `streams` when it is first polled, is woken by each of their answers,
    /// counts the answers that it finds each time, and ends with the last of them.
    fn connection(
        streams: usize,
        answer: Arc<Notify>,
    ) -> (Multiplexed<impl Future<Output = Vec<usize>> + Unpin>, Arc<AtomicUsize>) {
        let (begun, answered) = (NewStreams::default(), Arc::new(AtomicUsize::new(0)));
        let (executor, found) = (begun.clone(), Arc::clone(&answered));
        let (mut counts, waker) = (Vec::new(), Arc::new(AtomicWaker::new()));
        let connection = poll_fn(move |cx| {
            waker.register(cx.waker());
            if counts.is_empty() {
                for number in 0..streams {
                    let (answer, found) = (Arc::clone(&answer), Arc::clone(&found));
                    let waker = Arc::clone(&waker);
                    executor.execute(async move {
                        if number > 0 {
                            answer.notified().await;
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
        (multiplexed(connection, begun), answered)
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_polled_once_for_all_that_its_streams_have_answered() {
        let answer = Arc::new(Notify::new());
        let (connection, _) = connection(4, Arc::clone(&answer));
        let mut connection = Box::pin(connection);
        assert!(poll!(&mut connection).is_pending());
        answer.notify_waiters();
        // It begins, sees the one that did not wait, then the other three at once.
        assert_eq!(connection.await, [0, 1, 1, 4]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_waits_wakes_the_task_when_it_goes_on() {
        let answer = Arc::new(Notify::new());
        let (connection, answered) = connection(2, Arc::clone(&answer));
        let end = TaskTracker::new().spawn(connection);
        while answered.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        answer.notify_one();
        let end = tokio::time::timeout(Duration::from_secs(1), end).await;
        assert_eq!(end.unwrap().unwrap().last(), Some(&2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_never_rests_lets_others_run() {
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
    async fn streams_that_take_long_run_a_few_at_a_time() {
        let (begun, ran) = (NewStreams::default(), Arc::new(AtomicUsize::new(0)));
        for _ in 0..10 {
            let ran = Arc::clone(&ran);
            begun.execute(async move {
                ran.fetch_add(1, Ordering::SeqCst);
                // The clock stands still but for this, which moves it at once.
                let _ = poll!(Box::pin(tokio::time::advance(TIME_MAX)));
            });
        }
        let mut connection = Box::pin(multiplexed(std::future::pending::<()>(), begun));
        for turn in 1..=5 {
            assert!(poll!(&mut connection).is_pending());
            assert_eq!(ran.load(Ordering::SeqCst), turn);
        }
        // It asks for its next turn itself.
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
    async fn a_stream_that_panics_ends_alone() {
        let answer = Arc::new(Notify::new());
        let (connection, answered) = connection(3, Arc::clone(&answer));
        connection.begun.execute(async { panic!("in a stream") });
        let mut connection = Box::pin(connection);
        assert!(poll!(&mut connection).is_pending());
        answer.notify_waiters();
        assert_eq!(connection.await.last(), Some(&3));
        assert_eq!(answered.load(Ordering::SeqCst), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn streams_that_never_ran_end_with_their_connection_too() {
        let (begun, held) = (NewStreams::default(), Arc::new(()));
        let (executor, kept) = (begun.clone(), Arc::clone(&held));
        // As hyper's do, the stream holds the executor that it was given to.
        let own = executor.clone();
        let connection = poll_fn(move |_| {
            let (own, kept) = (own.clone(), Arc::clone(&kept));
            executor.execute(async move { drop((own, kept)) });
            Poll::Ready(())
        });
        multiplexed(connection, begun).await;
        assert_eq!(Arc::strong_count(&held), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn streams_end_with_their_connection() {
        let answer = Arc::new(Notify::new());
        let (connection, answered) = connection(3, Arc::clone(&answer));
        let mut connection = Box::pin(connection);
        assert!(poll!(&mut connection).is_pending());
        // Here, in the connection, and in the two that wait.
        assert_eq!(Arc::strong_count(&answered), 4);
        drop(connection);
        assert_eq!(Arc::strong_count(&answered), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_whose_answer_is_not_taken_ends_and_so_does_one_that_trickles() {
        let activity = Activity::new(TIMES.part);
        let begun = NewStreams::default();
        let (held, other) = (Arc::new(()), Arc::clone(&activity));
        for is_slow in [true, false] {
            let (activity, held) = (Arc::clone(&other), Arc::clone(&held));
            begun.execute(async move {
                let (answer, held) = (activity.begin().into_answer(true, Instant::now()), held);
                loop {
                    tokio::time::sleep(TIMES.part / 2).await;
                    if is_slow {
                        answer.activity().progress();
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
