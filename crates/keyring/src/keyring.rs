//! The keyring.

use std::hash::{BuildHasher as _, RandomState};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use kes_crypto::{ImportError, Key, record};
use kes_policy::Permit;
use kes_store::{BoxError, KeyStore, ListQuery, Page, StoreError};
use kes_types::{Algorithm, Clock, Identity, KeyName, Random, Secret, Timestamp};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cache::{Cache, Lookup};
use crate::calls::{Busy, Calls, Client, Slot, SlotRequest};
use crate::flight::{Flight, FlightId, Flights, Leader, ReadResult, Wanted};
use crate::lock::lock;
use crate::probe::Probe;
use crate::{CacheExpiry, CallError, CreateError, GetError, Health};

/// The most keys kept at a time.
const ENTRIES_MAX: usize = 100_000;

/// Names are spread over this many locks.
const SHARDS: usize = 16;

/// A store read that takes longer is not waited for, so that a caller gets an answer in time and
/// the next one a read of its own. Stores that end their calls themselves take less, and say why.
const READ_TIMEOUT: Duration = Duration::from_secs(12);

/// The longest that a key is waited for: for a read under way, and one after that, which a caller
/// may need. Less than the routes allow, so that it is us who say why there is no answer.
const GET_TIMEOUT: Duration = Duration::from_millis(14_500);

/// The longest that a write or a listing waits for its turn to call the store.
const QUEUE_TIMEOUT: Duration = GET_TIMEOUT;

/// What a keyring is made of.
#[derive(Clone, Debug)]
pub struct Parts {
    /// Where keys lie.
    pub store: Arc<dyn KeyStore>,
    /// How long keys are kept.
    pub expiry: CacheExpiry,
    /// How often the store's health is looked at.
    pub probe_every: Duration,
    /// Store calls for clients at a time. They go on when their callers have hung up, so that a
    /// store which hangs gathers no more than these.
    pub calls_max: usize,
    /// Requests of one client that wait for such a call.
    pub waiting_max: usize,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub random: Arc<dyn Random>,
    /// Owner of store reads and writes, which go on when their caller hangs up.
    pub tasks: TaskTracker,
}

/// Decoded keys by name: cached for a while, one store read per name at a time.
///
/// *Key does not exist* is never cached, and a created key is not cached before the store has
/// been asked for it.
#[derive(Debug)]
pub struct Keyring {
    parts: Parts,
    shards: [Mutex<Shard>; SHARDS],
    hasher: RandomState,
    calls: Calls,
    probe: Probe,
}

#[derive(Debug)]
struct Shard {
    cache: Cache,
    flights: Flights,
}

/// What is there of a name.
enum Found {
    /// Its key, kept from an earlier read.
    Key(Arc<Key>),
    /// A read of it; one before `first_fresh` had begun already.
    Read { flight: Flight, first_fresh: FlightId },
}

impl Keyring {
    /// Puts a keyring in front of a store.
    pub fn new(parts: Parts) -> Self {
        let shards = std::array::from_fn(|_| {
            let cache = Cache::new(parts.expiry, ENTRIES_MAX / SHARDS);
            Mutex::new(Shard { cache, flights: Flights::default() })
        });
        let calls = Calls::new(parts.calls_max, parts.waiting_max);
        let probe = Probe::new(parts.probe_every, parts.clock.monotonic());
        Self { parts, shards, hasher: RandomState::new(), calls, probe }
    }

    /// Returns the key of that name, from the cache or the store.
    ///
    /// A caller that joined a read which another had started earlier does not take its *not found* for
    /// an answer: the key may have been created since.
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

    /// Whether requests of this identity wait for their turn to call the store.
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
            Timestamp::from(self.parts.clock.now()),
            &creator(permit),
            &*self.parts.random,
        );
        let key = key.map_err(|source| CreateError::Random(name.clone(), source))?;
        self.store(permit, name, &key).await
    }

    /// Makes a key of given material: 32 bytes.
    pub fn imported(
        &self,
        permit: &Permit,
        material: &Secret,
        algorithm: Algorithm,
    ) -> Result<Key, ImportError> {
        let now = Timestamp::from(self.parts.clock.now());
        Key::import(material, algorithm, now, &creator(permit), &*self.parts.random)
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
            let result = keyring.parts.store.delete(&name).await;
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
        let list = async move { keyring.parts.store.list(&query).await };
        self.call(Client::of(permit), list).await
    }

    /// The most names in a page that [`Keyring::list`] is asked for by the API: more than fit into
    /// an answer.
    pub const PAGE_NAMES_MAX: NonZeroUsize = NonZeroUsize::MIN.saturating_add(249_999);

    /// Asks the store for a sign of life, once for everyone who asks at the same time.
    pub async fn status(self: &Arc<Self>) -> Result<Duration, Arc<StoreError>> {
        let ask = || {
            let keyring = Arc::clone(self);
            // Asked to the end, whoever waits: what is joined is never older than its question.
            let asking = self.parts.tasks.spawn(async move {
                let sign = keyring.ask_for_status().await.map_err(Arc::new);
                keyring.probe.observe(&sign, keyring.parts.clock.monotonic());
                sign
            });
            async { asking.await.unwrap_or_else(|error| Err(Arc::new(died(error)))) }
        };
        self.probe.join(|| Box::pin(ask())).await
    }

    /// What was last known of the store's health, now and whenever that changes.
    pub fn health(&self) -> watch::Receiver<Health> {
        self.probe.health()
    }

    /// Looks at the store's health regularly, and soon after a call to it failed, until `stop`.
    pub async fn probe_until(self: Arc<Self>, stop: CancellationToken) {
        let clock = Arc::clone(&self.parts.clock);
        let look = || async {
            self.probe.due(|| clock.monotonic()).await;
            // The probe has taken note.
            drop(self.status().await);
        };
        while stop.run_until_cancelled(look()).await.is_some() {}
    }

    /// The randomness that keys and ciphertexts are made with.
    pub fn random(&self) -> &dyn Random {
        &*self.parts.random
    }

    /// Wipes keys soon after they ended, until `stop`.
    pub async fn sweep_until(self: Arc<Self>, stop: CancellationToken) {
        let every = self.parts.expiry.sweep_every();
        while stop.run_until_cancelled(tokio::time::sleep(every)).await.is_some() {
            let now = self.parts.clock.monotonic();
            for shard in &self.shards {
                lock(shard).cache.sweep(now);
            }
        }
    }

    async fn ask_for_status(self: &Arc<Self>) -> Result<Duration, StoreError> {
        let Some(slot) = self.calls.status() else {
            return Err(StoreError::Unreachable(StatusHangs.into()));
        };
        let store = Arc::clone(&self.parts.store);
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
            let result = keyring.parts.store.create(&name, value).await;
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

    /// Looks `name` up and, where it is not kept, joins its read. One look under one lock: between
    /// two, a read could complete that the second would start again.
    fn find(self: &Arc<Self>, name: &KeyName, client: Client) -> Result<Found, Arc<GetError>> {
        let now = self.parts.clock.monotonic();
        let mut shard = self.shard(name);
        let (kept, client) = match shard.cache.lookup(name, now) {
            Lookup::Hit(key) => return Ok(Found::Key(key)),
            Lookup::Refresh(key) => (Some(key), Client::Server),
            Lookup::Miss => (None, client),
        };
        let first_fresh = shard.flights.first_fresh(name);
        let (flight, wanted) = shard.flights.join(name, client);
        if let Some(wanted) = wanted {
            match self.calls.request(client) {
                Ok(request) => self.begin_later(name, client, wanted, request),
                Err(busy) => {
                    shard.flights.leave(name, wanted.id, client);
                    if kept.is_none() {
                        return Err(Arc::new(GetError::Busy(name.clone(), busy)));
                    }
                }
            }
        }
        Ok(kept.map_or(Found::Read { flight, first_fresh }, Found::Key))
    }

    /// Waits for a slot on a task of its own, then begins the flight that it was asked for, unless
    /// another client's slot has.
    fn begin_later(
        self: &Arc<Self>,
        name: &KeyName,
        client: Client,
        wanted: Wanted,
        request: SlotRequest,
    ) {
        let (keyring, name) = (Arc::clone(self), name.clone());
        self.parts.tasks.spawn(async move {
            let mut slot = std::pin::pin!(request.slot());
            let slot = loop {
                tokio::select! {
                    biased;
                    slot = &mut slot => break slot,
                    // A refresh has no caller.
                    () = wanted.abandoned(), if client != Client::Server => {
                        let mut shard = keyring.shard(&name);
                        if wanted.is_abandoned() {
                            return shard.flights.leave(&name, wanted.id, client);
                        }
                    }
                }
            };
            let leader = keyring.shard(&name).flights.begin(&name, wanted.id);
            if let Some(leader) = leader {
                keyring.lead(name, leader, slot).await;
            }
        });
    }

    /// Reads a key and completes the flight.
    async fn lead(self: &Arc<Self>, name: KeyName, leader: Leader, slot: Slot) {
        let result = self.read(&name, slot).await.map(Arc::new).map_err(Arc::new);
        let mut shard = self.shard(&name);
        let mut replaced = None;
        if shard.flights.end(&name, leader.id) {
            match &result {
                Ok(key) => {
                    let now = self.parts.clock.monotonic();
                    replaced = shard.cache.insert(&name, Arc::clone(key), now);
                }
                Err(error) if is_final(error) => shard.cache.remove(&name),
                Err(_) => {}
            }
        }
        drop(shard);
        if let (Some(old), Ok(new)) = (replaced, &result)
            && !old.same_material(new)
        {
            tracing::error!(
                key = name.as_str(),
                "the key store now holds other key material under this name; it is used from now on"
            );
        }
        leader.complete(result);
    }

    async fn read(self: &Arc<Self>, name: &KeyName, slot: Slot) -> Result<Key, GetError> {
        let (keyring, wanted) = (Arc::clone(self), name.clone());
        let read = async move { keyring.parts.store.get(&wanted).await };
        let value = self.read_in(slot, read).await;
        let value = value.map_err(|error| GetError::Store(name.clone(), error))?;
        record::decode(value.expose()).map_err(|error| GetError::Damaged(name.clone(), error))
    }

    /// Waits for the client's turn, then runs a store call.
    async fn call<T: Send + 'static>(
        &self,
        client: Client,
        call: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, CallError> {
        let slot = self.calls.request(client)?.slot();
        let slot = tokio::time::timeout(QUEUE_TIMEOUT, slot).await.map_err(|_| Busy)?;
        Ok(self.call_in(slot, call).await?)
    }

    /// Runs a store call on the tracker: to its end, even if its caller hangs up.
    async fn call_in<T: Send + 'static>(
        &self,
        slot: Slot,
        call: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        let task = async move {
            let result = call.await;
            drop(slot);
            result
        };
        let result = self.parts.tasks.spawn(task).await.unwrap_or_else(|error| Err(died(error)));
        if matches!(result, Err(StoreError::Unreachable(_))) {
            self.probe.call_failed();
        }
        result
    }

    /// The same, not waited for longer than a read may take.
    async fn read_in<T: Send + 'static>(
        &self,
        slot: Slot,
        call: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        let result = tokio::time::timeout(READ_TIMEOUT, self.call_in(slot, call)).await;
        result.unwrap_or_else(|_| {
            self.probe.call_failed();
            Err(StoreError::Unreachable(NoAnswer(READ_TIMEOUT).into()))
        })
    }

    /// Drops what is known of a name and keeps reads under way from bringing it back.
    fn forget(&self, name: &KeyName) {
        let mut shard = self.shard(name);
        shard.cache.remove(name);
        shard.flights.detach(name);
    }

    fn shard(&self, name: &KeyName) -> MutexGuard<'_, Shard> {
        let index = usize::try_from(self.hasher.hash_one(name) % SHARDS as u64).unwrap_or(0);
        lock(&self.shards[index])
    }
}

fn started_before(flight: FlightId, first_fresh: FlightId) -> bool {
    flight < first_fresh
}

/// Whether a failed re-read ends a kept key: a definite not-found or a refusal does; a store that
/// cannot be reached or a value that cannot be decoded does not, the key lives on until `any`.
fn is_final(error: &GetError) -> bool {
    matches!(error, GetError::Store(_, StoreError::NotFound(_) | StoreError::Refused(_)))
}

fn creator(permit: &Permit) -> String {
    permit.identity().map(ToString::to_string).unwrap_or_default()
}

fn died(error: tokio::task::JoinError) -> StoreError {
    let cause: BoxError = Box::new(error);
    StoreError::Refused(cause)
}

/// The store took longer than it may.
#[derive(Debug, thiserror::Error)]
#[error("no answer within {} s", .0.as_secs_f32())]
struct NoAnswer(Duration);

/// The store has not answered so many questions for its status that one more would only wait.
#[derive(Debug, thiserror::Error)]
#[error("earlier questions for the key store's status are not answered")]
struct StatusHangs;
