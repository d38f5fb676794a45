//! Connections without a known identity, counted by their source prefix.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::limit::prefix::Prefix;

/// How long the client of a handshake that has used a slot may take, when others wait.
pub(crate) const SERVED_WAIT: Duration = Duration::from_millis(20);

/// Numbers connections in the order in which they were accepted.
pub(crate) type ConnectionId = u64;

/// Groups that are looked at for a connection to close: those that have most.
const GROUPS_MAX: usize = 8;

/// Connections by prefix.
#[derive(Debug, Default)]
pub(crate) struct ConnectionsByPrefix {
    groups: HashMap<Prefix, Group>,
    /// The prefixes by the number of their connections.
    sizes: BTreeSet<(usize, Prefix)>,
    len: usize,
}

/// The connections of a prefix.
#[derive(Debug, Default)]
struct Group {
    members: HashMap<ConnectionId, Member>,
    /// Those whose `ClientHello` is waited for, by the time since when.
    silent: BTreeSet<(Instant, ConnectionId)>,
    /// Those that wait for a slot among the handshakes, oldest first.
    waiting: BTreeSet<ConnectionId>,
    /// Those that were served, and whose client is waited for.
    served: BTreeSet<(Instant, ConnectionId)>,
}

#[derive(Debug)]
struct Member {
    closed: CancellationToken,
    stage: Stage,
}

/// How far a handshake is.
#[derive(Clone, Copy, Debug)]
enum Stage {
    /// The client is waited for, since then.
    Silent(Instant),
    Waiting,
    /// The same after the handshake's first slot.
    Served(Instant),
}

impl ConnectionsByPrefix {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Adds a connection whose client is waited for.
    pub(crate) fn insert(&mut self, prefix: Prefix, id: ConnectionId, closed: CancellationToken) {
        let stage = Stage::Silent(Instant::now());
        self.change(prefix, |group| group.add(id, Member { closed, stage }));
    }

    /// Notes that the client has sent its `ClientHello`: the handshake waits for a slot.
    pub(crate) fn heard(&mut self, prefix: Prefix, id: ConnectionId) {
        self.advance(prefix, id, Stage::Waiting);
    }

    /// Notes that the handshake has used a slot: its client is waited for.
    pub(crate) fn served(&mut self, prefix: Prefix, id: ConnectionId) {
        self.advance(prefix, id, Stage::Served(Instant::now()));
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

    /// Closes a handshake of the prefix that has most, but not the newcomer: the one whose `ClientHello`
    /// has been waited for longest; else, of those that have used a slot at least [`SERVED_WAIT`] ago, the one whose
    /// client has been; else the newest that waits for a slot. Returns whether there is one.
    pub(crate) fn close_one(&mut self, newcomer: Option<ConnectionId>) -> bool {
        let now = Instant::now();
        self.close(|group| {
            let is_other = |id: &ConnectionId| Some(*id) != newcomer;
            let silent = group.silent.iter().map(|(_, id)| *id).find(is_other);
            let served = || {
                let (since, id) = group.served.first()?;
                (now.saturating_duration_since(*since) >= SERVED_WAIT).then_some(*id)
            };
            let youngest = || group.waiting.iter().rev().copied().find(is_other);
            silent.or_else(served).or_else(youngest)
        })
    }

    /// Closes the connection of the prefix that has most which has been there for longest, but not the
    /// newcomer.
    pub(crate) fn close_oldest(&mut self, newcomer: Option<ConnectionId>) -> bool {
        self.close(|group| group.silent.iter().map(|(_, id)| *id).find(|id| Some(*id) != newcomer))
    }

    /// Closes what `choose` finds in one of the largest groups.
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

    /// Changes a group and counts anew.
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
            Stage::Silent(since) => self.silent.insert((since, id)),
            Stage::Waiting => self.waiting.insert(id),
            Stage::Served(since) => self.served.insert((since, id)),
        };
        self.members.insert(id, member);
    }

    fn remove(&mut self, id: ConnectionId) -> Option<CancellationToken> {
        let Member { closed, stage } = self.members.remove(&id)?;
        match stage {
            Stage::Silent(since) => self.silent.remove(&(since, id)),
            Stage::Waiting => self.waiting.remove(&id),
            Stage::Served(since) => self.served.remove(&(since, id)),
        };
        Some(closed)
    }
}
