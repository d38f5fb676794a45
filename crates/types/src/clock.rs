//! Clocks that are passed as an argument, so that tests control the time.

use std::fmt;
use std::time::{Instant, SystemTime};

/// A source of the current time; tests pass a clock of their own.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// The wall-clock time, for timestamps that leave the process.
    fn now(&self) -> SystemTime;

    /// The monotonic time, for ages and durations.
    fn monotonic(&self) -> Instant;
}

/// The operating system's clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one origin of wall-clock time")]
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    #[expect(clippy::disallowed_methods, reason = "the one origin of monotonic time")]
    fn monotonic(&self) -> Instant {
        Instant::now()
    }
}
