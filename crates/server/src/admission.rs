//! Who may hold a connection.
//!
//! Strangers, that is unfinished handshakes and callers without a policy, hold at most a quarter
//! of all connections. When more come, the oldest stranger goes, so a newcomer always gets the
//! moment that a handshake takes and strangers cannot lock known callers out.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// Counts connections.
#[derive(Debug)]
pub(crate) struct Admission {
    connections: Arc<Semaphore>,
    strangers_max: usize,
    strangers: Mutex<Strangers>,
}

#[derive(Debug, Default)]
struct Strangers {
    next: u64,
    by_age: BTreeMap<u64, CancellationToken>,
}

/// A connection's place, given back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    admission: Arc<Admission>,
    evicted: CancellationToken,
    /// The place among strangers, until the caller is known.
    stranger: Option<u64>,
    _connection: Option<OwnedSemaphorePermit>,
}

impl Admission {
    pub(crate) fn new(connections_max: usize) -> Arc<Self> {
        Arc::new(Self {
            connections: Arc::new(Semaphore::new(connections_max)),
            strangers_max: (connections_max / 4).max(1),
            strangers: Mutex::default(),
        })
    }

    /// Waits for room for one more connection. A full house shows its oldest stranger out.
    pub(crate) async fn room(&self) -> Option<OwnedSemaphorePermit> {
        let mut connection = Arc::clone(&self.connections).try_acquire_owned().ok();
        if connection.is_none() {
            self.evict_oldest();
            // The semaphore is never closed.
            connection = Arc::clone(&self.connections).acquire_owned().await.ok();
        }
        connection
    }

    /// Gives a new connection its place, among strangers for now.
    pub(crate) fn enter(self: &Arc<Self>, connection: Option<OwnedSemaphorePermit>) -> Place {
        let evicted = CancellationToken::new();
        let mut strangers = self.strangers();
        while strangers.by_age.len() >= self.strangers_max {
            strangers.evict_oldest();
        }
        let age = strangers.next;
        strangers.next += 1;
        strangers.by_age.insert(age, evicted.clone());
        drop(strangers);
        Place { admission: Arc::clone(self), evicted, stranger: Some(age), _connection: connection }
    }

    /// Shows the oldest stranger out, if there is one.
    fn evict_oldest(&self) {
        self.strangers().evict_oldest();
    }

    /// Shows out the older half of all strangers: the process is out of descriptors or memory.
    pub(crate) fn evict_older_half(&self) {
        let mut strangers = self.strangers();
        for _ in 0..strangers.by_age.len().div_ceil(2) {
            strangers.evict_oldest();
        }
    }

    fn strangers(&self) -> MutexGuard<'_, Strangers> {
        self.strangers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Strangers {
    fn evict_oldest(&mut self) {
        if let Some((_, evicted)) = self.by_age.pop_first() {
            evicted.cancel();
        }
    }
}

impl Place {
    /// The caller is known: it is a stranger no more and cannot be shown out.
    pub(crate) fn promote(&mut self) {
        if let Some(age) = self.stranger.take() {
            self.admission.strangers().by_age.remove(&age);
        }
    }

    /// Cancelled when the connection has to go.
    pub(crate) fn evicted(&self) -> CancellationToken {
        self.evicted.clone()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.promote();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_oldest_stranger_makes_room_and_the_known_stay() {
        let admission = Admission::new(8);
        let mut known = admission.enter(admission.room().await);
        known.promote();
        let first = admission.enter(admission.room().await);
        let second = admission.enter(admission.room().await);
        assert!(!first.evicted().is_cancelled());
        let third = admission.enter(admission.room().await);
        assert!(first.evicted().is_cancelled());
        assert!(!known.evicted().is_cancelled());
        assert!(!second.evicted().is_cancelled() && !third.evicted().is_cancelled());
    }

    #[tokio::test]
    async fn a_full_house_shows_a_stranger_out() {
        let admission = Admission::new(4);
        let mut known = Vec::new();
        for _ in 0..3 {
            let mut place = admission.enter(admission.room().await);
            place.promote();
            known.push(place);
        }
        let stranger = admission.enter(admission.room().await);
        let evicted = stranger.evicted();
        let leaving = async move {
            evicted.cancelled().await;
            drop(stranger);
        };
        let (newcomer, ()) = tokio::join!(admission.room(), leaving);
        assert!(!admission.enter(newcomer).evicted().is_cancelled());
    }
}
