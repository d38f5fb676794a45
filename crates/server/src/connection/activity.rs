//! Tracks the requests of one connection: whether it is idle, and whether its client reads the responses.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// Answers that are not taken are counted by the time at which they were given, in so many
/// intervals, the oldest of which are overdue.
const INTERVALS: usize = 8;

/// So many intervals are the time that an answer may take.
const INTERVALS_ALLOWED: u64 = 4;

/// How long a client that takes its answers is waited for when its connection is to end.
const TAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Counts the requests of one connection, and when the last one ended.
#[derive(Debug)]
pub(crate) struct Activity {
    begun: Instant,
    /// Requests without an answer.
    working: AtomicUsize,
    /// Answers that the client has not taken.
    sending: AtomicUsize,
    /// Endless answers: they keep a connection from being idle, but do not hold up a stop.
    streams: AtomicUsize,
    /// Milliseconds from `begun` to the last time that an answer, or a part of one, was taken.
    last_taken: AtomicU64,
    /// Bytes came that are part of a request's head.
    is_head_pending: AtomicBool,
    /// What the stream that is being polled has done; its task is the connection's.
    event: AtomicU8,
    /// An answer took too long.
    is_overdue: AtomicBool,
    /// How long an answer may take before a byte of it is taken.
    write_timeout: Duration,
    /// Answers that are not taken, by the interval in which they were given.
    given: [AtomicU32; INTERVALS],
}

/// What a stream does that concerns its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// Its answer was given.
    Answered,
    /// A part of its answer was handed on.
    Progress,
}

/// A request that is not done; dropped when its answer was taken, or given up.
#[derive(Debug)]
pub(crate) struct InFlight {
    activity: Arc<Activity>,
    phase: Phase,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Working,
    /// The interval in which a small answer was given; large ones have a time of their own.
    Sending(Option<usize>),
    Stream,
}

impl Activity {
    /// A connection that begins now.
    pub(crate) fn new(write_timeout: Duration) -> Arc<Self> {
        Arc::new(Self {
            begun: Instant::now(),
            working: AtomicUsize::new(0),
            sending: AtomicUsize::new(0),
            streams: AtomicUsize::new(0),
            last_taken: AtomicU64::new(0),
            is_head_pending: AtomicBool::new(false),
            event: AtomicU8::new(0),
            is_overdue: AtomicBool::new(false),
            write_timeout,
            given: std::array::from_fn(|_| AtomicU32::new(0)),
        })
    }

    /// Begins a request: its head has come.
    pub(crate) fn begin(self: &Arc<Self>) -> InFlight {
        self.is_head_pending.store(false, Ordering::Release);
        self.working.fetch_add(1, Ordering::AcqRel);
        InFlight { activity: Arc::clone(self), phase: Phase::Working }
    }

    /// Takes note of bytes that arrived: between requests they are part of a head.
    pub(crate) fn bytes_arrived(&self) {
        if self.working.load(Ordering::Acquire) == 0 {
            self.is_head_pending.store(true, Ordering::Release);
        }
    }

    /// Whether a head has begun and not ended.
    pub(crate) fn is_head_pending(&self) -> bool {
        self.is_head_pending.load(Ordering::Acquire)
    }

    /// Whether there are endless answers.
    pub(crate) fn has_streams(&self) -> bool {
        self.streams.load(Ordering::Acquire) > 0
    }

    /// Whether there are answers that the client has not taken.
    pub(crate) fn is_sending(&self) -> bool {
        self.sending.load(Ordering::Acquire) > 0
    }

    /// Takes note of a part of an answer that is on its way.
    pub(crate) fn progress(&self) {
        self.event.store(Event::Progress as u8 + 1, Ordering::Release);
        self.taken_now();
    }

    /// What happened since the last call.
    pub(crate) fn take_event(&self) -> Option<Event> {
        match self.event.load(Ordering::Acquire) {
            0 => None,
            event => {
                self.event.store(0, Ordering::Release);
                let answered = event == Event::Answered as u8 + 1;
                Some(if answered { Event::Answered } else { Event::Progress })
            }
        }
    }

    /// Takes note of an answer that took too long.
    pub(crate) fn set_overdue(&self) {
        self.is_overdue.store(true, Ordering::Release);
    }

    /// Whether an answer took too long: the connection is to end.
    pub(crate) fn is_overdue(&self) -> bool {
        self.is_overdue.load(Ordering::Acquire) || self.has_old_answer()
    }

    /// For how long there was neither a request nor an endless answer; `None` if there is one.
    pub(crate) fn idle(&self) -> Option<Duration> {
        let counters = [&self.working, &self.sending, &self.streams];
        let is_idle = counters.iter().all(|counter| counter.load(Ordering::Acquire) == 0);
        is_idle.then(|| self.since_taken())
    }

    /// Returns once the connection was idle for `limit`, or an answer took too long.
    pub(crate) async fn idle_for(&self, limit: Duration) {
        loop {
            let idle = self.idle();
            if self.is_overdue() || idle.is_some_and(|idle| idle >= limit) {
                return;
            }
            let left = idle.map_or(limit, |idle| limit.saturating_sub(idle));
            tokio::time::sleep(left.min(self.interval())).await;
        }
    }

    /// Returns when a connection that is to end may: requests are answered, and for `quiet` the client
    /// has taken nothing of the answers that are left.
    pub(crate) async fn done(&self, quiet: Duration) {
        let mut answered = None;
        loop {
            let now = Instant::now();
            if self.working.load(Ordering::Acquire) > 0 {
                answered = None;
            } else {
                let answered = *answered.get_or_insert(now);
                let quiet_since = self.begun + self.last_taken();
                if now >= quiet_since.max(answered) + quiet || now >= answered + TAKE_TIMEOUT {
                    return;
                }
            }
            tokio::time::sleep(quiet / 8).await;
        }
    }

    fn last_taken(&self) -> Duration {
        Duration::from_millis(self.last_taken.load(Ordering::Acquire))
    }

    fn since_taken(&self) -> Duration {
        self.begun.elapsed().saturating_sub(self.last_taken())
    }

    fn taken_now(&self) {
        self.last_taken.fetch_max(millis(self.begun.elapsed()), Ordering::AcqRel);
    }

    fn interval(&self) -> Duration {
        self.write_timeout / u32::try_from(INTERVALS_ALLOWED).unwrap_or(1)
    }

    fn interval_number(&self, at: Instant) -> u64 {
        millis(at.saturating_duration_since(self.begun)) / millis(self.interval()).max(1)
    }

    /// Whether one of the answers that are not taken was given too long ago.
    fn has_old_answer(&self) -> bool {
        if self.sending.load(Ordering::Acquire) == 0 {
            return false;
        }
        let now = self.interval_number(Instant::now());
        // How many intervals ago a slot was the present one.
        let age = |index: usize| (now + INTERVALS as u64 - index as u64) % INTERVALS as u64;
        let mut old =
            self.given.iter().enumerate().filter(|(index, _)| age(*index) > INTERVALS_ALLOWED);
        old.any(|(_, count)| count.load(Ordering::Acquire) > 0)
    }
}

/// The slot of an interval.
fn slot(number: u64) -> usize {
    usize::try_from(number % INTERVALS as u64).unwrap_or(0)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl InFlight {
    /// The answer has no end of its own.
    pub(crate) fn into_stream(mut self) -> Self {
        self.activity.streams.fetch_add(1, Ordering::AcqRel);
        self.leave_phase();
        self.phase = Phase::Stream;
        self
    }

    /// The answer was given at that time. The time of a large one is limited where it is sent.
    pub(crate) fn into_answer(mut self, is_large: bool, given: Instant) -> Self {
        let slot = (!is_large).then(|| slot(self.activity.interval_number(given)));
        if let Some(count) = slot.and_then(|slot| self.activity.given.get(slot)) {
            count.fetch_add(1, Ordering::AcqRel);
        }
        self.activity.sending.fetch_add(1, Ordering::AcqRel);
        self.leave_phase();
        self.phase = Phase::Sending(slot);
        self.activity.event.store(Event::Answered as u8 + 1, Ordering::Release);
        self
    }

    /// The connection's activity.
    pub(crate) fn activity(&self) -> &Arc<Activity> {
        &self.activity
    }

    fn leave_phase(&self) {
        let counter = match self.phase {
            Phase::Working => &self.activity.working,
            Phase::Stream => &self.activity.streams,
            Phase::Sending(slot) => {
                if let Some(count) = slot.and_then(|slot| self.activity.given.get(slot)) {
                    count.fetch_sub(1, Ordering::AcqRel);
                }
                &self.activity.sending
            }
        };
        counter.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.activity.taken_now();
        self.leave_phase();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(16);
    const IDLE: Duration = Duration::from_secs(90);

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_when_its_answers_were_taken() {
        let activity = Activity::new(TIMEOUT);
        let request = activity.begin();
        assert_eq!(activity.idle(), None);
        let answer = request.into_answer(false, Instant::now());
        assert_eq!(activity.idle(), None);
        drop(answer);
        tokio::time::advance(IDLE).await;
        assert_eq!(activity.idle(), Some(IDLE));
        activity.idle_for(IDLE).await;
        assert!(!activity.is_overdue());
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_not_taken_is_overdue_however_many_others_are() {
        let activity = Activity::new(TIMEOUT);
        let stuck = activity.begin().into_answer(false, Instant::now());
        let mut seconds = 0;
        while !activity.is_overdue() {
            drop(activity.begin().into_answer(false, Instant::now()));
            tokio::time::advance(Duration::from_secs(1)).await;
            seconds += 1;
        }
        assert!((16..=21).contains(&seconds), "{seconds}");
        activity.idle_for(IDLE).await;
        drop(stuck);
        assert!(!activity.is_overdue());
    }

    #[tokio::test(start_paused = true)]
    async fn large_answers_and_streams_have_times_of_their_own() {
        let activity = Activity::new(TIMEOUT);
        let answers =
            (activity.begin().into_answer(true, Instant::now()), activity.begin().into_stream());
        tokio::time::advance(TIMEOUT * 3).await;
        assert!(!activity.is_overdue() && activity.has_streams());
        assert_eq!(activity.idle(), None);
        activity.set_overdue();
        assert!(activity.is_overdue());
        drop(answers);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_waits_for_work_and_not_for_answers_that_no_one_takes() {
        let quiet = Duration::from_secs(3);
        let activity = Activity::new(TIMEOUT);
        let (work, _stuck) =
            (activity.begin(), activity.begin().into_answer(false, Instant::now()));
        let _stream = activity.begin().into_stream();
        let done = activity.done(quiet);
        assert!(tokio::time::timeout(Duration::from_secs(25), done).await.is_err());
        drop(work);
        let begun = Instant::now();
        activity.done(quiet).await;
        assert!(begun.elapsed() <= quiet * 2);
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_stream_did_is_reported_once() {
        let activity = Activity::new(TIMEOUT);
        let answer = activity.begin().into_answer(true, Instant::now());
        assert_eq!(activity.take_event(), Some(Event::Answered));
        assert_eq!(activity.take_event(), None);
        answer.activity().progress();
        assert_eq!(activity.take_event(), Some(Event::Progress));
    }
}
