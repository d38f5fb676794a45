//! From a configuration to a running server.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use kes_config::Limits;
use kes_keyring::Keyring;
use kes_types::{Clock, Timestamp};
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

use crate::connection::listener;
use crate::http::service;
use crate::limit::accounts::Accounts;
use crate::limit::budget::Budget;
use crate::limit::handshakes::HandshakeLimiter;
use crate::log::audit::AuditLog;
use crate::log::failures::Failures;
use crate::log::refusals::Refusals;
use crate::log::stream;
use crate::log::stream::ErrorLog;
use crate::state::app::{App, BuildInfo};
use crate::state::changes::Changes;
use crate::state::expiry;
use crate::state::metrics::Metrics;
use crate::state::shutdown::Stop;
use crate::state::snapshot::{Live, Snapshot, SnapshotError};
use crate::state::system::System;

/// How long the end of the server waits for what is left when all connections are gone.
const LAST_WAIT: Duration = Duration::from_secs(5);

/// What a server is made of.
pub struct ServerDeps {
    /// What a reload may replace: policies, TLS, API settings, log levels.
    pub live: kes_config::Live,
    /// Where keys come from.
    pub keyring: Arc<Keyring>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Where audit events are written when the configuration says so.
    pub audit_output: Box<dyn Write + Send>,
    /// What `/v1/log/error` follows.
    pub errors: ErrorLog,
    /// How the server is ended.
    pub stop: Stop,
    /// Owner of every task; shared with the keyring, whose writes outlive their callers.
    pub tasks: TaskTracker,
    /// What `/version` tells.
    pub build: BuildInfo,
    /// What clients may hold, and the time that they may take.
    pub limits: Limits,
}

/// The key server.
#[derive(Debug)]
pub struct Server {
    app: Arc<App>,
    tasks: TaskTracker,
}

/// A server that has its socket: clients may connect, and are served once it runs.
#[derive(Debug)]
pub struct Bound {
    server: Server,
    listener: TcpListener,
}

/// Why a server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The configuration cannot be put in force.
    #[error("the configuration cannot be used")]
    Configuration(#[from] SnapshotError),
    /// The address cannot be listened on.
    #[error("cannot listen on {addresses:?}")]
    Listen {
        /// The addresses that were tried.
        addresses: Vec<SocketAddr>,
        /// Why the last of them failed.
        #[source]
        source: io::Error,
    },
    /// Metrics cannot be registered.
    #[error("cannot register metrics")]
    Metrics(#[source] prometheus::Error),
}

impl Server {
    /// Puts a server together; nothing is listened on yet.
    pub fn new(deps: ServerDeps) -> Result<Self, BindError> {
        let since = Timestamp::from(deps.clock.now());
        let snapshot = Snapshot::new(1, since, deps.live, deps.keyring)?;
        let limits = deps.limits;
        let failures = Failures::new(Arc::clone(&deps.clock));
        let app = App {
            live: Live::new(snapshot),
            metrics: Metrics::new().map_err(BindError::Metrics)?,
            audit: AuditLog::new(deps.audit_output, &deps.tasks, Arc::clone(&failures)),
            changes: Changes::default(),
            failures,
            errors: deps.errors,
            refusals: Refusals::new(Arc::clone(&deps.clock)),
            streams: Arc::new(stream::StreamLimits::new(&limits)),
            budget: Budget::new(
                limits.payload,
                limits.payload_per_connection,
                limits.requests_per_identity,
                deps.stop.clone(),
            ),
            accounts: Accounts::new(limits.requests, limits.requests_per_identity),
            handshakes: HandshakeLimiter::new(
                std::thread::available_parallelism().map_or(1, NonZero::get),
            ),
            started: deps.clock.monotonic(),
            clock: deps.clock,
            stop: deps.stop,
            build: deps.build,
            limits,
            requests: AtomicU64::new(0),
            system: System::new(),
        };
        Ok(Self { app: Arc::new(app), tasks: deps.tasks })
    }

    /// Listens on the first of the addresses that can be bound.
    pub fn bind(self, addresses: &[SocketAddr]) -> Result<Bound, BindError> {
        let listener = listener::bind(addresses)
            .map_err(|source| BindError::Listen { addresses: addresses.to_vec(), source })?;
        Ok(Bound { server: self, listener })
    }
}

impl Bound {
    /// The address that is listened on, with its real port.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until the server is stopped: then accepts nothing more, answers what was accepted
    /// and writes its audit log to the end. Returns whether everything ended in time.
    pub async fn run(self) -> bool {
        let Server { app, tasks } = self.server;
        let connections = TaskTracker::new();
        let snapshot = app.live.load();
        let sweeping = Arc::clone(&snapshot.keyring).sweep_until(app.stop.soft().clone());
        tasks.spawn(sweeping);
        let probing = Arc::clone(&snapshot.keyring).probe_until(app.stop.soft().clone());
        tasks.spawn(probing);
        drop(snapshot);
        let reporting = Arc::clone(&app.refusals).report_until(app.stop.soft().clone());
        tasks.spawn(reporting);
        let reporting = Arc::clone(&app.failures).report_until(app.stop.soft().clone());
        tasks.spawn(reporting);
        let warning = Arc::clone(&app);
        tasks.spawn(async move {
            let in_force = || warning.live.load().certificates.clone();
            expiry::warn_daily(&*warning.clock, warning.stop.soft(), in_force).await;
        });

        let router = service::router();
        listener::accept(Arc::clone(&app), router, self.listener, connections.clone()).await;

        connections.close();
        // Changes go on when their callers have hung up, and are in the audit log.
        let answered = || async {
            connections.wait().await;
            app.changes.ended().await;
        };
        let drained = tokio::time::timeout(app.limits.drain_timeout, answered());
        let drained = app.stop.hard().run_until_cancelled(drained).await;
        let is_clean = matches!(drained, Some(Ok(())));
        if !is_clean {
            tracing::error!("requests were cut off: they did not end in time");
            app.stop.abort();
            // Their records are part of the audit log.
            let _ = tokio::time::timeout(LAST_WAIT, answered()).await;
            app.changes.cut_off().await;
        }
        app.refusals.finish();
        app.audit.flush().await;
        app.failures.finish();
        drop(app);
        tasks.close();
        // Writes go on when nobody waits for them.
        let written = tokio::time::timeout(LAST_WAIT, tasks.wait()).await.is_ok();
        if !written {
            tracing::error!(
                "key store calls or audit lines were cut off: they did not end in time"
            );
        }
        is_clean && written
    }
}
