//! The end of an operation that makes several calls.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

/// The time at which an operation ends, with all its calls and waits.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(Instant);

impl Deadline {
    /// The deadline of an operation that starts now.
    pub fn after(timeout: Duration) -> Self {
        Self(Instant::now() + timeout)
    }

    /// Runs a future until the deadline; none if it takes longer.
    pub async fn run<T>(self, future: impl Future<Output = T>) -> Option<T> {
        timeout_at(self.0, future).await.ok()
    }

    /// Waits, if the wait ends before the deadline; returns whether it does.
    pub async fn wait(self, time: Duration) -> bool {
        let is_in_time = Instant::now() + time < self.0;
        if is_in_time {
            sleep(time).await;
        }
        is_in_time
    }
}
