//! Connections that are not known, counted by their source prefix.

use std::collections::{BTreeSet, HashMap};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Id, PATIENCE};
use crate::prefix::Prefix;

/// Groups that are looked at for a connection to close: those that have most.
const GROUPS_MAX: usize = 8;

/// Connections by prefix.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    groups: HashMap<Prefix, Group>,
    /// The prefixes by the number of their connections.
    sizes: BTreeSet<(usize, Prefix)>,
    len: usize,
}

/// The connections of a prefix.
#[derive(Debug, Default)]
struct Group {
    members: HashMap<Id, Member>,
    /// Those whose client is waited for, by the time since when.
    silent: BTreeSet<(Instant, Id)>,
    /// Those that wait for their turn, oldest first.
    waiting: BTreeSet<Id>,
}

#[derive(Debug)]
struct Member {
    closed: CancellationToken,
    /// Since when the client is waited for; none while the connection waits for its turn.
    silent_since: Option<Instant>,
}

impl Crowd {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Adds a connection whose client is waited for.
    pub(super) fn insert(&mut self, prefix: Prefix, id: Id, closed: CancellationToken) {
        let now = Instant::now();
        self.change(prefix, |group| {
            group.members.insert(id, Member { closed, silent_since: Some(now) });
            group.silent.insert((now, id));
        });
    }

    /// The client has sent something: the connection waits for its turn.
    pub(super) fn heard(&mut self, prefix: Prefix, id: Id) {
        let Some(group) = self.groups.get_mut(&prefix) else { return };
        if let Some(since) = group.members.get_mut(&id).and_then(|own| own.silent_since.take()) {
            group.silent.remove(&(since, id));
            group.waiting.insert(id);
        }
    }

    /// The connection has had its turn: its client is waited for.
    pub(super) fn served(&mut self, prefix: Prefix, id: Id) {
        let Some(group) = self.groups.get_mut(&prefix) else { return };
        if group.waiting.remove(&id)
            && let Some(own) = group.members.get_mut(&id)
        {
            let now = Instant::now();
            own.silent_since = Some(now);
            group.silent.insert((now, id));
        }
    }

    /// Removes a connection; returns whether it was there.
    pub(super) fn remove(&mut self, prefix: Prefix, id: Id) -> bool {
        self.change(prefix, |group| group.remove(id).is_some())
    }

    /// Closes a handshake of the prefix that has most, but not the newcomer: the one whose client has
    /// been waited for longest, else the youngest of those that wait for their turn. Returns whether
    /// there is one.
    pub(super) fn close_one(&mut self, newcomer: Option<Id>) -> bool {
        let now = Instant::now();
        self.close(|group| {
            let is_other = |id: &Id| Some(*id) != newcomer;
            let is_patient = |since: Instant| now.saturating_duration_since(since) >= PATIENCE;
            let silent =
                group.silent.first().filter(|(since, id)| is_patient(*since) && is_other(id));
            let youngest = || group.waiting.iter().rev().copied().find(is_other);
            silent.map(|(_, id)| *id).or_else(youngest)
        })
    }

    /// Closes the connection of the prefix that has most which has been there for longest, but not the
    /// newcomer.
    pub(super) fn close_oldest(&mut self, newcomer: Option<Id>) -> bool {
        self.close(|group| group.silent.iter().map(|(_, id)| *id).find(|id| Some(*id) != newcomer))
    }

    /// Closes what `choose` finds in one of the largest groups.
    fn close(&mut self, choose: impl Fn(&Group) -> Option<Id>) -> bool {
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
    fn remove(&mut self, id: Id) -> Option<CancellationToken> {
        let Member { closed, silent_since } = self.members.remove(&id)?;
        match silent_since {
            Some(since) => drop(self.silent.remove(&(since, id))),
            None => drop(self.waiting.remove(&id)),
        }
        Some(closed)
    }
}
