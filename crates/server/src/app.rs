//! What all requests share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use kes_types::Clock;

use crate::audit::AuditLog;
use crate::body::BodyBudget;
use crate::changes::Changes;
use crate::failures::Failures;
use crate::lane::Lane;
use crate::live::Live;
use crate::log::{ErrorLog, StreamLimits};
use crate::metrics::Metrics;
use crate::refusals::Refusals;
use crate::shutdown::Stop;
use crate::system::System;

/// What the server tells of its own build.
#[derive(Clone, Copy, Debug)]
pub struct BuildInfo {
    /// The release, `1.2.3`.
    pub version: &'static str,
    /// The commit it was built from.
    pub commit: &'static str,
}

/// Bounds on what clients can take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at a time; a quarter of them for strangers.
    pub connections_max: usize,
    /// Request body bytes held at a time by the whole server.
    pub body_bytes_max: usize,
    /// From accept to the end of the TLS handshake.
    pub handshake_timeout: Duration,
    /// From the first byte of an HTTP/1.1 request's head to its last.
    pub head_timeout: Duration,
    /// A connection without a request ends after this long.
    pub idle_timeout: Duration,
    /// The same for a caller without a policy.
    pub stranger_idle_timeout: Duration,
    /// How long a graceful stop waits for accepted requests.
    pub drain_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 10_000,
            body_bytes_max: 256 << 20,
            handshake_timeout: Duration::from_secs(10),
            head_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(90),
            stranger_idle_timeout: Duration::from_secs(5),
            drain_timeout: Duration::from_secs(30),
        }
    }
}

/// The server's inside, shared by all connections.
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
    pub(crate) bodies: BodyBudget,
    pub(crate) handshakes: Lane,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) started: Instant,
    pub(crate) stop: Stop,
    pub(crate) build: BuildInfo,
    pub(crate) limits: Limits,
    pub(crate) requests: AtomicU64,
    pub(crate) system: System,
}

impl App {
    /// Numbers requests from 1, for the log.
    pub(crate) fn next_request_id(&self) -> u64 {
        self.requests.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(crate) fn uptime(&self) -> Duration {
        self.clock.monotonic().saturating_duration_since(self.started)
    }
}
