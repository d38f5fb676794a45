//! Reads keys from the store: looks into the cache, joins or begins a flight (`flight.rs`), and completes it.

use std::sync::Arc;

use kes_crypto::{Key, record};
use kes_store::StoreError;
use kes_types::KeyName;

use crate::cache::Lookup;
use crate::calls::{Client, Slot, SlotRequest};
use crate::flight::{Flight, FlightId, Leader, Wanted};
use crate::{GetError, Keyring};

/// The result of looking for a key.
pub(crate) enum Found {
    /// The key, from the cache.
    Key(Arc<Key>),
    /// A read of it; one before `first_fresh` had begun already.
    Read { flight: Flight, first_fresh: FlightId },
}

impl Keyring {
    /// Looks `name` up in the cache and, on a miss, joins its read. Both under one lock: between two, a read
    /// could complete that would then be started again.
    pub(crate) fn find(
        self: &Arc<Self>,
        name: &KeyName,
        client: Client,
    ) -> Result<Found, Arc<GetError>> {
        let now = self.deps.clock.monotonic();
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

    /// Waits for a slot in a task of its own, then begins the flight, unless it has begun in the slot of another
    /// client.
    fn begin_later(
        self: &Arc<Self>,
        name: &KeyName,
        client: Client,
        wanted: Wanted,
        request: SlotRequest,
    ) {
        let (keyring, name) = (Arc::clone(self), name.clone());
        self.deps.tasks.spawn(async move {
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
                    let now = self.deps.clock.monotonic();
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
        let read = async move { keyring.deps.store.get(&wanted).await };
        let value = self.read_in(slot, read).await;
        let value = value.map_err(|error| GetError::Store(name.clone(), error))?;
        record::decode(value.expose()).map_err(|error| GetError::Damaged(name.clone(), error))
    }
}

/// Whether a failed re-read ends a kept key: a definite not-found or a refusal does; a store that
/// cannot be reached or a value that cannot be decoded does not, the key lives on until `any`.
fn is_final(error: &GetError) -> bool {
    matches!(error, GetError::Store(_, StoreError::NotFound(_) | StoreError::Refused(_)))
}
