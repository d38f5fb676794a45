//! The table of flights: which reads wait or run, and which callers have joined them (single-flight).
//!
//! A read waits for a slot among the store's calls, in the queue of each client that has joined it. The first slot
//! begins the read, so that no client waits in the queue of another.

use std::collections::HashMap;
use std::sync::Arc;

use kes_crypto::Key;
use kes_types::KeyName;
use tokio::sync::watch;

use crate::GetError;
use crate::calls::Client;

/// The result of a store read, shared by all callers that joined it.
pub(crate) type ReadResult = Result<Arc<Key>, Arc<GetError>>;

/// Numbers flights in the order of their start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FlightId(u64);

/// The reads that are waiting or running, by name.
#[derive(Debug, Default)]
pub(crate) struct Flights {
    next: u64,
    under_way: HashMap<KeyName, Entry>,
}

#[derive(Debug)]
struct Entry {
    id: FlightId,
    result: Arc<watch::Sender<Option<ReadResult>>>,
    has_begun: bool,
    /// The clients in whose queues the read waits for a slot.
    waiting_for: Vec<Client>,
}

/// A read that a caller has joined.
#[derive(Debug)]
pub(crate) struct Flight {
    pub(crate) id: FlightId,
    result: watch::Receiver<Option<ReadResult>>,
}

/// A slot that a joined flight needs: the caller waits for it, then begins the flight.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) id: FlightId,
    result: Arc<watch::Sender<Option<ReadResult>>>,
}

/// The task that runs a flight. When it is dropped without a result, the flight ends as lost.
#[derive(Debug)]
pub(crate) struct Leader {
    pub(crate) id: FlightId,
    name: KeyName,
    result: Arc<watch::Sender<Option<ReadResult>>>,
}

impl Flights {
    /// The lowest number of a flight of that name that begins after now: that of the one which waits for its
    /// slot, else the next.
    pub(crate) fn first_fresh(&self, name: &KeyName) -> FlightId {
        let waiting = self.under_way.get(name).filter(|entry| !entry.has_begun);
        waiting.map_or(FlightId(self.next), |entry| entry.id)
    }

    /// Joins the flight of that name, or starts one. The second value is there when a slot is to be
    /// waited for on behalf of `client`; [`Self::leave`] takes that back.
    pub(crate) fn join(&mut self, name: &KeyName, client: Client) -> (Flight, Option<Wanted>) {
        // A flight that has a result and is still here was lost.
        if self.under_way.get(name).is_some_and(|entry| entry.result.borrow().is_some()) {
            self.under_way.remove(name);
        }
        let next = &mut self.next;
        let entry = self.under_way.entry(name.clone()).or_insert_with(|| {
            let id = FlightId(*next);
            *next += 1;
            let result = Arc::new(watch::Sender::new(None));
            Entry { id, result, has_begun: false, waiting_for: Vec::new() }
        });
        let flight = Flight { id: entry.id, result: entry.result.subscribe() };
        if entry.has_begun || entry.waiting_for.contains(&client) {
            return (flight, None);
        }
        entry.waiting_for.push(client);
        let wanted = Wanted { id: entry.id, result: Arc::clone(&entry.result) };
        (flight, Some(wanted))
    }

    /// Notes that the read waits for no slot in the queue of `client` any more.
    pub(crate) fn leave(&mut self, name: &KeyName, id: FlightId, client: Client) {
        if let Some(entry) = self.under_way.get_mut(name).filter(|entry| entry.id == id) {
            entry.waiting_for.retain(|other| *other != client);
            if entry.waiting_for.is_empty() && !entry.has_begun {
                self.under_way.remove(name);
            }
        }
    }

    /// Begins a flight: a slot is there. `None` if it has begun, was left or is detached: then its
    /// result is not the name's, or it needs no second slot.
    pub(crate) fn begin(&mut self, name: &KeyName, id: FlightId) -> Option<Leader> {
        let entry = self.under_way.get_mut(name).filter(|entry| entry.id == id)?;
        if std::mem::replace(&mut entry.has_begun, true) {
            return None;
        }
        let result = Arc::clone(&entry.result);
        Some(Leader { id, name: name.clone(), result })
    }

    /// Whether a flight waits for its slot.
    pub(crate) fn is_waiting(&self, name: &KeyName, id: FlightId) -> bool {
        self.under_way.get(name).is_some_and(|entry| entry.id == id && !entry.has_begun)
    }

    /// Ends a flight; returns whether it was still the name's, so that its key may be kept.
    pub(crate) fn end(&mut self, name: &KeyName, id: FlightId) -> bool {
        let current = self.under_way.get(name).is_some_and(|entry| entry.id == id);
        if current {
            self.under_way.remove(name);
        }
        current
    }

    /// The name's running flight cannot be joined any more, and its key is not kept: the name was
    /// created or deleted meanwhile. One that has not begun reads what is there then.
    pub(crate) fn detach(&mut self, name: &KeyName) {
        if self.under_way.get(name).is_some_and(|entry| entry.has_begun) {
            self.under_way.remove(name);
        }
    }
}

impl Wanted {
    /// Waits until the flight is abandoned: no caller waits for it. A client may join it right after.
    pub(crate) async fn abandoned(&self) {
        self.result.closed().await;
    }

    /// Whether no caller waits for it.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.result.receiver_count() == 0
    }
}

impl Flight {
    /// Waits for the result.
    pub(crate) async fn completed(mut self) -> Option<ReadResult> {
        let result = self.result.wait_for(Option::is_some).await.ok()?;
        result.clone()
    }
}

impl Leader {
    /// Completes the flight: hands the result to all callers that joined; a background refresh may have none.
    pub(crate) fn complete(self, result: ReadResult) {
        self.result.send_replace(Some(result));
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        self.result.send_if_modified(|result| {
            let is_lost = result.is_none();
            if is_lost {
                *result = Some(Err(Arc::new(GetError::lost(&self.name))));
            }
            is_lost
        });
    }
}
