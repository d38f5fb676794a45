//! Exponential backoff with jitter.

use std::time::Duration;

/// The wait after so many waits before it: `first`, doubled for each, at most `max`. Half of it is
/// jitter (from 0 to 1), so that clients which were refused together do not come back together.
pub(crate) fn delay(first: Duration, before: u32, max: Duration, jitter: f64) -> Duration {
    let whole = first.saturating_mul(1 << before.min(16)).min(max);
    whole.mul_f64(0.5 + 0.5 * jitter.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn failures_in_a_row_are_ever_farther_apart() {
        let backoff = |failures, jitter| delay(S, failures, S * 60, jitter);
        for (failures, whole) in [(0, 1), (1, 2), (5, 32), (6, 60), (60, 60)] {
            assert_eq!(backoff(failures, 0.0), S * whole / 2);
            let most = backoff(failures, 1023.0 / 1024.0);
            assert!(most > S * whole * 9 / 10 && most < S * whole, "{failures}: {most:?}");
        }
    }
}
