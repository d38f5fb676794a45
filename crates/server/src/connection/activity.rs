//! Counts the requests of one connection, to know whether it is idle and whether its client reads the
//! responses.
//!
//! An idle connection is closed after a timeout. A connection whose client does not read a response in
//! time is closed as well, because the response holds memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// Number of intervals by which unread responses are counted, according to the time at which they were
/// handed to the connection.
const INTERVALS: usize = 8;

/// Number of intervals after which an unread response is overdue.
const INTERVALS_ALLOWED: u64 = 4;

/// How long a connection that is closing waits for a client that reads its responses.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// Counts the requests of one connection by phase, and records when the last one ended.
#[derive(Debug)]
pub(crate) struct Activity {
    begun: Instant,
    /// Number of requests without a response.
    working: AtomicUsize,
    /// Number of responses that the client has not read.
    sending: AtomicUsize,
    /// Number of endless responses: a connection that has one is not idle, but shutdown does not wait for it.
    streams: AtomicUsize,
    /// Milliseconds from `begun` to the last time that the client read a response or a part of one.
    last_taken: AtomicU64,
    /// Whether a part of a request's head was received.
    is_head_pending: AtomicBool,
    /// The event of the stream that is being polled; it is polled in the connection's task.
    event: AtomicU8,
    /// Whether a response took too long.
    is_overdue: AtomicBool,
    /// How long the client may take before it reads the first byte of a response.
    write_timeout: Duration,
    /// Numbers of unread responses, by the interval in which they were handed to the connection.
    given: [AtomicU32; INTERVALS],
}

/// An event of a stream that sets its timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// Its response was handed to the connection.
    Responded,
    /// A part of its response was written.
    Progress,
}

/// Counts a request until it is dropped: when its response was written, or abandoned.
#[derive(Debug)]
pub(crate) struct InFlight {
    activity: Arc<Activity>,
    phase: Phase,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Working,
    /// The interval in which a small response was handed over; large ones have timers of their own.
    Sending(Option<usize>),
    Stream,
}

impl Activity {
    /// Creates the counters of a connection that begins now.
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

    /// Begins a request whose head was received.
    pub(crate) fn begin(self: &Arc<Self>) -> InFlight {
        self.is_head_pending.store(false, Ordering::Release);
        self.working.fetch_add(1, Ordering::AcqRel);
        InFlight { activity: Arc::clone(self), phase: Phase::Working }
    }

    /// Records that bytes were received; between requests they are part of a head.
    pub(crate) fn bytes_arrived(&self) {
        if self.working.load(Ordering::Acquire) == 0 {
            self.is_head_pending.store(true, Ordering::Release);
        }
    }

    /// Returns whether a head was received in part.
    pub(crate) fn is_head_pending(&self) -> bool {
        self.is_head_pending.load(Ordering::Acquire)
    }

    /// Returns whether there are endless responses.
    pub(crate) fn has_streams(&self) -> bool {
        self.streams.load(Ordering::Acquire) > 0
    }

    /// Returns whether there are responses that the client has not read.
    pub(crate) fn is_sending(&self) -> bool {
        self.sending.load(Ordering::Acquire) > 0
    }

    /// Records that a part of a response was written.
    pub(crate) fn progress(&self) {
        self.event.store(Event::Progress as u8 + 1, Ordering::Release);
        self.taken_now();
    }

    /// Returns the event since the last call.
    pub(crate) fn take_event(&self) -> Option<Event> {
        match self.event.load(Ordering::Acquire) {
            0 => None,
            event => {
                self.event.store(0, Ordering::Release);
                let responded = event == Event::Responded as u8 + 1;
                Some(if responded { Event::Responded } else { Event::Progress })
            }
        }
    }

    /// Records that a response took too long.
    pub(crate) fn set_overdue(&self) {
        self.is_overdue.store(true, Ordering::Release);
    }

    /// Returns whether a response took too long, so that the connection has to end.
    pub(crate) fn is_overdue(&self) -> bool {
        self.is_overdue.load(Ordering::Acquire) || self.has_overdue_response()
    }

    /// Returns for how long the connection has had no requests; `None` if it has one.
    pub(crate) fn idle(&self) -> Option<Duration> {
        let counters = [&self.working, &self.sending, &self.streams];
        let is_idle = counters.iter().all(|counter| counter.load(Ordering::Acquire) == 0);
        is_idle.then(|| self.since_taken())
    }

    /// Returns once the connection was idle for `limit`, or a response took too long.
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

    /// Returns when a closing connection may end: all requests have responses, and the client has read
    /// nothing for `quiet`.
    pub(crate) async fn done(&self, quiet: Duration) {
        let mut responded = None;
        loop {
            let now = Instant::now();
            if self.working.load(Ordering::Acquire) > 0 {
                responded = None;
            } else {
                let responded = *responded.get_or_insert(now);
                let quiet_since = self.begun + self.last_taken();
                if now >= quiet_since.max(responded) + quiet || now >= responded + READ_TIMEOUT {
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

    /// Returns whether an unread response was handed over too long ago.
    fn has_overdue_response(&self) -> bool {
        if self.sending.load(Ordering::Acquire) == 0 {
            return false;
        }
        let now = self.interval_number(Instant::now());
        // How many intervals ago a slot was the current one.
        let age = |index: usize| (now + INTERVALS as u64 - index as u64) % INTERVALS as u64;
        let mut old =
            self.given.iter().enumerate().filter(|(index, _)| age(*index) > INTERVALS_ALLOWED);
        old.any(|(_, count)| count.load(Ordering::Acquire) > 0)
    }
}

/// Returns the index of an interval in `given`.
fn slot(number: u64) -> usize {
    usize::try_from(number % INTERVALS as u64).unwrap_or(0)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl InFlight {
    /// Counts the request as an endless response.
    pub(crate) fn into_stream(mut self) -> Self {
        self.activity.streams.fetch_add(1, Ordering::AcqRel);
        self.leave_phase();
        self.phase = Phase::Stream;
        self
    }

    /// Counts the request as a response that was handed over at `given`. The time of a large one is limited
    /// by the code that writes it.
    pub(crate) fn into_sending(mut self, is_large: bool, given: Instant) -> Self {
        let slot = (!is_large).then(|| slot(self.activity.interval_number(given)));
        if let Some(count) = slot.and_then(|slot| self.activity.given.get(slot)) {
            count.fetch_add(1, Ordering::AcqRel);
        }
        self.activity.sending.fetch_add(1, Ordering::AcqRel);
        self.leave_phase();
        self.phase = Phase::Sending(slot);
        self.activity.event.store(Event::Responded as u8 + 1, Ordering::Release);
        self
    }

    /// Returns the counters of the connection.
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
    async fn a_connection_is_idle_when_its_responses_were_read() {
        let activity = Activity::new(TIMEOUT);
        let request = activity.begin();
        assert_eq!(activity.idle(), None);
        let response = request.into_sending(false, Instant::now());
        assert_eq!(activity.idle(), None);
        drop(response);
        tokio::time::advance(IDLE).await;
        assert_eq!(activity.idle(), Some(IDLE));
        activity.idle_for(IDLE).await;
        assert!(!activity.is_overdue());
    }

    #[tokio::test(start_paused = true)]
    async fn an_unread_response_is_overdue_even_if_others_are_read() {
        let activity = Activity::new(TIMEOUT);
        let stuck = activity.begin().into_sending(false, Instant::now());
        let mut seconds = 0;
        while !activity.is_overdue() {
            drop(activity.begin().into_sending(false, Instant::now()));
            tokio::time::advance(Duration::from_secs(1)).await;
            seconds += 1;
        }
        assert!((16..=21).contains(&seconds), "{seconds}");
        activity.idle_for(IDLE).await;
        drop(stuck);
        assert!(!activity.is_overdue());
    }

    #[tokio::test(start_paused = true)]
    async fn large_responses_and_streams_have_timers_of_their_own() {
        let activity = Activity::new(TIMEOUT);
        let responses =
            (activity.begin().into_sending(true, Instant::now()), activity.begin().into_stream());
        tokio::time::advance(TIMEOUT * 3).await;
        assert!(!activity.is_overdue() && activity.has_streams());
        assert_eq!(activity.idle(), None);
        activity.set_overdue();
        assert!(activity.is_overdue());
        drop(responses);
    }

    #[tokio::test(start_paused = true)]
    async fn shutdown_waits_for_work_and_not_for_unread_responses() {
        let quiet = Duration::from_secs(3);
        let activity = Activity::new(TIMEOUT);
        let (work, _stuck) =
            (activity.begin(), activity.begin().into_sending(false, Instant::now()));
        let _stream = activity.begin().into_stream();
        let done = activity.done(quiet);
        assert!(tokio::time::timeout(Duration::from_secs(25), done).await.is_err());
        drop(work);
        let begun = Instant::now();
        activity.done(quiet).await;
        assert!(begun.elapsed() <= quiet * 2);
    }

    #[tokio::test(start_paused = true)]
    async fn the_event_of_a_stream_is_returned_once() {
        let activity = Activity::new(TIMEOUT);
        let response = activity.begin().into_sending(true, Instant::now());
        assert_eq!(activity.take_event(), Some(Event::Responded));
        assert_eq!(activity.take_event(), None);
        response.activity().progress();
        assert_eq!(activity.take_event(), Some(Event::Progress));
    }
}
