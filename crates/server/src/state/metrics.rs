//! Defines the Prometheus metrics of `/v1/metrics`.

use std::sync::Mutex;
use std::time::Duration;

use axum::http::StatusCode;
use kes_types::lock;
use prometheus::{
    Encoder as _, Gauge, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts,
    Registry, TextEncoder,
};

use crate::state::system::Figures;

/// Upper bounds of the buckets of the response time, in seconds.
const BUCKETS: &[f64] = &[0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 1.5, 3.0, 5.0, 10.0];

/// Holds the counters and gauges of the server, with the names that existing dashboards use.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    success: IntCounterVec,
    /// The counter of code 200 in `success`, looked up once.
    ok: IntCounter,
    error: IntCounterVec,
    failure: IntCounterVec,
    pub(crate) active: IntGauge,
    pub(crate) response_time: Histogram,
    system: SystemMetrics,
    scrape: Mutex<()>,
}

/// Values that are read for each scrape.
#[derive(Debug)]
pub(crate) struct Scrape {
    pub(crate) process: Figures,
    pub(crate) error_events: u64,
    pub(crate) audit_events: u64,
    /// Time since the start of the server.
    pub(crate) up_time: Duration,
}

/// Metrics that are set for each scrape.
#[derive(Debug)]
struct SystemMetrics {
    error_events: IntCounter,
    audit_events: IntCounter,
    up_time: Gauge,
    num_cpu: IntGauge,
    num_cpu_used: IntGauge,
    num_threads: IntGauge,
    mem_heap_used: IntGauge,
    mem_heap_objects: IntGauge,
    mem_stack_used: IntGauge,
}

impl Metrics {
    /// Registers every metric.
    pub(crate) fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let codes = |name: &str, help: &str| {
            let counter = IntCounterVec::new(Opts::new(name, help), &["code"])?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let time = HistogramOpts::new("kes_http_response_time", "Time to an answer in seconds.");
        let response_time = Histogram::with_opts(time.buckets(BUCKETS.to_vec()))?;
        registry.register(Box::new(response_time.clone()))?;
        let active =
            IntGauge::new("kes_http_request_active", "Requests that are not answered yet.")?;
        registry.register(Box::new(active.clone()))?;
        let success = codes("kes_http_request_success", "Requests answered with success.")?;
        let metrics = Self {
            ok: success.with_label_values(&["200"]),
            success,
            error: codes("kes_http_request_error", "Requests refused: 4xx.")?,
            failure: codes("kes_http_request_failure", "Requests that failed: 5xx.")?,
            active,
            response_time,
            system: SystemMetrics::new(&registry)?,
            scrape: Mutex::new(()),
            registry,
        };
        metrics.error.with_label_values(&["400"]);
        metrics.failure.with_label_values(&["500"]);
        Ok(metrics)
    }

    /// Counts a response by its status.
    pub(crate) fn count(&self, status: StatusCode) {
        let counter = match status.as_u16() {
            200 => return self.ok.inc(),
            500.. => &self.failure,
            400.. => &self.error,
            _ => &self.success,
        };
        counter.with_label_values(&[status.as_str()]).inc();
    }

    /// Counts a request whose client disconnected before the response.
    pub(crate) fn count_disconnected(&self) {
        self.error.with_label_values(&["499"]).inc();
    }

    /// Returns the metrics in Prometheus text format 0.0.4.
    pub(crate) fn text(&self, scrape: &Scrape) -> Result<Vec<u8>, prometheus::Error> {
        // One scrape at a time, because counters whose values are kept elsewhere are reset.
        let _scrape = lock(&self.scrape);
        self.system.refresh(scrape);
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }
}

impl SystemMetrics {
    fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let up_time = Gauge::new("kes_system_up_time", "Seconds since the start.")?;
        registry.register(Box::new(up_time.clone()))?;
        Ok(Self {
            error_events: counter("kes_log_error_events", "Events of the error log.")?,
            audit_events: counter("kes_log_audit_events", "Events of the audit log.")?,
            up_time,
            num_cpu: gauge("kes_system_num_cpu", "Processors of the machine.")?,
            num_cpu_used: gauge("kes_system_num_cpu_used", "Processors the server may use.")?,
            num_threads: gauge("kes_system_num_threads", "Threads of the process.")?,
            mem_heap_used: gauge("kes_system_mem_heap_used", "Anonymous memory in bytes.")?,
            mem_heap_objects: gauge(
                "kes_system_mem_heap_objects",
                "Not measured by this server, always 0; kept for dashboards.",
            )?,
            mem_stack_used: gauge("kes_system_mem_stack_used", "Stack memory in bytes.")?,
        })
    }

    fn refresh(&self, scrape: &Scrape) {
        let Scrape { process, error_events, audit_events, up_time } = scrape;
        let as_gauge = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        self.error_events.reset();
        self.error_events.inc_by(*error_events);
        self.audit_events.reset();
        self.audit_events.inc_by(*audit_events);
        self.up_time.set(up_time.as_secs_f64());
        self.num_cpu.set(as_gauge(process.cpus as u64));
        self.num_cpu_used.set(as_gauge(process.cpus_used as u64));
        self.num_threads.set(as_gauge(process.threads));
        self.mem_heap_used.set(as_gauge(process.heap_bytes));
        self.mem_heap_objects.set(0);
        self.mem_stack_used.set(as_gauge(process.stack_bytes));
    }
}
