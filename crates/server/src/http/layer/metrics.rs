//! Measures requests: those in flight, their latency and their status.

use std::time::Duration;

use axum::http::StatusCode;

use crate::state::metrics::Metrics;

/// Measures a request. If it is dropped without a response, its client counts as disconnected.
#[derive(Debug)]
pub(super) struct Measured<'a>(Option<Running<'a>>);

#[derive(Debug)]
struct Running<'a> {
    metrics: &'a Metrics,
    has_response: bool,
}

impl Metrics {
    /// Begins to measure a request, if `is_measured`.
    pub(super) fn begin(&self, is_measured: bool) -> Measured<'_> {
        Measured(is_measured.then(|| {
            self.active.inc();
            Running { metrics: self, has_response: false }
        }))
    }
}

impl Measured<'_> {
    /// Counts the response.
    pub(super) fn finish(mut self, status: StatusCode, taken: Duration) {
        if let Some(running) = &mut self.0 {
            running.has_response = true;
            running.metrics.response_time.observe(taken.as_secs_f64());
            running.metrics.count(status);
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.metrics.active.dec();
        if !self.has_response {
            self.metrics.count_disconnected();
        }
    }
}
