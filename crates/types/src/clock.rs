//! Time as an argument.

use std::fmt;
use std::time::{Instant, SystemTime};

/// Tells the time; a test passes its own.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// The wall clock, for timestamps that leave the process.
    fn now(&self) -> SystemTime;

    /// The monotonic clock, for ages and durations.
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
