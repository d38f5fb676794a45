//! Counts the connections without a known identity by source prefix, and chooses which of them to close.
//!
//! The connection to close is one of the prefix that has the most, so that one source cannot close the
//! connections of others.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::limit::prefix::Prefix;

/// How long the client of a handshake that has begun may take before its slot is given to another one.
pub(crate) const SLOT_USED_WAIT: Duration = Duration::from_millis(20);

/// Numbers connections in the order in which they were accepted.
pub(crate) type ConnectionId = u64;

/// How many prefixes are searched for a connection to close, the largest first.
const GROUPS_MAX: usize = 8;

/// Holds connections grouped by source prefix.
#[derive(Debug, Default)]
pub(crate) struct ConnectionsByPrefix {
    groups: HashMap<Prefix, Group>,
    /// The prefixes by the number of their connections.
    sizes: BTreeSet<(usize, Prefix)>,
    len: usize,
}

/// Holds the connections of one prefix.
#[derive(Debug, Default)]
struct Group {
    members: HashMap<ConnectionId, Member>,
    /// Connections that wait for the `ClientHello`, ordered by the time since when.
    awaiting_hello: BTreeSet<(Instant, ConnectionId)>,
    /// Handshakes that wait for their first permit, oldest first.
    queued: BTreeSet<ConnectionId>,
    /// Handshakes that have begun and wait for their client.
    slot_used: BTreeSet<(Instant, ConnectionId)>,
}

#[derive(Debug)]
struct Member {
    closed: CancellationToken,
    stage: Stage,
}

/// The progress of a handshake.
#[derive(Clone, Copy, Debug)]
enum Stage {
    /// Waits for the `ClientHello` since that time.
    AwaitingHello(Instant),
    /// Waits for its first permit.
    Queued,
    /// Has had its first permit, at that time.
    SlotUsed(Instant),
}

impl ConnectionsByPrefix {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Adds a connection that waits for its client's `ClientHello`.
    pub(crate) fn insert(&mut self, prefix: Prefix, id: ConnectionId, closed: CancellationToken) {
        let stage = Stage::AwaitingHello(Instant::now());
        self.change(prefix, |group| group.add(id, Member { closed, stage }));
    }

    /// Records that the `ClientHello` was received; the handshake waits for its first permit.
    pub(crate) fn hello_received(&mut self, prefix: Prefix, id: ConnectionId) {
        self.advance(prefix, id, Stage::Queued);
    }

    /// Records that the handshake has had its first permit; it waits for its client.
    pub(crate) fn slot_used(&mut self, prefix: Prefix, id: ConnectionId) {
        self.advance(prefix, id, Stage::SlotUsed(Instant::now()));
    }

    fn advance(&mut self, prefix: Prefix, id: ConnectionId, stage: Stage) {
        if let Some(group) = self.groups.get_mut(&prefix)
            && let Some(closed) = group.remove(id)
        {
            group.add(id, Member { closed, stage });
        }
    }

    /// Removes a connection; returns whether it was there.
    pub(crate) fn remove(&mut self, prefix: Prefix, id: ConnectionId) -> bool {
        self.change(prefix, |group| group.remove(id).is_some())
    }

    /// Closes a handshake of the prefix that has the most, but never `newcomer`. Chooses the one that waits
    /// longest for its `ClientHello`; else the one that has waited longest for its client since its first
    /// permit, if for [`SLOT_USED_WAIT`]; else the youngest that waits for a permit. Returns whether one
    /// was closed.
    pub(crate) fn close_one(&mut self, newcomer: Option<ConnectionId>) -> bool {
        let now = Instant::now();
        self.close(|group| {
            let is_other = |id: &ConnectionId| Some(*id) != newcomer;
            let awaiting_hello = group.awaiting_hello.iter().map(|(_, id)| *id).find(is_other);
            let slot_used = || {
                let (since, id) = group.slot_used.first()?;
                (now.saturating_duration_since(*since) >= SLOT_USED_WAIT).then_some(*id)
            };
            let youngest = || group.queued.iter().rev().copied().find(is_other);
            awaiting_hello.or_else(slot_used).or_else(youngest)
        })
    }

    /// Closes the oldest connection of the prefix that has the most, but never `newcomer`. Returns whether
    /// one was closed.
    pub(crate) fn close_oldest(&mut self, newcomer: Option<ConnectionId>) -> bool {
        self.close(|group| {
            group.awaiting_hello.iter().map(|(_, id)| *id).find(|id| Some(*id) != newcomer)
        })
    }

    /// Closes the connection that `choose` returns for the largest group that has one.
    fn close(&mut self, choose: impl Fn(&Group) -> Option<ConnectionId>) -> bool {
        let found = self.sizes.iter().rev().take(GROUPS_MAX).find_map(|(_, prefix)| {
            let id = choose(self.groups.get(prefix)?)?;
            Some((*prefix, id))
        });
        let Some((prefix, id)) = found else { return false };
        if let Some(closed) = self.change(prefix, |group| group.remove(id)) {
            closed.cancel();
        }
        true
    }

    /// Changes a group and updates the counts.
    fn change<T>(&mut self, prefix: Prefix, change: impl FnOnce(&mut Group) -> T) -> T {
        let group = self.groups.entry(prefix).or_default();
        let before = group.members.len();
        let result = change(group);
        let after = group.members.len();
        if after == 0 {
            self.groups.remove(&prefix);
        }
        if before != after {
            self.sizes.remove(&(before, prefix));
            if after > 0 {
                self.sizes.insert((after, prefix));
            }
            self.len = self.len + after - before;
        }
        result
    }
}

impl Group {
    fn add(&mut self, id: ConnectionId, member: Member) {
        match member.stage {
            Stage::AwaitingHello(since) => self.awaiting_hello.insert((since, id)),
            Stage::Queued => self.queued.insert(id),
            Stage::SlotUsed(since) => self.slot_used.insert((since, id)),
        };
        self.members.insert(id, member);
    }

    fn remove(&mut self, id: ConnectionId) -> Option<CancellationToken> {
        let Member { closed, stage } = self.members.remove(&id)?;
        match stage {
            Stage::AwaitingHello(since) => self.awaiting_hello.remove(&(since, id)),
            Stage::Queued => self.queued.remove(&id),
            Stage::SlotUsed(since) => self.slot_used.remove(&(since, id)),
        };
        Some(closed)
    }
}
