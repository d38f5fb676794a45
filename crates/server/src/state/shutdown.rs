//! The stages of a shutdown: running, draining, aborting.

use tokio_util::sync::CancellationToken;

/// The two ways to end: `soft` finishes what was accepted, `hard` does not wait for it.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    soft: CancellationToken,
    hard: CancellationToken,
}

impl Stop {
    /// No shutdown has begun.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends gracefully: accepts nothing more, answers what was accepted.
    pub fn drain(&self) {
        self.soft.cancel();
    }

    /// Ends at once.
    pub fn abort(&self) {
        self.soft.cancel();
        self.hard.cancel();
    }

    /// Cancelled when the server is to end, one way or the other.
    pub fn soft(&self) -> &CancellationToken {
        &self.soft
    }

    /// Cancelled when the server is to end at once.
    pub fn hard(&self) -> &CancellationToken {
        &self.hard
    }

    /// Whether the server is ending.
    pub fn is_draining(&self) -> bool {
        self.soft.is_cancelled()
    }
}
