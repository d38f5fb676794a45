//! The fair semaphore and its permits.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::hash::Hash;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::sync::oneshot;

/// The share of a semaphore's permits that one client may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// All permits.
    All,
    /// This many times the permits that stay free: with 7 a single client holds up to seven eighths, the
    /// next one seven eighths of the rest.
    TimesFree(usize),
}

/// A counting semaphore whose permits are shared fairly between clients, which `K` identifies.
pub struct FairSemaphore<K: Eq + Hash + Clone> {
    state: Mutex<State<K>>,
    share: Share,
    waiting_max: usize,
}

/// The error for a client that already has the maximum number of requests waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many requests of one client are waiting")]
pub struct QueueFull;

struct State<K: Eq + Hash + Clone> {
    free: usize,
    /// Clients that hold permits or wait for permits.
    clients: HashMap<K, Client<K>>,
    /// Waiting clients in the order of their turns; each occurs once.
    turns: VecDeque<K>,
}

struct Client<K: Eq + Hash + Clone> {
    held: usize,
    waiting: VecDeque<Waiter<K>>,
    /// Whether the client is in `State::turns`.
    has_turn: bool,
}

struct Waiter<K: Eq + Hash + Clone> {
    count: usize,
    granted: oneshot::Sender<FairPermit<K>>,
}

/// Permits that a client holds, which are released when this is dropped.
pub struct FairPermit<K: Eq + Hash + Clone> {
    semaphore: Arc<FairSemaphore<K>>,
    client: K,
    count: usize,
}

/// A future that waits for permits; dropping it removes the request from the queue.
pub struct Acquire<K: Eq + Hash + Clone> {
    semaphore: Arc<FairSemaphore<K>>,
    pending: Pending<K>,
}

enum Pending<K: Eq + Hash + Clone> {
    Granted(FairPermit<K>),
    Waiting(oneshot::Receiver<FairPermit<K>>),
    /// The permits were returned, or the request is being dropped.
    Ended,
}

impl<K: Eq + Hash + Clone> FairSemaphore<K> {
    /// Makes a semaphore with `permits` permits, for which at most `waiting_max` requests of each client wait.
    pub fn new(permits: usize, share: Share, waiting_max: usize) -> Arc<Self> {
        let state = State { free: permits, clients: HashMap::new(), turns: VecDeque::new() };
        Arc::new(Self { state: Mutex::new(state), share, waiting_max })
    }

    /// Requests `count` permits; more than a client may hold at all are never granted.
    ///
    /// # Errors
    ///
    /// [`QueueFull`] if the client has the maximum number of requests waiting.
    pub fn acquire(self: &Arc<Self>, client: &K, count: usize) -> Result<Acquire<K>, QueueFull> {
        let mut state = self.lock();
        let is_waiting = state.clients.get(client).is_some_and(|own| !own.waiting.is_empty());
        // A client that waits because of its own share does not block others.
        if !is_waiting
            && state.may_hold(self.share, client, count)
            && !state.has_precedence(self.share)
        {
            let permit = self.grant(&mut state, client, count);
            return Ok(self.request(Pending::Granted(permit)));
        }
        let own = state.clients.entry(client.clone()).or_default();
        if own.waiting.len() >= self.waiting_max {
            own.waiting.retain(|waiter| !waiter.granted.is_closed());
            if own.waiting.len() >= self.waiting_max {
                return Err(QueueFull);
            }
        }
        let (granted, waiting) = oneshot::channel();
        own.waiting.push_back(Waiter { count, granted });
        if !std::mem::replace(&mut own.has_turn, true) {
            state.turns.push_back(client.clone());
        }
        Ok(self.request(Pending::Waiting(waiting)))
    }

    /// Whether requests of this client are waiting.
    pub fn has_waiting(&self, client: &K) -> bool {
        let state = self.lock();
        let own = state.clients.get(client);
        own.is_some_and(|own| own.waiting.iter().any(|waiter| !waiter.granted.is_closed()))
    }

    fn request(self: &Arc<Self>, pending: Pending<K>) -> Acquire<K> {
        Acquire { semaphore: Arc::clone(self), pending }
    }

    /// The number of free permits.
    pub fn free(&self) -> usize {
        self.lock().free
    }

    /// Grants permits; the caller has checked that this is possible.
    fn grant(self: &Arc<Self>, state: &mut State<K>, client: &K, count: usize) -> FairPermit<K> {
        state.free -= count;
        state.clients.entry(client.clone()).or_default().held += count;
        FairPermit { semaphore: Arc::clone(self), client: client.clone(), count }
    }

    /// Releases permits and grants them to waiting requests.
    fn release(self: &Arc<Self>, client: &K, count: usize) {
        let mut state = self.lock();
        state.take_back(client, count);
        self.serve_waiting(&mut state);
    }

    /// Grants free permits to waiting clients, one request per turn.
    fn serve_waiting(self: &Arc<Self>, state: &mut State<K>) {
        // The number of clients that were passed over because of their share.
        let mut passed = 0;
        while passed < state.turns.len() {
            let Some(next) = state.turns.pop_front() else { break };
            match state.next_count(&next) {
                None => state.end_turns(&next),
                Some(count) if state.may_hold(self.share, &next, count) => {
                    self.serve(state, &next);
                    state.turns.push_back(next);
                    passed = 0;
                }
                // Smaller requests of other clients must not starve a large one.
                Some(count) if count > state.free => {
                    state.turns.push_front(next);
                    // The clients that were passed over stay behind it.
                    break;
                }
                Some(_) => {
                    state.turns.push_back(next);
                    passed += 1;
                }
            }
        }
    }

    /// Grants permits to the first waiting request of a client.
    fn serve(self: &Arc<Self>, state: &mut State<K>, client: &K) {
        let waiter = state.clients.get_mut(client).and_then(|own| own.waiting.pop_front());
        let Some(Waiter { count, granted }) = waiter else { return };
        let permit = self.grant(state, client, count);
        if let Err(mut unwanted) = granted.send(permit) {
            // The request was dropped meanwhile. Dropping the permit would take the lock again.
            let count = std::mem::take(&mut unwanted.count);
            state.take_back(client, count);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<K>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash + Clone> State<K> {
    /// Whether a client may hold `count` permits more.
    fn may_hold(&self, share: Share, client: &K, count: usize) -> bool {
        let Some(free) = self.free.checked_sub(count) else { return false };
        match share {
            Share::All => true,
            Share::TimesFree(times) => {
                let held = self.clients.get(client).map_or(0, |own| own.held);
                held + count <= free.saturating_mul(times)
            }
        }
    }

    /// The number of permits of a client's first waiting request; `None` if no request is waiting.
    ///
    /// Requests that were dropped are removed from the queue.
    fn next_count(&mut self, client: &K) -> Option<usize> {
        let own = self.clients.get_mut(client)?;
        while own.waiting.front().is_some_and(|waiter| waiter.granted.is_closed()) {
            own.waiting.pop_front();
        }
        own.waiting.front().map(|waiter| waiter.count)
    }

    /// Whether a waiting client has precedence over a new request: it may hold what it requests, or
    /// requests more permits than are free.
    fn has_precedence(&mut self, share: Share) -> bool {
        (0..self.turns.len()).any(|index| {
            let Some(client) = self.turns.get(index).cloned() else { return false };
            self.next_count(&client)
                .is_some_and(|count| count > self.free || self.may_hold(share, &client, count))
        })
    }

    fn take_back(&mut self, client: &K, count: usize) {
        self.free += count;
        if let Some(own) = self.clients.get_mut(client) {
            own.held -= count;
        }
        self.forget_if_idle(client);
    }

    /// Records that a client has no waiting requests any more.
    fn end_turns(&mut self, client: &K) {
        if let Some(own) = self.clients.get_mut(client) {
            own.has_turn = false;
        }
        self.forget_if_idle(client);
    }

    fn forget_if_idle(&mut self, client: &K) {
        let is_idle = |own: &Client<K>| own.held == 0 && !own.has_turn;
        if self.clients.get(client).is_some_and(is_idle) {
            self.clients.remove(client);
        }
    }
}

impl<K: Eq + Hash + Clone> Default for Client<K> {
    fn default() -> Self {
        Self { held: 0, waiting: VecDeque::new(), has_turn: false }
    }
}

impl<K: Eq + Hash + Clone> FairPermit<K> {
    /// The number of permits.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Releases permits so that at most `count` are left.
    pub fn shrink_to(&mut self, count: usize) {
        let excess = self.count.saturating_sub(count);
        if excess > 0 {
            self.count -= excess;
            self.semaphore.release(&self.client, excess);
        }
    }
}

impl<K: Eq + Hash + Clone> Drop for FairPermit<K> {
    fn drop(&mut self) {
        if self.count > 0 {
            self.semaphore.release(&self.client, self.count);
        }
    }
}

impl<K: Eq + Hash + Clone> Future for Acquire<K> {
    type Output = FairPermit<K>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<FairPermit<K>> {
        match std::mem::replace(&mut self.pending, Pending::Ended) {
            Pending::Granted(permit) => Poll::Ready(permit),
            Pending::Waiting(mut waiting) => match Pin::new(&mut waiting).poll(cx) {
                Poll::Ready(Ok(permit)) => Poll::Ready(permit),
                // A sender is dropped without a grant only if its request was dropped.
                Poll::Ready(Err(_)) => Poll::Pending,
                Poll::Pending => {
                    self.pending = Pending::Waiting(waiting);
                    Poll::Pending
                }
            },
            Pending::Ended => Poll::Pending,
        }
    }
}

impl<K: Eq + Hash + Clone> Drop for Acquire<K> {
    fn drop(&mut self) {
        if let Pending::Waiting(waiting) = std::mem::replace(&mut self.pending, Pending::Ended) {
            drop(waiting);
            // Other clients may have waited behind this request.
            let mut state = self.semaphore.lock();
            self.semaphore.serve_waiting(&mut state);
        }
    }
}

impl<K: Eq + Hash + Clone> Unpin for Acquire<K> {}

impl<K: Eq + Hash + Clone> fmt::Debug for FairSemaphore<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (share, waiting_max) = (self.share, self.waiting_max);
        f.debug_struct("FairSemaphore")
            .field("free", &self.free())
            .field("share", &share)
            .field("waiting_max", &waiting_max)
            .finish_non_exhaustive()
    }
}

impl<K: Eq + Hash + Clone> fmt::Debug for Acquire<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acquire").finish_non_exhaustive()
    }
}

impl<K: Eq + Hash + Clone> fmt::Debug for FairPermit<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FairPermit").field("count", &self.count).finish_non_exhaustive()
    }
}
