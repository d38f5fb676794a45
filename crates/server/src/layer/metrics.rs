//! Requests in flight, latency, status.

use axum::http::StatusCode;
use prometheus::HistogramTimer;

use crate::metrics::Metrics;
use crate::route::Route;

/// A measured request; one that is dropped without an answer counts as hung up.
#[derive(Debug)]
pub(crate) struct Measured<'a>(Option<Running<'a>>);

#[derive(Debug)]
struct Running<'a> {
    metrics: &'a Metrics,
    timer: Option<HistogramTimer>,
}

impl Metrics {
    /// Begins to measure a request, if its route is measured.
    pub(crate) fn begin(&self, route: &Route) -> Measured<'_> {
        Measured(route.is_measured.then(|| {
            self.active.inc();
            Running { metrics: self, timer: Some(self.response_time.start_timer()) }
        }))
    }
}

impl Measured<'_> {
    /// Counts the answer.
    pub(crate) fn finish(mut self, status: StatusCode) {
        if let Some(running) = &mut self.0 {
            if let Some(timer) = running.timer.take() {
                timer.observe_duration();
            }
            running.metrics.count(status);
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.metrics.active.dec();
        if let Some(timer) = self.timer.take() {
            timer.stop_and_discard();
            self.metrics.count_hung_up();
        }
    }
}
