//! Defines the state that all connections and requests share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use kes_config::Limits;
use kes_types::Clock;

use crate::limit::accounts::Accounts;
use crate::limit::budget::Budget;
use crate::limit::handshakes::HandshakeLimiter;
use crate::log::audit::AuditLog;
use crate::log::failures::Failures;
use crate::log::refusals::Refusals;
use crate::log::stream::{ErrorLog, StreamLimits};
use crate::state::changes::Changes;
use crate::state::metrics::{Metrics, Scrape};
use crate::state::shutdown::Stop;
use crate::state::snapshot::Live;
use crate::state::system::System;

/// Identifies the build of the server.
#[derive(Clone, Copy, Debug)]
pub struct BuildInfo {
    /// The release, `1.2.3`.
    pub version: &'static str,
    /// The commit it was built from.
    pub commit: &'static str,
}

/// The state of the server, shared by all connections.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) live: Live,
    pub(crate) metrics: Metrics,
    pub(crate) audit: AuditLog,
    pub(crate) changes: Changes,
    pub(crate) errors: ErrorLog,
    pub(crate) refusals: Arc<Refusals>,
    pub(crate) failures: Arc<Failures>,
    pub(crate) streams: Arc<StreamLimits>,
    pub(crate) budget: Arc<Budget>,
    pub(crate) accounts: Arc<Accounts>,
    pub(crate) handshakes: HandshakeLimiter,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) started: Instant,
    pub(crate) stop: Stop,
    pub(crate) build: BuildInfo,
    pub(crate) limits: Limits,
    pub(crate) requests: AtomicU64,
    pub(crate) system: System,
}

impl App {
    /// Returns the next request number, from 1, for the log.
    pub(crate) fn next_request_id(&self) -> u64 {
        self.requests.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(crate) fn uptime(&self) -> Duration {
        self.clock.monotonic().saturating_duration_since(self.started)
    }

    /// Returns the values that are read for each scrape of the metrics.
    pub(crate) fn scrape(&self) -> Scrape {
        Scrape {
            process: self.system.figures(self.clock.monotonic()),
            error_events: self.errors.0.events(),
            audit_events: self.audit.broadcast.events(),
            up_time: self.uptime(),
        }
    }
}
