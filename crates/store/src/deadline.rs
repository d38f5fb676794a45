//! Limits the total duration of an operation that makes several calls.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

/// The time at which an operation ends, including all its calls and waits.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(Instant);

impl Deadline {
    /// Returns the deadline of an operation that starts now.
    pub fn after(timeout: Duration) -> Self {
        Self(Instant::now() + timeout)
    }

    /// Runs a future until the deadline; returns none if the future takes longer.
    pub async fn run<T>(self, future: impl Future<Output = T>) -> Option<T> {
        timeout_at(self.0, future).await.ok()
    }

    /// Sleeps if the sleep ends before the deadline; returns whether it did.
    pub async fn wait(self, time: Duration) -> bool {
        let is_in_time = Instant::now() + time < self.0;
        if is_in_time {
            sleep(time).await;
        }
        is_in_time
    }
}
