//! Exponential backoff with jitter.

use std::time::Duration;

use crate::Deadline;

/// A policy of waits between attempts: the first wait, doubled for each further attempt up to a maximum, less
/// the jitter.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    /// The wait after the first attempt, before jitter.
    pub first: Duration,
    /// The longest wait.
    pub max: Duration,
    /// The share of a wait, from 0 to 1, that is random, so that clients that failed together do not retry together.
    pub jitter_share: f64,
}

impl Backoff {
    /// The wait after so many attempts before the last one; `jitter` is random, from 0 (the shortest wait) to 1.
    pub fn delay(&self, attempts_before: u32, jitter: f64) -> Duration {
        let whole = self.first.saturating_mul(1 << attempts_before.min(16)).min(self.max);
        whole.mul_f64(1.0 - self.jitter_share * (1.0 - jitter.clamp(0.0, 1.0)))
    }
}

/// A limited number of retries, with backoff between them.
#[derive(Debug)]
pub struct Retries {
    backoff: Backoff,
    done: u32,
    max: u32,
}

impl Retries {
    /// At most `max` retries.
    pub fn new(backoff: Backoff, max: u32) -> Self {
        Self { backoff, done: 0, max }
    }

    /// Whether no retry is left.
    pub fn is_over(&self) -> bool {
        self.done >= self.max
    }

    /// Waits before the next attempt. Returns false, at once, if no retry is left or the wait does not end before
    /// the deadline.
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
