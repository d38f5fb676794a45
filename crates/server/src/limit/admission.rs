//! Limits how many connections there are, so that no client can keep others from being served.
//!
//! A connection is accepted first; then, if there are too many, another is closed. Three pools have
//! limits of their own: unfinished handshakes, peers without a policy, and known identities, each of
//! which holds at most its share. Before the identity of a peer is known, its connection counts for its source
//! prefix, and a connection of the prefix that has most is closed. Of an identity that has too many connections
//! the longest idle one is closed.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kes_config::Limits;
use kes_types::Identity;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::connection::activity::Activity;
use crate::limit::by_prefix::ConnectionId;
use crate::limit::connections::{Connections, Known};
use crate::limit::prefix::Prefix;

/// Connections that were closed and have not ended, beyond which none is accepted until some have: they
/// hold descriptors, and need time to run.
const CLOSING_MAX: usize = 64;

/// Counts connections.
#[derive(Debug)]
pub(crate) struct Admission {
    limits: Limits,
    state: Mutex<Connections>,
    /// A connection that was closed has ended.
    ended: Notify,
}

/// A connection's slot, given back when dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    admission: Arc<Admission>,
    id: ConnectionId,
    closed: CancellationToken,
    prefix: Prefix,
    /// Of a known identity.
    identity: Option<Identity>,
}

/// What a connection may do after its handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Its identity is known and holds no more than its share.
    Served,
    /// Its identity holds more connections than it may, none of which is idle.
    Refused,
    /// It has no policy.
    WithoutPolicy,
}

impl Admission {
    pub(crate) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self { limits, state: Mutex::default(), ended: Notify::new() })
    }

    /// Gives a connection that was accepted its slot, and closes another where there are too many. None
    /// if no other can be closed: then this one is.
    pub(crate) fn accept(self: &Arc<Self>, ip: IpAddr) -> Option<Slot> {
        let (closed, prefix) = (CancellationToken::new(), Prefix::of(ip));
        let mut state = self.lock();
        let id = state.next;
        state.next += 1;
        state.handshakes.insert(prefix, id, closed.clone());
        let (limits, newcomer) = (&self.limits, Some(id));
        let has_room = (state.handshakes.len() <= limits.handshakes
            || state.close_handshake(newcomer))
            && (state.len() <= limits.connections || state.close_any(newcomer));
        if !has_room {
            state.handshakes.remove(prefix, id);
            return None;
        }
        drop(state);
        Some(Slot { admission: Arc::clone(self), id, closed, prefix, identity: None })
    }

    /// Waits until those that were closed have ended, but for a few.
    pub(crate) async fn closed_have_ended(&self) {
        loop {
            let ended = self.ended.notified();
            if self.lock().closing <= CLOSING_MAX {
                return;
            }
            ended.await;
        }
    }

    /// Closes half of the connections that are not known: the process is out of descriptors or memory.
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
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    /// Cancelled when the connection is to end in favour of another. One that is identified and served
    /// gets another token, and may end what it is doing.
    pub(crate) fn closed(&self) -> CancellationToken {
        self.closed.clone()
    }

    /// The source prefix that the connection is counted by.
    pub(crate) fn prefix(&self) -> Prefix {
        self.prefix
    }

    /// Notes that the client has sent its `ClientHello`: the handshake waits for a slot.
    pub(crate) fn heard(&self) {
        self.admission.lock().handshakes.heard(self.prefix, self.id);
    }

    /// Notes that the handshake has used its first slot.
    pub(crate) fn served(&self) {
        self.admission.lock().handshakes.served(self.prefix, self.id);
    }

    /// The handshake has ended, with this identity if it is known.
    pub(crate) fn identify(
        &mut self,
        identity: Option<Identity>,
        is_admin: bool,
        activity: &Arc<Activity>,
    ) -> Verdict {
        let admission = Arc::clone(&self.admission);
        let mut state = admission.lock();
        if !state.handshakes.remove(self.prefix, self.id) {
            // It has just been closed.
            return Verdict::WithoutPolicy;
        }
        if let Some(identity) = identity
            && state.has_share(&admission.limits, &identity, is_admin)
        {
            // From now on it ends by itself: its client may just have sent a request.
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
    use crate::limit::by_prefix::SERVED_WAIT;

    const S: Duration = Duration::from_secs(1);

    fn admission(connections: usize) -> Arc<Admission> {
        Admission::new(Limits::default().with_connections(connections))
    }

    fn accept(admission: &Arc<Admission>, last: u8) -> Slot {
        admission.accept([192, 0, 2, last].into()).unwrap()
    }

    fn who(seed: u8) -> Identity {
        Identity::of_public_key(&[seed])
    }

    fn known(admission: &Arc<Admission>, seed: u8, activity: &Arc<Activity>) -> (Slot, Verdict) {
        let mut slot = accept(admission, seed);
        let verdict = slot.identify(Some(who(seed)), seed == 0, activity);
        (slot, verdict)
    }

    fn idle() -> Arc<Activity> {
        Activity::new(S)
    }

    fn is_closed(slot: &Slot) -> bool {
        slot.closed.is_cancelled()
    }

    #[tokio::test(start_paused = true)]
    async fn the_prefix_that_has_most_gives_way_first_those_that_let_us_wait() {
        let admission = admission(32);
        let crowd: Vec<_> = (0..7).map(|_| accept(&admission, 1)).collect();
        tokio::time::advance(SERVED_WAIT).await;
        crowd[0].heard();
        crowd[1].heard();
        crowd[1].served();
        let other = accept(&admission, 2);
        tokio::time::advance(SERVED_WAIT).await;
        // The ninth handshake: the one whose client has been waited for longest is closed.
        let second = accept(&admission, 2);
        assert!(is_closed(&crowd[2]) && crowd.iter().filter(|slot| is_closed(slot)).count() == 1);
        let third = accept(&admission, 2);
        assert!(is_closed(&crowd[3]) && !is_closed(&other));
        // Where no client is waited for, the newest that waits for a slot is closed.
        for slot in crowd.iter().skip(4) {
            slot.heard();
        }
        let fourth = accept(&admission, 1);
        assert!(is_closed(&crowd[1]));
        fourth.heard();
        let fifth = accept(&admission, 1);
        assert!(is_closed(&fourth) && !is_closed(&crowd[0]));
        assert!(![&other, &second, &third, &fifth].into_iter().any(is_closed));
        drop((crowd, fourth));
        assert_eq!(admission.lock().closing, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_newcomer_is_let_in_at_once_and_the_larger_prefix_pays() {
        let admission = admission(32);
        let crowd: Vec<_> = (0..8).map(|last| accept(&admission, 1 + last / 4)).collect();
        let newcomer = accept(&admission, 3);
        assert_eq!(crowd.iter().filter(|slot| is_closed(slot)).count(), 1);
        assert!(!is_closed(&newcomer));
    }

    #[tokio::test(start_paused = true)]
    async fn where_all_have_begun_a_moment_ago_the_newcomer_goes() {
        let admission = admission(16);
        let begun: Vec<_> = (0..4).map(|_| accept(&admission, 1)).collect();
        for slot in &begun {
            slot.heard();
            slot.served();
        }
        assert!(admission.accept([192, 0, 2, 1].into()).is_none());
        assert!(!begun.iter().any(is_closed));
        drop(begun);
        accept(&admission, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn those_that_were_closed_have_to_end_before_more_are_accepted() {
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
    async fn peers_without_a_policy_have_a_pool_apart() {
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
    async fn an_identity_holds_its_share_and_its_longest_idle_connection_goes() {
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
    async fn the_last_slots_are_for_newcomers_and_the_admin() {
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
    async fn a_newcomer_takes_the_place_of_an_idle_connection_when_all_are_known() {
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
