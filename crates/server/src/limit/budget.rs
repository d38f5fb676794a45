//! Limits the memory of large request and response bodies, and shares it fairly between identities.
//!
//! Without it, a few clients with large bodies could exhaust the memory of the process. A request waits
//! until its bytes are available, first in its connection and then in the server.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use kes_fair::{FairPermit, FairSemaphore, Share};
use kes_types::Identity;

use crate::http::error::ApiError;
use crate::state::shutdown::Stop;

/// Length of a body that is not counted, in bytes: the number of requests limits these.
pub(crate) const SMALL_LEN: usize = 16 << 10;

/// Leaves an eighth of the budget to other clients.
const SHARE: Share = Share::TimesFree(7);

/// How long requests wait for memory during shutdown: memory that is held by responses which clients do
/// not read must not delay it.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);

/// The holder of memory: an identity, or all callers without one together.
pub(crate) type Client = Option<Identity>;

/// Limits the bytes that are held in the whole server.
#[derive(Debug)]
pub(crate) struct Budget {
    all: Arc<FairSemaphore<Client>>,
    per_connection: usize,
    waiting_max: usize,
    stop: Stop,
}

/// Limits the bytes that are held by one connection, within the budget of the server.
#[derive(Debug)]
pub(crate) struct ConnectionBudget {
    server: Arc<Budget>,
    /// Created for the first large body.
    own: OnceLock<Arc<FairSemaphore<()>>>,
}

/// Holds bytes of the budget, and releases them when dropped.
#[derive(Debug)]
pub(crate) struct Held {
    all: FairPermit<Client>,
    connection: FairPermit<()>,
}

impl Budget {
    /// Allows `all` bytes for the whole server and `per_connection` for each connection. At most
    /// `waiting_max` requests of each client wait.
    pub(crate) fn new(
        all: usize,
        per_connection: usize,
        waiting_max: usize,
        stop: Stop,
    ) -> Arc<Self> {
        let all = FairSemaphore::new(all, SHARE, waiting_max);
        Arc::new(Self { all, per_connection, waiting_max, stop })
    }

    /// Returns how many bytes are free.
    #[cfg(test)]
    pub(crate) fn free(&self) -> usize {
        self.all.free()
    }
}

impl ConnectionBudget {
    /// Creates the budget of a new connection.
    pub(crate) fn new(server: &Arc<Budget>) -> Self {
        Self { server: Arc::clone(server), own: OnceLock::new() }
    }

    /// Waits for `bytes` of the connection's budget, then of the server's. Fails if too many requests of
    /// the client wait, or the server shuts down.
    pub(crate) async fn hold(&self, client: &Client, bytes: usize) -> Result<Held, ApiError> {
        let busy = |_| ApiError::too_many_requests();
        let Self { server, own } = self;
        let new = || FairSemaphore::new(server.per_connection, Share::All, server.waiting_max);
        let connection = own.get_or_init(new).acquire(&(), bytes).map_err(busy)?;
        let held = async {
            let connection = connection.await;
            let all = server.all.acquire(client, bytes).map_err(busy)?.await;
            Ok(Held { all, connection })
        };
        let stopped = async {
            server.stop.soft().cancelled().await;
            tokio::time::sleep(STOP_TIMEOUT).await;
        };
        tokio::select! {
            biased;
            held = held => held,
            () = stopped => Err(ApiError::shutting_down()),
        }
    }
}

impl Held {
    /// Releases all but `bytes`.
    pub(crate) fn shrink_to(&mut self, bytes: usize) {
        self.all.shrink_to(bytes);
        self.connection.shrink_to(bytes);
    }

    /// Returns how many bytes are held.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.all.count()
    }
}
