//! The type [`Keyring`]: gets, creates, deletes and lists keys, and knows the health of the store.

use std::hash::{BuildHasher as _, RandomState};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use kes_crypto::{ImportError, Key, record};
use kes_policy::Permit;
use kes_store::{KeyStore, ListQuery, Page, StoreError};
use kes_types::{Algorithm, Clock, Identity, KeyName, Random, Secret, Timestamp, lock};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cache::Cache;
use crate::calls::{Busy, Calls, Client};
use crate::flight::{FlightId, Flights, ReadResult};
use crate::probe::Probe;
use crate::read::Found;
use crate::store_call::{NoAnswer, died};
use crate::{CacheExpiry, CallError, CreateError, GetError, Health};

/// The most keys kept at a time.
const ENTRIES_MAX: usize = 100_000;

/// The number of shards, each with a lock of its own.
const SHARDS: usize = 16;

/// The longest that a key is waited for: for a read under way, and one after that, which a caller
/// may need. Less than the routes allow, so that it is us who say why there is no answer.
pub(crate) const GET_TIMEOUT: Duration = Duration::from_millis(14_500);

/// The dependencies and limits of a [`Keyring`].
#[derive(Clone, Debug)]
pub struct KeyringDeps {
    /// The key store.
    pub store: Arc<dyn KeyStore>,
    /// How long keys are kept.
    pub expiry: CacheExpiry,
    /// The interval of the store's health probe.
    pub probe_every: Duration,
    /// Concurrent store calls for clients. A call goes on when its caller has hung up, so this is also the
    /// most calls that a store which hangs can hold.
    pub calls_max: usize,
    /// Requests of one client that wait for a slot among these calls.
    pub waiting_max: usize,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub random: Arc<dyn Random>,
    /// Owns the tasks of store reads and writes, which go on when their caller hangs up.
    pub tasks: TaskTracker,
}

/// Decoded keys by name: cached, with single-flight reads from the key store.
///
/// *Key does not exist* is never cached, and a created key is not cached before the store has
/// been asked for it.
#[derive(Debug)]
pub struct Keyring {
    pub(crate) deps: KeyringDeps,
    shards: [Mutex<Shard>; SHARDS],
    hasher: RandomState,
    pub(crate) calls: Calls,
    pub(crate) probe: Probe,
}

#[derive(Debug)]
pub(crate) struct Shard {
    pub(crate) cache: Cache,
    pub(crate) flights: Flights,
}

impl Keyring {
    /// Puts a keyring in front of a store.
    pub fn new(deps: KeyringDeps) -> Self {
        let shards = std::array::from_fn(|_| {
            let cache = Cache::new(deps.expiry, ENTRIES_MAX / SHARDS);
            Mutex::new(Shard { cache, flights: Flights::default() })
        });
        let calls = Calls::new(deps.calls_max, deps.waiting_max);
        let probe = Probe::new(deps.probe_every, deps.clock.monotonic());
        Self { deps, shards, hasher: RandomState::new(), calls, probe }
    }

    /// Returns the key of that name, from the cache or the store.
    ///
    /// A caller that joined a read which had started earlier does not take its *not found* for the result:
    /// the key may have been created since, so it reads again.
    pub async fn get(self: &Arc<Self>, permit: &Permit, name: &KeyName) -> ReadResult {
        let client = Client::of(permit);
        let (mut flight, first_fresh) = match self.find(name, client)? {
            Found::Key(key) => return Ok(key),
            Found::Read { flight, first_fresh } => (flight, first_fresh),
        };
        let mut waited_for = flight.id;
        let read = async {
            loop {
                waited_for = flight.id;
                let id = flight.id;
                match flight.completed().await {
                    Some(Err(error)) if error.is_not_found() && started_before(id, first_fresh) => {
                    }
                    Some(result) => return result,
                    None => return Err(Arc::new(GetError::lost(name))),
                }
                flight = match self.find(name, client)? {
                    Found::Key(key) => return Ok(key),
                    Found::Read { flight, .. } => flight,
                };
            }
        };
        let result = tokio::time::timeout(GET_TIMEOUT, read).await;
        result.unwrap_or_else(|_| {
            if self.shard(name).flights.is_waiting(name, waited_for) {
                return Err(Arc::new(GetError::Busy(name.clone(), Busy)));
            }
            let no_answer = StoreError::Unreachable(NoAnswer(GET_TIMEOUT).into());
            Err(Arc::new(GetError::Store(name.clone(), no_answer)))
        })
    }

    /// Whether requests of this identity wait for a slot to call the store.
    pub fn has_waiting(&self, identity: Identity) -> bool {
        self.calls.has_waiting(&Client::Identity(identity))
    }

    /// Makes a new key and stores it under a free name. The write goes on if the caller hangs up.
    pub async fn create(
        self: &Arc<Self>,
        permit: &Permit,
        name: &KeyName,
    ) -> Result<(), CreateError> {
        let key = Key::generate(
            kes_crypto::preferred_algorithm(),
            Timestamp::from(self.deps.clock.now()),
            &creator(permit),
            &*self.deps.random,
        );
        let key = key.map_err(|source| CreateError::Random(name.clone(), source))?;
        self.store(permit, name, &key).await
    }

    /// Makes a key of given material, 32 bytes; it is not stored yet.
    pub fn imported(
        &self,
        permit: &Permit,
        material: &Secret,
        algorithm: Algorithm,
    ) -> Result<Key, ImportError> {
        let now = Timestamp::from(self.deps.clock.now());
        Key::import(material, algorithm, now, &creator(permit), &*self.deps.random)
    }

    /// Stores an imported key under a free name. The write goes on if the caller hangs up.
    pub async fn import(
        self: &Arc<Self>,
        permit: &Permit,
        name: &KeyName,
        key: Key,
    ) -> Result<(), CreateError> {
        self.store(permit, name, &key).await
    }

    /// Deletes a key for good. The write goes on if the caller hangs up.
    pub async fn delete(
        self: &Arc<Self>,
        permit: &Permit,
        name: &KeyName,
    ) -> Result<(), CallError> {
        let (keyring, name) = (Arc::clone(self), name.clone());
        let write = async move {
            keyring.forget(&name);
            let result = keyring.deps.store.delete(&name).await;
            // Again: a read that began before the delete may have come back meanwhile.
            keyring.forget(&name);
            result
        };
        self.call(Client::of(permit), write).await
    }

    /// Lists names, a page at a time.
    pub async fn list(
        self: &Arc<Self>,
        permit: &Permit,
        query: &ListQuery,
    ) -> Result<Page, CallError> {
        let (keyring, query) = (Arc::clone(self), query.clone());
        let list = async move { keyring.deps.store.list(&query).await };
        self.call(Client::of(permit), list).await
    }

    /// The most names in a page that [`Keyring::list`] is asked for by the API: more than fit into
    /// an answer.
    pub const PAGE_NAMES_MAX: NonZeroUsize = NonZeroUsize::MIN.saturating_add(249_999);

    /// Probes the store's health; concurrent callers share one probe (single-flight).
    pub async fn status(self: &Arc<Self>) -> Result<Duration, Arc<StoreError>> {
        let ask = || {
            let keyring = Arc::clone(self);
            // It runs to its end even if no caller waits, so that a result that is joined is never older than
            // the call that joins it.
            let asking = self.deps.tasks.spawn(async move {
                let sign = keyring.ask_for_status().await.map_err(Arc::new);
                keyring.probe.observe(&sign, keyring.deps.clock.monotonic());
                sign
            });
            async { asking.await.unwrap_or_else(|error| Err(Arc::new(died(error)))) }
        };
        self.probe.join(|| Box::pin(ask())).await
    }

    /// The health state of the store, with a notification for each change.
    pub fn health(&self) -> watch::Receiver<Health> {
        self.probe.health()
    }

    /// Probes the store's health at an interval, and soon after a call to it failed, until `stop`.
    pub async fn probe_until(self: Arc<Self>, stop: CancellationToken) {
        let clock = Arc::clone(&self.deps.clock);
        let look = || async {
            self.probe.due(|| clock.monotonic()).await;
            // The probe has taken note.
            drop(self.status().await);
        };
        while stop.run_until_cancelled(look()).await.is_some() {}
    }

    /// The source of randomness for keys and ciphertexts.
    pub fn random(&self) -> &dyn Random {
        &*self.deps.random
    }

    /// Removes expired keys from the cache, which wipes their material, until `stop`.
    pub async fn sweep_until(self: Arc<Self>, stop: CancellationToken) {
        let every = self.deps.expiry.sweep_every();
        while stop.run_until_cancelled(tokio::time::sleep(every)).await.is_some() {
            let now = self.deps.clock.monotonic();
            for shard in &self.shards {
                lock(shard).cache.sweep(now);
            }
        }
    }

    async fn ask_for_status(self: &Arc<Self>) -> Result<Duration, StoreError> {
        let Some(slot) = self.calls.status() else {
            return Err(StoreError::Unreachable(StatusHangs.into()));
        };
        let store = Arc::clone(&self.deps.store);
        self.read_in(slot, async move { store.status().await }).await
    }

    async fn store(
        self: &Arc<Self>,
        permit: &Permit,
        name: &KeyName,
        key: &Key,
    ) -> Result<(), CreateError> {
        let (keyring, name) = (Arc::clone(self), name.clone());
        let (value, failed_name) = (record::encode(key), name.clone());
        let write = async move {
            let result = keyring.deps.store.create(&name, value).await;
            // A read under way may have found nothing. What is cached stays: a create that failed
            // says nothing about a key that is there.
            keyring.shard(&name).flights.detach(&name);
            result
        };
        self.call(Client::of(permit), write).await.map_err(|error| match error {
            CallError::Store(error) => CreateError::Store(failed_name, error),
            CallError::Busy(busy) => CreateError::Busy(failed_name, busy),
        })
    }

    /// Drops what is known of a name and keeps reads under way from bringing it back.
    fn forget(&self, name: &KeyName) {
        let mut shard = self.shard(name);
        shard.cache.remove(name);
        shard.flights.detach(name);
    }

    pub(crate) fn shard(&self, name: &KeyName) -> MutexGuard<'_, Shard> {
        let index = usize::try_from(self.hasher.hash_one(name) % SHARDS as u64).unwrap_or(0);
        lock(&self.shards[index])
    }
}

fn started_before(flight: FlightId, first_fresh: FlightId) -> bool {
    flight < first_fresh
}

fn creator(permit: &Permit) -> String {
    permit.identity().map(ToString::to_string).unwrap_or_default()
}

/// The store has not answered so many questions for its status that one more would only wait.
#[derive(Debug, thiserror::Error)]
#[error("earlier questions for the key store's status are not answered")]
struct StatusHangs;
