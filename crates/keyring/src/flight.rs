//! One store read per name at a time.

use std::collections::HashMap;
use std::sync::Arc;

use kes_crypto::Key;
use kes_types::KeyName;
use tokio::sync::watch;

use crate::GetError;

/// What a store read brought; shared by everyone who waited for it.
pub(crate) type Landing = Result<Arc<Key>, Arc<GetError>>;

/// Numbers flights in the order of their start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FlightId(u64);

/// The reads under way, by name.
#[derive(Debug, Default)]
pub(crate) struct Flights {
    next: u64,
    under_way: HashMap<KeyName, Flight>,
}

/// A read under way.
#[derive(Clone, Debug)]
pub(crate) struct Flight {
    pub(crate) id: FlightId,
    landing: watch::Receiver<Option<Landing>>,
}

/// A new flight's obligation to land.
#[derive(Debug)]
pub(crate) struct Departure {
    pub(crate) id: FlightId,
    landing: watch::Sender<Option<Landing>>,
}

impl Flights {
    /// The number that the next flight will get: every flight from here on starts after now.
    pub(crate) fn horizon(&self) -> FlightId {
        FlightId(self.next)
    }

    /// Joins the flight of that name; where there is none a new one is to be started.
    pub(crate) fn join(&mut self, name: &KeyName) -> (Flight, Option<Departure>) {
        if let Some(flight) = self.under_way.get(name).filter(|flight| !flight.is_lost()) {
            return (flight.clone(), None);
        }
        let id = FlightId(self.next);
        self.next += 1;
        let (sender, receiver) = watch::channel(None);
        let flight = Flight { id, landing: receiver };
        self.under_way.insert(name.clone(), flight.clone());
        (flight, Some(Departure { id, landing: sender }))
    }

    /// Ends a flight; tells whether it was still the name's, so that its key may be kept.
    pub(crate) fn end(&mut self, name: &KeyName, id: FlightId) -> bool {
        let current = self.under_way.get(name).is_some_and(|flight| flight.id == id);
        if current {
            self.under_way.remove(name);
        }
        current
    }

    /// Lets nobody join the name's flight any more, and its key is not kept: the name was created
    /// or deleted meanwhile.
    pub(crate) fn detach(&mut self, name: &KeyName) {
        self.under_way.remove(name);
    }
}

impl Flight {
    /// Whether its task died: a flight that landed is under way no more.
    fn is_lost(&self) -> bool {
        self.landing.has_changed().is_err()
    }

    /// Waits for the landing; `None` if the flight was lost (its task died).
    pub(crate) async fn landed(mut self) -> Option<Landing> {
        let landing = self.landing.wait_for(Option::is_some).await.ok()?;
        landing.clone()
    }
}

impl Departure {
    pub(crate) fn land(self, landing: Landing) {
        // Nobody may be waiting: a refresh in the background.
        self.landing.send_replace(Some(landing));
    }
}
