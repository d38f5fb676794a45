//! Limits how many calls to the key store run at once, and shares them fairly between identities.

use std::sync::Arc;

use kes_fair::{Acquire, FairSemaphore, Share};
use kes_policy::{Grant, Permit};
use kes_types::Identity;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Calls that are kept for the server itself: refreshes and the keys of the configuration.
const RESERVED: usize = 16;

/// Calls that are kept for the store's status. There is one at a time, unless the store hangs.
const STATUS: usize = 4;

/// The client that a call to the key store is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Client {
    /// An identity.
    Identity(Identity),
    /// All callers of routes that ask for no policy, together.
    Open,
    /// The server itself.
    Server,
}

impl Client {
    pub(crate) fn of(permit: &Permit) -> Self {
        match (permit.grant(), permit.identity()) {
            (Grant::Configuration, _) => Self::Server,
            (Grant::Admin | Grant::Policy(_), Some(identity)) => Self::Identity(*identity),
            // Where no policy is asked for, one client can use any number of identities.
            _ => Self::Open,
        }
    }
}

/// Calls to the key store, running and waiting.
#[derive(Debug)]
pub(crate) struct Calls {
    shared: Arc<FairSemaphore<Client>>,
    reserved: Arc<Semaphore>,
    status: Arc<Semaphore>,
}

/// The right to make one call; given back when dropped.
#[derive(Debug)]
#[expect(dead_code, reason = "held, and dropped when the call has ended")]
pub(crate) enum Slot {
    Shared(kes_fair::FairPermit<Client>),
    Reserved(OwnedSemaphorePermit),
}

/// A request for a slot; dropping it leaves the queue.
#[derive(Debug)]
pub(crate) struct SlotRequest {
    shared: Acquire<Client>,
    /// Further slots, for the server's own calls.
    reserved: Option<Arc<Semaphore>>,
}

/// The client has as many requests waiting for the key store as it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many requests of this client wait for the key store")]
pub struct Busy;

impl Calls {
    /// `running_max` calls for clients at a time; of each at most `waiting_max` requests wait.
    pub(crate) fn new(running_max: usize, waiting_max: usize) -> Self {
        Self {
            shared: FairSemaphore::new(running_max, Share::All, waiting_max),
            reserved: Arc::new(Semaphore::new(RESERVED)),
            status: Arc::new(Semaphore::new(STATUS)),
        }
    }

    /// Requests a slot; the request waits in the client's queue.
    pub(crate) fn request(&self, client: Client) -> Result<SlotRequest, Busy> {
        let shared = self.shared.acquire(&client, 1).map_err(|_| Busy)?;
        let reserved = (client == Client::Server).then(|| Arc::clone(&self.reserved));
        Ok(SlotRequest { shared, reserved })
    }

    /// Whether requests of this client wait for a slot.
    pub(crate) fn has_waiting(&self, client: &Client) -> bool {
        self.shared.has_waiting(client)
    }

    /// A slot for the store's status; none while too many such calls hang.
    pub(crate) fn status(&self) -> Option<Slot> {
        Arc::clone(&self.status).try_acquire_owned().ok().map(Slot::Reserved)
    }
}

impl SlotRequest {
    /// Waits for a slot; clients get them in round robin.
    pub(crate) async fn slot(self) -> Slot {
        let Some(reserved) = self.reserved else { return Slot::Shared(self.shared.await) };
        tokio::select! {
            biased;
            shared = self.shared => Slot::Shared(shared),
            // The semaphore is never closed.
            Ok(reserved) = reserved.acquire_owned() => Slot::Reserved(reserved),
        }
    }
}
