//! Counts requests in flight, response times and statuses.

use std::time::Duration;

use axum::http::StatusCode;

use crate::state::metrics::Metrics;

/// A measured request; one that is dropped without an answer counts as hung up.
#[derive(Debug)]
pub(super) struct Measured<'a>(Option<Running<'a>>);

#[derive(Debug)]
struct Running<'a> {
    metrics: &'a Metrics,
    is_answered: bool,
}

impl Metrics {
    /// Begins to measure a request, if it is to be measured.
    pub(super) fn begin(&self, is_measured: bool) -> Measured<'_> {
        Measured(is_measured.then(|| {
            self.active.inc();
            Running { metrics: self, is_answered: false }
        }))
    }
}

impl Measured<'_> {
    /// Counts the answer.
    pub(super) fn finish(mut self, status: StatusCode, taken: Duration) {
        if let Some(running) = &mut self.0 {
            running.is_answered = true;
            running.metrics.response_time.observe(taken.as_secs_f64());
            running.metrics.count(status);
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.metrics.active.dec();
        if !self.is_answered {
            self.metrics.count_hung_up();
        }
    }
}
