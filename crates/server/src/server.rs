//! Builds the server from a configuration, binds its listener and runs it until shutdown.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use futures_util::future::BoxFuture;
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

/// How long shutdown waits for changes, and then for tasks, after the drain.
const LAST_WAIT: Duration = Duration::from_secs(5);

/// The dependencies of a server.
pub struct ServerDeps {
    /// The configuration that a reload may replace: policies, TLS, API settings, log levels.
    pub live: kes_config::Live,
    /// The source of keys.
    pub keyring: Arc<Keyring>,
    /// The source of time.
    pub clock: Arc<dyn Clock>,
    /// The output of audit events, if the configuration enables it.
    pub audit_output: Box<dyn Write + Send>,
    /// The log that `/v1/log/error` streams.
    pub errors: ErrorLog,
    /// The signal that stops the server.
    pub stop: Stop,
    /// The tracker of all tasks; shared with the keyring, whose writes continue when their callers disconnect.
    pub tasks: TaskTracker,
    /// The build that `/version` reports.
    pub build: BuildInfo,
    /// The limits of what clients use, and of the time that they take.
    pub limits: Limits,
}

/// The key server before it listens.
#[derive(Debug)]
pub struct Server {
    app: Arc<App>,
    tasks: TaskTracker,
}

/// A server that listens: clients may connect, and are served once [`Bound::run`] is called.
#[derive(Debug)]
pub struct Bound {
    server: Server,
    listener: TcpListener,
}

/// The reason why a server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The configuration cannot be applied.
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
    /// Creates a server that does not listen yet.
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
    /// Returns the address of the listener, with its actual port.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until the server is stopped: then accepts nothing more, answers what was accepted
    /// and writes its audit log to the end. Returns whether everything ended in time.
    ///
    /// The future is boxed so that the code of connections and requests is compiled in this crate, at
    /// its optimisation level: that of an `async fn` is compiled in the crate that awaits it.
    pub fn run(self) -> BoxFuture<'static, bool> {
        Box::pin(self.serve())
    }

    async fn serve(self) -> bool {
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
            let current = || warning.live.load().certificates.clone();
            expiry::warn_daily(&*warning.clock, warning.stop.soft(), current).await;
        });

        let router = service::router();
        listener::accept(Arc::clone(&app), router, self.listener, connections.clone()).await;

        connections.close();
        // Changes continue after their callers have disconnected, and write audit events.
        let ended = || async {
            connections.wait().await;
            app.changes.ended().await;
        };
        let drained = tokio::time::timeout(app.limits.drain_timeout, ended());
        let drained = app.stop.hard().run_until_cancelled(drained).await;
        let is_clean = matches!(drained, Some(Ok(())));
        if !is_clean {
            tracing::error!("requests were cut off: they did not end in time");
            app.stop.abort();
            // Their audit events are written before the log is flushed.
            let _ = tokio::time::timeout(LAST_WAIT, ended()).await;
            app.changes.abort().await;
        }
        app.refusals.finish();
        app.audit.flush().await;
        app.failures.finish();
        drop(app);
        tasks.close();
        // Writes to the key store continue after the requests have ended.
        let written = tokio::time::timeout(LAST_WAIT, tasks.wait()).await.is_ok();
        if !written {
            tracing::error!(
                "key store calls or audit lines were cut off: they did not end in time"
            );
        }
        is_clean && written
    }
}
