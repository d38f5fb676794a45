//! The memory budget of large request bodies and responses, shared fairly between identities.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use kes_fair::{FairPermit, FairSemaphore, Share};
use kes_types::Identity;

use crate::http::error::ApiError;
use crate::state::shutdown::Stop;

/// The length of bodies and responses that do not count, in bytes: the number of requests bounds these.
pub(crate) const SMALL_LEN: usize = 16 << 10;

/// One client leaves an eighth of the budget to others.
const SHARE: Share = Share::TimesFree(7);

/// How long requests wait for memory when the server shuts down: responses that are not read must not delay it.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);

/// Whom memory is held for: an identity, or all callers without one together.
pub(crate) type Client = Option<Identity>;

/// The budget of the whole server, in bytes.
#[derive(Debug)]
pub(crate) struct Budget {
    all: Arc<FairSemaphore<Client>>,
    per_connection: usize,
    waiting_max: usize,
    stop: Stop,
}

/// The budget of one connection, within that of the server.
#[derive(Debug)]
pub(crate) struct ConnectionBudget {
    server: Arc<Budget>,
    /// Made by the first large body or answer.
    own: OnceLock<Arc<FairSemaphore<()>>>,
}

/// Bytes that are held; given back when dropped.
#[derive(Debug)]
pub(crate) struct Held {
    all: FairPermit<Client>,
    connection: FairPermit<()>,
}

impl Budget {
    /// `all` bytes for the whole server and `per_connection` for each connection. Of each client at
    /// most `waiting_max` requests wait.
    pub(crate) fn new(
        all: usize,
        per_connection: usize,
        waiting_max: usize,
        stop: Stop,
    ) -> Arc<Self> {
        let all = FairSemaphore::new(all, SHARE, waiting_max);
        Arc::new(Self { all, per_connection, waiting_max, stop })
    }

    /// Bytes that are not held.
    #[cfg(test)]
    pub(crate) fn free(&self) -> usize {
        self.all.free()
    }
}

impl ConnectionBudget {
    /// The budget of a new connection.
    pub(crate) fn new(server: &Arc<Budget>) -> Self {
        Self { server: Arc::clone(server), own: OnceLock::new() }
    }

    /// Waits until `bytes` may be held, first within the connection's budget, then within the server's.
    pub(crate) async fn hold(&self, client: &Client, bytes: usize) -> Result<Held, ApiError> {
        let busy = |_| ApiError::too_many_requests();
        let Self { server, own } = self;
        let new = || FairSemaphore::new(server.per_connection, Share::All, server.waiting_max);
        let connection = own.get_or_init(new).acquire(&(), bytes).map_err(busy)?;
        let turn = async {
            let connection = connection.await;
            let all = server.all.acquire(client, bytes).map_err(busy)?.await;
            Ok(Held { all, connection })
        };
        let stopped = async {
            server.stop.soft().cancelled().await;
            tokio::time::sleep(SHUTDOWN_TIMEOUT).await;
        };
        tokio::select! {
            biased;
            held = turn => held,
            () = stopped => Err(ApiError::shutting_down()),
        }
    }
}

impl Held {
    /// Gives back what is beyond `bytes`.
    pub(crate) fn shrink_to(&mut self, bytes: usize) {
        self.all.shrink_to(bytes);
        self.connection.shrink_to(bytes);
    }

    /// How many bytes.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.all.count()
    }
}
