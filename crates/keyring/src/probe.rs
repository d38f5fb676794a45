//! Health probes of the key store: their schedule, the health state, and the log lines about its changes.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use kes_store::StoreError;
use kes_types::lock;
use tokio::sync::{Notify, watch};

/// The shortest interval between two probes, however many calls fail.
const MIN_INTERVAL: Duration = Duration::from_secs(1);

/// The log target of notices, which are logged at every log level.
const NOTICE: &str = "notice";

/// The health state of the store, by its latest probe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Health {
    /// There was no probe yet.
    #[default]
    Unknown,
    /// The probe succeeded.
    Reachable,
    /// The store did not respond, or responded that it cannot serve at present.
    Unreachable,
    /// The store responded, and refuses to serve this server.
    Refused,
}

/// The result of a probe, shared by all callers that joined it: the latency, or the error.
pub(crate) type Sign = Result<Duration, Arc<StoreError>>;

/// The health state machine. Pure: the time is an argument.
#[derive(Debug)]
struct HealthState {
    every: Duration,
    health: Health,
    since: Instant,
    looked_at: Option<Instant>,
    is_urgent: bool,
}

/// A change of the health state that is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    None,
    Lost,
    /// The store is healthy again, after this outage.
    Back(Duration),
}

impl HealthState {
    fn new(every: Duration, now: Instant) -> Self {
        Self { every, health: Health::Unknown, since: now, looked_at: None, is_urgent: false }
    }

    /// The time of the next probe.
    fn due_at(&self) -> Option<Instant> {
        let wait = if self.is_urgent { MIN_INTERVAL.min(self.every) } else { self.every };
        self.looked_at.map(|at| at + wait)
    }

    /// Notes that a call to the store failed: the next probe is soon.
    fn call_failed(&mut self) {
        self.is_urgent = true;
    }

    fn observe(&mut self, sign: &Sign, now: Instant) -> Change {
        let health = match sign {
            Ok(_) => Health::Reachable,
            Err(error) if matches!(**error, StoreError::Unreachable(_)) => Health::Unreachable,
            Err(_) => Health::Refused,
        };
        (self.looked_at, self.is_urgent) = (Some(now), false);
        let before = std::mem::replace(&mut self.health, health);
        if before == health {
            return Change::None;
        }
        let was_lost = matches!(before, Health::Unreachable | Health::Refused);
        let change = match health {
            Health::Reachable if was_lost => {
                Change::Back(now.saturating_duration_since(self.since))
            }
            Health::Reachable | Health::Unknown => Change::None,
            Health::Unreachable | Health::Refused => Change::Lost,
        };
        // From one kind of failure to another: the outage began with the first.
        if !(was_lost && change == Change::Lost) {
            self.since = now;
        }
        change
    }
}

/// Probes the store's health: single-flight, with a state that can be watched.
pub(crate) struct Probe {
    state: Mutex<HealthState>,
    health: watch::Sender<Health>,
    wake: Notify,
    /// The probe that is running.
    asking: Mutex<Option<Shared<BoxFuture<'static, Sign>>>>,
}

impl Probe {
    /// A probe at this interval.
    pub(crate) fn new(every: Duration, now: Instant) -> Self {
        Self {
            state: Mutex::new(HealthState::new(every, now)),
            health: watch::Sender::default(),
            wake: Notify::new(),
            asking: Mutex::new(None),
        }
    }

    /// The health state, with a notification for each change.
    pub(crate) fn health(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    /// Joins the running probe, or starts one with `ask`.
    pub(crate) fn join(
        &self,
        ask: impl FnOnce() -> BoxFuture<'static, Sign>,
    ) -> Shared<BoxFuture<'static, Sign>> {
        let mut asking = lock(&self.asking);
        // One that ended without a result panicked.
        match asking.as_ref().filter(|sign| sign.peek().is_none()) {
            Some(sign) => sign.clone(),
            None => asking.insert(ask().shared()).clone(),
        }
    }

    /// Notes that a call to the store failed.
    pub(crate) fn call_failed(&self) {
        lock(&self.state).call_failed();
        self.wake.notify_one();
    }

    /// Takes the result of a probe, and logs a change of the state. Later callers start a new probe.
    pub(crate) fn observe(&self, sign: &Sign, now: Instant) {
        *lock(&self.asking) = None;
        let (change, health) = {
            let mut state = lock(&self.state);
            (state.observe(sign, now), state.health)
        };
        match (change, sign) {
            (Change::Lost, Err(error)) => {
                let cause: &dyn std::error::Error = &**error;
                tracing::error!(cause, "the key store cannot be used");
            }
            (Change::Back(after), _) => {
                let after_seconds = after.as_secs();
                tracing::warn!(target: NOTICE, after_seconds, "the key store can be used again");
            }
            _ => {}
        }
        self.health.send_if_modified(|known| std::mem::replace(known, health) != health);
        self.wake.notify_one();
    }

    /// Waits until the next probe is due.
    pub(crate) async fn due(&self, now: impl Fn() -> Instant) {
        loop {
            let due_at = lock(&self.state).due_at();
            let left = due_at.map(|at| at.saturating_duration_since(now()));
            let Some(left) = left.filter(|left| !left.is_zero()) else { return };
            tokio::select! {
                () = tokio::time::sleep(left) => {}
                () = self.wake.notified() => {}
            }
        }
    }
}

impl fmt::Debug for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Probe").field("state", &self.state).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use kes_types::{Clock as _, SystemClock};

    use super::*;

    const EVERY: Duration = Duration::from_secs(10);
    const ALIVE: Sign = Ok(Duration::ZERO);
    const S: Duration = Duration::from_secs(1);

    fn away() -> Sign {
        Err(Arc::new(StoreError::Unreachable("no answer".into())))
    }

    fn refused() -> Sign {
        Err(Arc::new(StoreError::Refused("no token".into())))
    }

    #[test]
    fn the_store_is_looked_at_regularly_and_sooner_when_a_call_failed() {
        let now = SystemClock.monotonic();
        let mut state = HealthState::new(EVERY, now);
        assert_eq!(state.due_at(), None);
        state.observe(&ALIVE, now);
        assert_eq!(state.due_at(), Some(now + EVERY));
        for _ in 0..100 {
            state.call_failed();
            assert_eq!(state.due_at(), Some(now + MIN_INTERVAL));
        }
        state.observe(&ALIVE, now + MIN_INTERVAL);
        assert_eq!(state.due_at(), Some(now + MIN_INTERVAL + EVERY));
    }

    #[test]
    fn changes_are_reported_once() {
        let now = SystemClock.monotonic();
        let mut state = HealthState::new(EVERY, now);
        assert_eq!(state.observe(&ALIVE, now), Change::None);
        assert_eq!(state.observe(&away(), now + S), Change::Lost);
        assert_eq!(state.observe(&away(), now + S * 2), Change::None);
        assert_eq!(state.observe(&refused(), now + S * 3), Change::Lost);
        assert_eq!(state.observe(&refused(), now + S * 4), Change::None);
        assert_eq!(state.observe(&ALIVE, now + S * 5), Change::Back(S * 4));
        assert_eq!(state.observe(&ALIVE, now + S * 6), Change::None);
        assert_eq!(state.health, Health::Reachable);
    }

    #[test]
    fn a_store_that_was_never_there_is_reported_of_too() {
        let now = SystemClock.monotonic();
        let mut state = HealthState::new(EVERY, now);
        assert_eq!(state.observe(&away(), now + S), Change::Lost);
        assert_eq!(state.observe(&ALIVE, now + S * 3), Change::Back(S * 2));
    }

    #[tokio::test]
    async fn those_who_ask_at_the_same_time_share_an_answer_and_later_ones_do_not() {
        let probe = Probe::new(EVERY, SystemClock.monotonic());
        let first = probe.join(|| Box::pin(async { Ok(S) }));
        let second = probe.join(|| Box::pin(async { Ok(S * 2) }));
        assert_eq!((first.await.unwrap(), second.await.unwrap()), (S, S));
        probe.observe(&ALIVE, SystemClock.monotonic());
        let third = probe.join(|| Box::pin(async { Ok(S * 3) }));
        assert_eq!(third.await.unwrap(), S * 3);
    }
}
