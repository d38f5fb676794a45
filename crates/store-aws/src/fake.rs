//! Provides a manual clock and a fake source of credentials for tests.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use aws_sdk_secretsmanager::config::Credentials;
use kes_types::{Clock, SystemClock};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::refresher::CredentialRefresher;
use crate::auth::source::Source;

/// A clock that tests set.
#[derive(Debug)]
pub(crate) struct ManualClock {
    start: Instant,
    seconds: AtomicU64,
}

impl ManualClock {
    pub(crate) fn new() -> Self {
        let start = SystemClock.monotonic();
        Self { start, seconds: AtomicU64::new(1000) }
    }

    pub(crate) fn advance(&self, seconds: u64) {
        self.seconds.fetch_add(seconds, Ordering::Relaxed);
    }

    fn seconds(&self) -> Duration {
        Duration::from_secs(self.seconds.load(Ordering::Relaxed))
    }
}

impl Clock for ManualClock {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + self.seconds()
    }

    fn monotonic(&self) -> Instant {
        self.start + self.seconds()
    }
}

/// Creates a refresher whose source returns new credentials each time, and counts the calls.
pub(crate) fn refresher(clock: &Arc<ManualClock>) -> (CredentialRefresher, Arc<AtomicU64>) {
    let asked = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&asked);
    let source = Source::Asked(Box::new(move || {
        let id = format!("A{}", count.fetch_add(1, Ordering::Relaxed));
        Box::pin(async move { Ok(Credentials::new(id, "s", None, None, "test")) })
    }));
    let clock = Arc::clone(clock) as Arc<dyn Clock>;
    (CredentialRefresher::new(source, clock, TaskTracker::new(), CancellationToken::new()), asked)
}
