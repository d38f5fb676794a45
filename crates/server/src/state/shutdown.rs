//! Signals the shutdown of the server to its connections and tasks.

use tokio_util::sync::CancellationToken;

/// Signals a graceful shutdown (`soft`), which completes accepted requests, or an immediate one (`hard`).
#[derive(Clone, Debug, Default)]
pub struct Stop {
    soft: CancellationToken,
    hard: CancellationToken,
}

impl Stop {
    /// Creates a signal that was not sent yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins a graceful shutdown: the server accepts no more requests, and responds to those that it has
    /// accepted.
    pub fn drain(&self) {
        self.soft.cancel();
    }

    /// Begins an immediate shutdown.
    pub fn abort(&self) {
        self.soft.cancel();
        self.hard.cancel();
    }

    /// Returns the token that is cancelled at a graceful and at an immediate shutdown.
    pub fn soft(&self) -> &CancellationToken {
        &self.soft
    }

    /// Returns the token that is cancelled at an immediate shutdown.
    pub fn hard(&self) -> &CancellationToken {
        &self.hard
    }

    /// Returns whether a shutdown has begun.
    pub fn is_draining(&self) -> bool {
        self.soft.is_cancelled()
    }
}
