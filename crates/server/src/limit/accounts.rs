//! Counts the requests in flight of each identity and of the whole server.
//!
//! A request counts until its response is written. The limit of an identity keeps it from using
//! all slots of the server.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use kes_types::{Identity, lock};

/// Limits the requests in flight of all clients.
#[derive(Debug)]
pub(crate) struct Accounts {
    all: Arc<Account>,
    per_identity_max: usize,
    by_identity: Mutex<HashMap<Identity, Weak<Account>>>,
}

/// Counts the requests in flight of one identity, or of all clients.
#[derive(Debug)]
pub(crate) struct Account {
    requests: AtomicUsize,
    requests_max: usize,
    /// The account of all clients, in which the requests of one identity count as well.
    all: Option<Arc<Self>>,
}

/// Holds the slot of a request in flight, and releases it when dropped.
#[derive(Debug)]
pub(crate) struct RequestSlot(Arc<Account>);

impl Accounts {
    /// Allows `requests_max` requests at a time, and `per_identity_max` of each identity.
    pub(crate) fn new(requests_max: usize, per_identity_max: usize) -> Arc<Self> {
        let all = Arc::new(Account::new(requests_max, None));
        Arc::new(Self { all, per_identity_max, by_identity: Mutex::default() })
    }

    /// Returns the account of an identity. A connection looks it up once.
    pub(crate) fn of(&self, identity: &Identity) -> Arc<Account> {
        let mut accounts = self.lock();
        if let Some(account) = accounts.get(identity).and_then(Weak::upgrade) {
            return account;
        }
        // Before the map grows, the accounts of identities without a connection are removed.
        if accounts.len() == accounts.capacity() {
            accounts.retain(|_, account| account.strong_count() > 0);
        }
        let account = Account::new(self.per_identity_max, Some(Arc::clone(&self.all)));
        let account = Arc::new(account);
        accounts.insert(*identity, Arc::downgrade(&account));
        account
    }

    /// Acquires the slot of a request; returns `None` if there are too many requests.
    pub(crate) fn begin(&self, own: Option<Arc<Account>>) -> Option<RequestSlot> {
        let account = own.unwrap_or_else(|| Arc::clone(&self.all));
        account.try_begin().then(|| RequestSlot(account))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Identity, Weak<Account>>> {
        lock(&self.by_identity)
    }
}

impl Account {
    fn new(requests_max: usize, all: Option<Arc<Self>>) -> Self {
        Self { requests: AtomicUsize::new(0), requests_max, all }
    }

    fn try_begin(&self) -> bool {
        let is_below = self.requests.fetch_add(1, Ordering::AcqRel) < self.requests_max;
        let is_possible = is_below && self.all.as_ref().is_none_or(|all| all.try_begin());
        if !is_possible {
            self.requests.fetch_sub(1, Ordering::AcqRel);
        }
        is_possible
    }

    fn end(&self) {
        self.requests.fetch_sub(1, Ordering::AcqRel);
        if let Some(all) = &self.all {
            all.end();
        }
    }
}

impl Drop for RequestSlot {
    fn drop(&mut self) {
        self.0.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_identity_has_its_own_limit_and_there_is_one_for_all() {
        let accounts = Accounts::new(5, 3);
        let (first, second) = (1, 2);
        let of = |seed: u8| accounts.of(&Identity::of_public_key(&[seed]));
        // As connections do, these keep the accounts while there are no requests.
        let _connections = (of(first), of(second));
        let begin = |seed| accounts.begin(Some(of(seed)));
        let mut held: Vec<_> = (0..3).map(|_| begin(first).unwrap()).collect();
        assert!(begin(first).is_none());
        held.push(begin(second).unwrap());
        held.push(accounts.begin(None).unwrap());
        assert!(begin(second).is_none() && accounts.begin(None).is_none());
        held.clear();
        assert!(begin(first).is_some());
    }

    #[test]
    fn accounts_of_identities_without_a_connection_are_removed() {
        let accounts = Accounts::new(5, 3);
        for seed in 0..1000_u32 {
            drop(accounts.of(&Identity::of_public_key(&seed.to_le_bytes())));
        }
        assert!(accounts.lock().len() < 100);
    }
}
