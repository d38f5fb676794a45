//! Holds the connections in three pools, and chooses which one is closed for a new one.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use kes_config::Limits;
use kes_types::Identity;
use tokio_util::sync::CancellationToken;

use crate::connection::activity::Activity;
use crate::limit::by_prefix::{ConnectionId, ConnectionsByPrefix};

/// Holds all connections of the server.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    pub(crate) next: ConnectionId,
    pub(crate) handshakes: ConnectionsByPrefix,
    pub(crate) without_policy: ConnectionsByPrefix,
    pub(crate) known: HashMap<Identity, BTreeMap<ConnectionId, Known>>,
    /// Number of connections of known identities, without the admin's.
    pub(crate) known_len: usize,
    pub(crate) admin_len: usize,
    /// Number of connections that were closed and have not ended.
    pub(crate) closing: usize,
}

/// A connection of a known identity.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) closed: CancellationToken,
    pub(crate) activity: Arc<Activity>,
    pub(crate) is_admin: bool,
}

impl Connections {
    pub(crate) fn len(&self) -> usize {
        self.handshakes.len() + self.without_policy.len() + self.known_len + self.admin_len
    }

    /// Closes an unfinished handshake other than `newcomer`; returns whether one was closed.
    pub(crate) fn close_handshake(&mut self, newcomer: Option<ConnectionId>) -> bool {
        let is_closed = self.handshakes.close_one(newcomer);
        self.closing += usize::from(is_closed);
        is_closed
    }

    /// Closes a connection without a policy other than `newcomer`; returns whether one was closed.
    pub(crate) fn close_without_policy(&mut self, newcomer: Option<ConnectionId>) -> bool {
        let is_closed = self.without_policy.close_oldest(newcomer);
        self.closing += usize::from(is_closed);
        is_closed
    }

    /// Closes a connection other than `newcomer`: one without a policy, an unfinished handshake, or an idle
    /// one of the identity that has the most. Returns whether one was closed.
    pub(crate) fn close_any(&mut self, newcomer: Option<ConnectionId>) -> bool {
        self.close_without_policy(None)
            || self.close_handshake(newcomer)
            || self.close_idle_of_largest(0)
    }

    /// Closes the longest idle connection of the identity that has the most, of those that have an idle
    /// one and more than `than` connections. Returns whether one was closed.
    pub(crate) fn close_idle_of_largest(&mut self, than: usize) -> bool {
        let mut sizes: Vec<_> =
            self.known.iter().map(|(identity, own)| (own.len(), *identity)).collect();
        sizes.sort_unstable_by(|a, b| b.cmp(a));
        let mut larger = sizes.into_iter().take_while(|(len, _)| *len > than);
        larger.any(|(_, identity)| self.close_idle_of(&identity))
    }

    /// Closes the longest idle connection of an identity; returns whether one was idle.
    pub(crate) fn close_idle_of(&mut self, identity: &Identity) -> bool {
        let own = self.known.get(identity).into_iter().flatten();
        let idle = own.filter_map(|(id, known)| Some((known.activity.idle()?, *id)));
        let Some((_, id)) = idle.max() else { return false };
        if let Some(known) = self.remove_known(identity, id) {
            known.closed.cancel();
            self.closing += 1;
        }
        true
    }

    pub(crate) fn insert_known(&mut self, identity: Identity, id: ConnectionId, known: Known) {
        let count = if known.is_admin { &mut self.admin_len } else { &mut self.known_len };
        *count += 1;
        self.known.entry(identity).or_default().insert(id, known);
    }

    pub(crate) fn remove_known(&mut self, identity: &Identity, id: ConnectionId) -> Option<Known> {
        let own = self.known.get_mut(identity)?;
        let known = own.remove(&id)?;
        if own.is_empty() {
            self.known.remove(identity);
        }
        let count = if known.is_admin { &mut self.admin_len } else { &mut self.known_len };
        *count -= 1;
        Some(known)
    }

    /// Returns whether an identity may have one more connection. If necessary, closes an idle connection
    /// of it, or of an identity that has more.
    pub(crate) fn has_share(
        &mut self,
        limits: &Limits,
        identity: &Identity,
        is_admin: bool,
    ) -> bool {
        let own_len = |state: &Self| state.known.get(identity).map_or(0, BTreeMap::len);
        if own_len(self) >= limits.connections_per_identity && !self.close_idle_of(identity) {
            return false;
        }
        let known_max = limits.connections.saturating_sub(limits.connections_reserved);
        is_admin || self.known_len < known_max || {
            let own_len = own_len(self);
            self.close_idle_of_largest(own_len) || self.close_idle_of(identity)
        }
    }
}
