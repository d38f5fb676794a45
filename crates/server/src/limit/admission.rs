//! Limits the number of connections, so that no client can keep others from being served.
//!
//! A new connection is always accepted; if the connection limit is exceeded, another one is closed. There
//! are three pools with limits of their own: unfinished handshakes, peers without a policy, and known
//! identities, each of which has at most its share. Before the identity of a peer is known, its connection
//! counts for its source prefix, and a connection of the prefix that has the most is closed. If an identity
//! has too many connections, the one that is idle for longest is closed.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use kes_config::Limits;
use kes_types::{Identity, lock};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::connection::activity::Activity;
use crate::limit::by_prefix::ConnectionId;
use crate::limit::connections::{Connections, Known};
use crate::limit::prefix::Prefix;

/// How many closed connections may still run before the server stops accepting: they hold file descriptors
/// until they end.
const CLOSING_MAX: usize = 64;

/// Limits the number of connections.
#[derive(Debug)]
pub(crate) struct Admission {
    limits: Limits,
    state: Mutex<Connections>,
    /// Notified when a closed connection has ended.
    ended: Notify,
}

/// Holds the slot of a connection, and releases it when dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    admission: Arc<Admission>,
    id: ConnectionId,
    closed: CancellationToken,
    prefix: Prefix,
    /// Set once the connection counts for a known identity.
    identity: Option<Identity>,
}

/// The decision about a connection after its handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Its identity is known and has no more connections than its share.
    Served,
    /// Its identity has too many connections, none of which is idle.
    Refused,
    /// No policy is assigned to its identity, or it has no identity.
    WithoutPolicy,
}

impl Admission {
    pub(crate) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self { limits, state: Mutex::default(), ended: Notify::new() })
    }

    /// Acquires a slot for an accepted connection, and closes another connection if there are too many.
    /// Returns `None` if no other can be closed; then the caller closes the new one.
    pub(crate) fn accept(self: &Arc<Self>, ip: IpAddr) -> Option<Slot> {
        let (closed, prefix) = (CancellationToken::new(), Prefix::of(ip));
        let mut state = self.lock();
        let id = state.next;
        state.next += 1;
        state.handshakes.insert(prefix, id, closed.clone());
        let (limits, newcomer) = (&self.limits, Some(id));
        let has_slot = (state.handshakes.len() <= limits.handshakes
            || state.close_handshake(newcomer))
            && (state.len() <= limits.connections || state.close_any(newcomer));
        if !has_slot {
            state.handshakes.remove(prefix, id);
            return None;
        }
        drop(state);
        Some(Slot { admission: Arc::clone(self), id, closed, prefix, identity: None })
    }

    /// Waits until no more than [`CLOSING_MAX`] closed connections still run.
    pub(crate) async fn closed_have_ended(&self) {
        loop {
            let ended = self.ended.notified();
            if self.lock().closing <= CLOSING_MAX {
                return;
            }
            ended.await;
        }
    }

    /// Closes half of the connections without a known identity; called when file descriptors or memory are
    /// exhausted.
    pub(crate) fn close_half(&self) {
        let mut state = self.lock();
        for _ in 0..state.without_policy.len().div_ceil(2) {
            state.close_without_policy(None);
        }
        for _ in 0..state.handshakes.len().div_ceil(2) {
            state.close_handshake(None);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Connections> {
        lock(&self.state)
    }
}

impl Slot {
    /// Returns the token that is cancelled when the connection is closed for another one. A connection with
    /// the verdict [`Verdict::Served`] gets a new token, because it may complete its requests.
    pub(crate) fn closed(&self) -> CancellationToken {
        self.closed.clone()
    }

    /// Returns the source prefix by which the connection is counted.
    pub(crate) fn prefix(&self) -> Prefix {
        self.prefix
    }

    /// Records that the `ClientHello` was received; the handshake waits for its first permit.
    pub(crate) fn hello_received(&self) {
        self.admission.lock().handshakes.hello_received(self.prefix, self.id);
    }

    /// Records that the handshake has had its first permit.
    pub(crate) fn slot_used(&self) {
        self.admission.lock().handshakes.slot_used(self.prefix, self.id);
    }

    /// Moves the connection to the pool of its identity after the handshake, or of those without a policy.
    pub(crate) fn identify(
        &mut self,
        identity: Option<Identity>,
        is_admin: bool,
        activity: &Arc<Activity>,
    ) -> Verdict {
        let admission = Arc::clone(&self.admission);
        let mut state = admission.lock();
        if !state.handshakes.remove(self.prefix, self.id) {
            // It was closed at the end of its handshake.
            return Verdict::WithoutPolicy;
        }
        if let Some(identity) = identity
            && state.has_share(&admission.limits, &identity, is_admin)
        {
            // From now on the connection ends gracefully: its client may just have sent a request.
            self.closed = CancellationToken::new();
            let (closed, activity) = (self.closed.clone(), Arc::clone(activity));
            state.insert_known(identity, self.id, Known { closed, activity, is_admin });
            self.identity = Some(identity);
            return Verdict::Served;
        }
        state.without_policy.insert(self.prefix, self.id, self.closed.clone());
        if state.without_policy.len() > admission.limits.connections_without_policy {
            state.close_without_policy(Some(self.id));
        }
        if identity.is_some() { Verdict::Refused } else { Verdict::WithoutPolicy }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut state = self.admission.lock();
        if self.closed.is_cancelled() {
            state.closing -= 1;
            self.admission.ended.notify_one();
        }
        match self.identity {
            Some(identity) => drop(state.remove_known(&identity, self.id)),
            None => {
                let _ = state.handshakes.remove(self.prefix, self.id)
                    || state.without_policy.remove(self.prefix, self.id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::time::Duration;

    use futures_util::poll;

    use super::*;
    use crate::limit::by_prefix::SLOT_USED_WAIT;

    const S: Duration = Duration::from_secs(1);

    fn admission(connections: usize) -> Arc<Admission> {
        Admission::new(Limits::default().with_connections(connections))
    }

    fn accept(admission: &Arc<Admission>, last: u8) -> Slot {
        admission.accept([192, 0, 2, last].into()).unwrap()
    }

    fn identity(seed: u8) -> Identity {
        Identity::of_public_key(&[seed])
    }

    fn known(admission: &Arc<Admission>, seed: u8, activity: &Arc<Activity>) -> (Slot, Verdict) {
        let mut slot = accept(admission, seed);
        let verdict = slot.identify(Some(identity(seed)), seed == 0, activity);
        (slot, verdict)
    }

    fn idle() -> Arc<Activity> {
        Activity::new(S)
    }

    fn is_closed(slot: &Slot) -> bool {
        slot.closed.is_cancelled()
    }

    #[tokio::test(start_paused = true)]
    async fn a_handshake_of_the_largest_prefix_is_closed_and_the_slowest_first() {
        let admission = admission(32);
        let first: Vec<_> = (0..7).map(|_| accept(&admission, 1)).collect();
        tokio::time::advance(SLOT_USED_WAIT).await;
        first[0].hello_received();
        first[1].hello_received();
        first[1].slot_used();
        let other = accept(&admission, 2);
        tokio::time::advance(SLOT_USED_WAIT).await;
        // The ninth handshake: the one that has waited longest for its client is closed.
        let second = accept(&admission, 2);
        assert!(is_closed(&first[2]) && first.iter().filter(|slot| is_closed(slot)).count() == 1);
        let third = accept(&admission, 2);
        assert!(is_closed(&first[3]) && !is_closed(&other));
        // If no client is slow, the youngest that waits for a permit is closed.
        for slot in first.iter().skip(4) {
            slot.hello_received();
        }
        let fourth = accept(&admission, 1);
        assert!(is_closed(&first[1]));
        fourth.hello_received();
        let fifth = accept(&admission, 1);
        assert!(is_closed(&fourth) && !is_closed(&first[0]));
        assert!(![&other, &second, &third, &fifth].into_iter().any(is_closed));
        drop((first, fourth));
        assert_eq!(admission.lock().closing, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_connection_is_accepted_and_one_of_the_larger_prefix_is_closed() {
        let admission = admission(32);
        let first: Vec<_> = (0..8).map(|last| accept(&admission, 1 + last / 4)).collect();
        let newcomer = accept(&admission, 3);
        assert_eq!(first.iter().filter(|slot| is_closed(slot)).count(), 1);
        assert!(!is_closed(&newcomer));
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_connection_is_closed_when_all_handshakes_have_just_begun() {
        let admission = admission(16);
        let begun: Vec<_> = (0..4).map(|_| accept(&admission, 1)).collect();
        for slot in &begun {
            slot.hello_received();
            slot.slot_used();
        }
        assert!(admission.accept([192, 0, 2, 1].into()).is_none());
        assert!(!begun.iter().any(is_closed));
        drop(begun);
        accept(&admission, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn closed_connections_end_before_more_are_accepted() {
        let admission = admission(16);
        let mut slots = Vec::new();
        while admission.lock().closing <= CLOSING_MAX {
            admission.closed_have_ended().await;
            slots.push(accept(&admission, 1));
        }
        let mut waiting = pin!(admission.closed_have_ended());
        assert!(poll!(&mut waiting).is_pending());
        drop(slots);
        waiting.await;
        assert_eq!(admission.lock().closing, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn peers_without_a_policy_have_a_pool_of_their_own() {
        let admission = admission(16);
        let mut peers: Vec<_> = (0..6).map(|_| accept_without_policy(&admission, 1)).collect();
        assert_eq!(peers.iter().filter(|slot| is_closed(slot)).count(), 2);
        assert!(is_closed(&peers[0]) && is_closed(&peers[1]));
        let other = accept_without_policy(&admission, 2);
        assert!(is_closed(&peers[2]) && !is_closed(&other));
        // Handshakes do not count among them.
        let handshakes: Vec<_> = (0..4).map(|_| accept(&admission, 1)).collect();
        assert!(!is_closed(&peers[3]) && !handshakes.iter().any(is_closed));
        peers.clear();
    }

    fn accept_without_policy(admission: &Arc<Admission>, last: u8) -> Slot {
        let mut slot = accept(admission, last);
        assert_eq!(slot.identify(None, false, &idle()), Verdict::WithoutPolicy);
        slot
    }

    #[tokio::test(start_paused = true)]
    async fn an_identity_has_its_share_and_its_longest_idle_connection_is_closed() {
        let admission = admission(16);
        let busy = idle();
        let _request = busy.begin();
        let (_busy, _) = known(&admission, 1, &busy);
        let old = known(&admission, 1, &idle()).0;
        tokio::time::advance(S).await;
        let young: Vec<_> = (0..2).map(|_| known(&admission, 1, &idle()).0).collect();
        let (_next, verdict) = known(&admission, 1, &busy);
        assert_eq!(verdict, Verdict::Served);
        assert!(is_closed(&old) && !young.iter().any(is_closed));
        let _all_busy: Vec<_> = (0..2).map(|_| known(&admission, 1, &busy)).collect();
        let (refused, verdict) = known(&admission, 1, &busy);
        assert_eq!(verdict, Verdict::Refused);
        assert!(!is_closed(&refused));
        assert_eq!(known(&admission, 2, &busy).1, Verdict::Served);
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_slots_are_for_handshakes_and_the_admin() {
        let admission = admission(64);
        let busy = idle();
        let _request = busy.begin();
        let mut all = Vec::new();
        for seed in 1..=4 {
            all.extend((0..16).map(|_| known(&admission, seed, &busy)));
        }
        let served = all.iter().filter(|(_, verdict)| *verdict == Verdict::Served).count();
        assert_eq!(served, 64 - 4);
        assert_eq!(known(&admission, 5, &busy).1, Verdict::Refused);
        let (admin, verdict) = known(&admission, 0, &busy);
        assert_eq!((is_closed(&admin), verdict), (false, Verdict::Served));
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_connection_replaces_an_idle_one_when_all_identities_are_known() {
        let admission = admission(64);
        let mut all = Vec::new();
        for seed in 1..=4 {
            all.extend((0..16).map(|_| known(&admission, seed, &idle()).0));
        }
        let (newcomer, verdict) = known(&admission, 5, &idle());
        assert_eq!((is_closed(&newcomer), verdict), (false, Verdict::Served));
        let closed = all.iter().filter(|slot| is_closed(slot)).count();
        assert_eq!(closed, 5);
        drop((all, newcomer));
        let state = admission.lock();
        assert_eq!((state.len(), state.known.len()), (0, 0));
    }
}
