//! Connections that are not known, counted by their source prefix.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Id, SILENCE_MAX};
use crate::prefix::Prefix;

/// Groups that are looked at for a connection to close: those that have most.
const GROUPS_MAX: usize = 8;

/// How far a handshake is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The client has sent something, and waits for its turn.
    Waiting,
    /// It has had its turn, at this time.
    Begun(Instant),
}

/// Connections by prefix.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    groups: HashMap<Prefix, Group>,
    /// The prefixes by the number of their connections.
    sizes: BTreeSet<(usize, Prefix)>,
    len: usize,
}

/// The connections of a prefix, oldest first.
#[derive(Debug, Default)]
struct Group {
    /// Those that have sent nothing.
    silent: BTreeMap<Id, CancellationToken>,
    waiting: BTreeMap<Id, CancellationToken>,
    begun: BTreeMap<Id, (Instant, CancellationToken)>,
}

impl Crowd {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Adds a connection that has sent nothing.
    pub(super) fn insert(&mut self, prefix: Prefix, id: Id, closed: CancellationToken) {
        self.change(prefix, |group| group.silent.insert(id, closed));
    }

    /// Moves a handshake to a later stage.
    pub(super) fn advance(&mut self, prefix: Prefix, id: Id, stage: Stage) {
        let Some(group) = self.groups.get_mut(&prefix) else { return };
        let Some(closed) = group.silent.remove(&id).or_else(|| group.waiting.remove(&id)) else {
            return;
        };
        match stage {
            Stage::Waiting => drop(group.waiting.insert(id, closed)),
            Stage::Begun(at) => drop(group.begun.insert(id, (at, closed))),
        }
    }

    /// Removes a connection; returns whether it was there.
    pub(super) fn remove(&mut self, prefix: Prefix, id: Id) -> bool {
        self.change(prefix, |group| group.remove(id).is_some())
    }

    /// Closes a handshake of the prefix that has most, but not the newcomer. What was spent on a
    /// handshake should not be lost: the oldest that has sent nothing goes, else the oldest whose
    /// client lets us wait, else the youngest that waits for its turn. Returns whether there is one.
    pub(super) fn close_one(&mut self, newcomer: Option<Id>) -> bool {
        self.close(|group| {
            let is_other = |id: &&Id| Some(**id) != newcomer;
            let silent = group.silent.keys().find(is_other);
            let let_wait = || {
                let (id, (begun, _)) = group.begun.iter().next()?;
                (begun.elapsed() >= SILENCE_MAX).then_some(id)
            };
            silent.or_else(let_wait).or_else(|| group.waiting.keys().rev().find(is_other)).copied()
        })
    }

    /// Closes the oldest connection of the prefix that has most, but not the newcomer.
    pub(super) fn close_oldest(&mut self, newcomer: Option<Id>) -> bool {
        self.close(|group| group.silent.keys().find(|id| Some(**id) != newcomer).copied())
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
        let before = group.len();
        let result = change(group);
        let after = group.len();
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
    fn len(&self) -> usize {
        self.silent.len() + self.waiting.len() + self.begun.len()
    }

    fn remove(&mut self, id: Id) -> Option<CancellationToken> {
        let silent = self.silent.remove(&id).or_else(|| self.waiting.remove(&id));
        silent.or_else(|| self.begun.remove(&id).map(|(_, closed)| closed))
    }
}
