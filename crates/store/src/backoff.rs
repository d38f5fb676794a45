//! Computes exponential backoff with jitter, and limits the number of retries.

use std::time::Duration;

use crate::Deadline;

/// Configures the delays between attempts: each delay is twice the one before, up to a maximum,
/// minus a random share (the jitter).
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    /// The delay after the first attempt, before jitter.
    pub first: Duration,
    /// The maximum delay.
    pub max: Duration,
    /// The share of a delay, from 0 to 1, that is random, so that clients that failed together do
    /// not retry together.
    pub jitter_share: f64,
}

impl Backoff {
    /// Returns the delay after an attempt that followed `attempts_before` other attempts. `jitter`
    /// is random, from 0 (the shortest delay) to 1.
    pub fn delay(&self, attempts_before: u32, jitter: f64) -> Duration {
        let whole = self.first.saturating_mul(1 << attempts_before.min(16)).min(self.max);
        whole.mul_f64(1.0 - self.jitter_share * (1.0 - jitter.clamp(0.0, 1.0)))
    }
}

/// Counts a limited number of retries, with backoff between them.
#[derive(Debug)]
pub struct Retries {
    backoff: Backoff,
    done: u32,
    max: u32,
}

impl Retries {
    /// Allows at most `max` retries.
    pub fn new(backoff: Backoff, max: u32) -> Self {
        Self { backoff, done: 0, max }
    }

    /// Returns whether no retry is left.
    pub fn is_over(&self) -> bool {
        self.done >= self.max
    }

    /// Sleeps until the next attempt. Returns false at once when no retry is left, or when the
    /// sleep would end after the deadline.
    pub async fn wait(&mut self, deadline: Deadline) -> bool {
        if self.is_over() {
            return false;
        }
        let delay = self.backoff.delay(self.done, fastrand::f64());
        self.done += 1;
        deadline.wait(delay).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);
    const HALF: Backoff = Backoff { first: S, max: Duration::from_mins(1), jitter_share: 0.5 };

    #[test]
    fn waits_double_up_to_the_maximum_less_the_jitter() {
        for (attempts_before, whole) in [(0, 1), (1, 2), (5, 32), (6, 60), (60, 60)] {
            assert_eq!(HALF.delay(attempts_before, 0.0), S * whole / 2);
            assert_eq!(HALF.delay(attempts_before, 1.0), S * whole);
            let most = HALF.delay(attempts_before, 1023.0 / 1024.0);
            assert!(most > S * whole * 9 / 10 && most < S * whole, "{attempts_before}: {most:?}");
        }
        assert_eq!(Backoff { jitter_share: 0.25, ..HALF }.delay(0, 0.0), S * 3 / 4);
    }

    #[tokio::test(start_paused = true)]
    async fn retries_end_by_their_number_and_with_the_deadline() {
        let mut retries = Retries::new(HALF, 2);
        let deadline = Deadline::after(S * 100);
        assert!(retries.wait(deadline).await && retries.wait(deadline).await);
        assert!(!retries.wait(deadline).await && retries.is_over());
        assert!(!Retries::new(HALF, 2).wait(Deadline::after(S / 4)).await);
    }
}
