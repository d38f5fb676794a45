//! A histogram of request latencies.

use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::number::float;

/// A histogram of latencies in nanoseconds with three significant digits.
#[derive(Clone)]
pub(crate) struct Latencies(Histogram<u64>);

/// Upper bound of the histogram; longer latencies are recorded as this.
const LATENCY_MAX: Duration = Duration::from_mins(1);

impl Latencies {
    pub(crate) fn new() -> Self {
        let max = u64::try_from(LATENCY_MAX.as_nanos()).unwrap_or(u64::MAX);
        Self(Histogram::new_with_max(max, 3).expect("three digits are supported"))
    }

    pub(crate) fn record(&mut self, latency: Duration) {
        let nanoseconds = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.0.saturating_record(nanoseconds);
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.0.add(&other.0).expect("both have the same range");
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.len()
    }

    /// The latency at a quantile between 0 and 1, in microseconds.
    pub(crate) fn micros(&self, quantile: f64) -> f64 {
        float(self.0.value_at_quantile(quantile)) / 1000.0
    }
}

impl fmt::Debug for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{} latencies]", self.count())
    }
}
