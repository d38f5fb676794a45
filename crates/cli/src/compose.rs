//! The composition root: it connects configuration, store, keyring and server, and runs the server.

use std::io::{self, IsTerminal as _};
use std::net::SocketAddr;
use std::sync::Arc;

use kes_config::{Config, Limits, ListenAddress, Live};
use kes_crypto::SystemRandom;
use kes_keyring::{CacheExpiry, Keyring};
use kes_outbound::Proxies;
use kes_server::{Bound, BuildInfo, ErrorLog, Server, Stop};
use kes_types::{Clock, KeyName, Random, SystemClock};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::task::TaskTracker;
use tracing_appender::non_blocking::WorkerGuard;

use crate::banner::Banner;
use crate::dev::Development;
use crate::exit::Failure;
use crate::memory::{self, Locking};
use crate::predefined::Predefined;
use crate::storage::{self, Storage, StoreTasks};
use crate::telemetry::{self, NOTICE};

/// The version and the commit of this binary.
pub(crate) const BUILD: BuildInfo =
    BuildInfo { version: env!("CARGO_PKG_VERSION"), commit: env!("KES_COMMIT") };

/// Everything that a server is started with.
pub(crate) struct Start {
    pub(crate) address: ListenAddress,
    pub(crate) storage: Storage,
    pub(crate) proxies: Proxies,
    pub(crate) keys: Vec<KeyName>,
    pub(crate) limits: Limits,
    pub(crate) live: Live,
    pub(crate) development: Option<Development>,
    pub(crate) locking: Locking,
    pub(crate) errors: ErrorLog,
    /// The guard of the thread that writes log lines.
    pub(crate) log: Arc<WorkerGuard>,
}

/// Prepares a server with a configuration file; starts logging.
pub(crate) fn from_config(config: Config, proxies: Proxies, locking: Locking) -> Start {
    let storage = Storage::Configured(config.keystore);
    let start = Start::new(config.address, storage, config.live, locking);
    for warning in &config.warnings {
        tracing::warn!(target: NOTICE, "{warning}");
    }
    Start { proxies, keys: config.keys, limits: config.limits, ..start }
}

/// Prepares a development server without a file: keys in memory, new credentials; starts logging.
pub(crate) fn from_nothing(address: ListenAddress, locking: Locking) -> Result<Start, Failure> {
    let (development, live) = Development::new(&address, &SystemRandom::new(), SystemClock.now())?;
    let start = Start::new(address, Storage::Memory, live, locking);
    Ok(Start { development: Some(development), ..start })
}

impl Start {
    /// Starts logging; the other settings have their defaults.
    fn new(address: ListenAddress, storage: Storage, live: Live, locking: Locking) -> Self {
        let errors = ErrorLog::new();
        let log = Arc::new(telemetry::start(live.log.error, errors.clone()));
        Self {
            address,
            storage,
            proxies: Proxies::default(),
            keys: Vec::new(),
            limits: Limits::default(),
            live,
            development: None,
            locking,
            errors,
            log,
        }
    }
}

/// Runs a server until a signal ends it.
pub(crate) async fn run(start: Start, ignored: IgnoredSignals) -> Result<(), Failure> {
    let _log = Arc::clone(&start.log);
    let store_tasks = StoreTasks::default();
    let result = run_on(start, ignored, &store_tasks).await;
    store_tasks.end().await;
    result
}

/// Runs a server; `store_tasks` owns the background tasks of the store.
async fn run_on(
    start: Start,
    ignored: IgnoredSignals,
    store_tasks: &StoreTasks,
) -> Result<(), Failure> {
    if let Locking::NotLocked(reason) = &start.locking {
        tracing::warn!(target: NOTICE, "{reason}");
    }
    // Signals are caught before the server announces that it is ready.
    let mut signals = Signals::new(ignored).map_err(Failure::new)?;
    let opened = storage::open(start.storage, start.proxies, store_tasks);
    let Some(opened) = signals.run_until_ended(opened).await else { return Ok(()) };
    let opened = opened?;
    let (tasks, stop) = (TaskTracker::new(), Stop::new());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let random: Arc<dyn Random> = Arc::new(SystemRandom::new());
    let keyring = Arc::new(Keyring::new(kes_keyring::KeyringDeps {
        store: opened.store,
        expiry: CacheExpiry { any: start.live.cache.any, unused: start.live.cache.unused },
        probe_every: opened.probe_every,
        calls_max: start.limits.store_calls,
        waiting_max: start.limits.store_queue_per_identity,
        clock: Arc::clone(&clock),
        random,
        tasks: tasks.clone(),
    }));
    let predefined = Predefined::new(&keyring, start.live.policies.configuration(), start.keys);
    let Some(created) = signals.run_until_ended(predefined.create_now()).await else {
        return Ok(());
    };
    if let Some(later) = created? {
        tasks.spawn(later.create_when_possible(stop.soft().clone()));
    }

    let (admin, log) = (start.live.policies.admin().as_str().to_owned(), start.live.log.clone());
    let server = Server::new(kes_server::ServerDeps {
        live: start.live,
        keyring,
        clock,
        audit_output: Box::new(io::stdout()),
        errors: start.errors,
        stop: stop.clone(),
        tasks,
        build: BUILD,
        limits: within_open_files(start.limits),
    });
    let bound = server.map_err(Failure::new)?.bind(&start.address.candidates());
    let bound = bound.map_err(Failure::new)?;
    let banner = Banner {
        version: BUILD.version,
        commit: BUILD.commit,
        keystore: opened.name,
        address: bound.address().map_err(Failure::new)?,
        admin: &admin,
        error_log: log.error,
        audit_log: log.audit,
        locking: &start.locking,
    };
    announce(&banner, start.development.as_ref(), banner.address);
    serve(bound, signals, &stop).await
}

/// The number of open files that are not connections: key files being read, logs, the listener.
const FILES_RESERVED: u64 = 256;

/// Lowers the connection limit if the process may not have as many file descriptors.
fn within_open_files(limits: Limits) -> Limits {
    let Some(files) = memory::raise_open_files() else { return limits };
    let possible = files.saturating_sub(FILES_RESERVED.min(files / 2));
    let possible = usize::try_from(possible).unwrap_or(usize::MAX);
    if possible >= limits.connections {
        return limits;
    }
    tracing::warn!(
        target: NOTICE,
        "connections are limited to {possible}: the limit of open files is {files}, raise it \
         (systemd: LimitNOFILE)"
    );
    limits.with_connections(possible)
}

/// Writes the banner when the server is ready.
///
/// With `--dev` and on a terminal it goes to standard output; an error is only logged. Otherwise it is a line
/// of the log, because standard output then contains audit events only.
fn announce(banner: &Banner<'_>, development: Option<&Development>, address: SocketAddr) {
    let out = io::stdout();
    if development.is_none() && !out.is_terminal() {
        return banner.log();
    }
    let mut out = out.lock();
    let written = banner.write(&mut out);
    let written = written.and_then(|()| match development {
        Some(development) => development.write_banner(address, &mut out),
        None => Ok(()),
    });
    if let Err(error) = written {
        tracing::warn!(target: NOTICE, %error, "cannot write the banner");
    }
}

async fn serve(bound: Bound, mut signals: Signals, stop: &Stop) -> Result<(), Failure> {
    let running = bound.run();
    tokio::pin!(running);
    loop {
        tokio::select! {
            is_clean = &mut running => {
                return if is_clean { Ok(()) } else { Err(Failure::message("requests were cut off")) };
            }
            event = signals.next() => match event {
                Event::End if stop.is_draining() => stop.abort(),
                Event::End => {
                    tracing::info!(target: NOTICE, "ending: no new connections; accepted requests are answered");
                    stop.drain();
                }
                Event::Reload => {
                    tracing::warn!(target: NOTICE, "SIGHUP is ignored: this build cannot reload its configuration");
                }
            },
        }
    }
}

/// The events that signals cause.
enum Event {
    End,
    Reload,
}

/// Signals that have no effect, but would end the process if it did not catch them.
///
/// They are caught as soon as this value exists.
pub(crate) struct IgnoredSignals {
    user_1: Signal,
    user_2: Signal,
}

impl IgnoredSignals {
    /// Catches the signals; must be called within the runtime that runs the server.
    pub(crate) fn catch() -> io::Result<Self> {
        Ok(Self {
            user_1: signal(SignalKind::user_defined1())?,
            user_2: signal(SignalKind::user_defined2())?,
        })
    }

    /// Waits for one of them.
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.user_1.recv() => "SIGUSR1",
            _ = self.user_2.recv() => "SIGUSR2",
        }
    }
}

struct Signals {
    ignored: IgnoredSignals,
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn new(ignored: IgnoredSignals) -> io::Result<Self> {
        Ok(Self {
            ignored,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Runs a step of the start until it is done or a signal ends the process; `None` in the second case.
    async fn run_until_ended<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        tokio::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return Some(done),
                event = self.next() => if matches!(event, Event::End) { return None },
            }
        }
    }

    async fn next(&mut self) -> Event {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return Event::End,
                _ = self.interrupt.recv() => return Event::End,
                _ = self.hang_up.recv() => return Event::Reload,
                signal = self.ignored.next() => tracing::debug!(signal, "a signal is ignored"),
            }
        }
    }
}

/// Forbids core dumps and locks memory, before the process has threads.
///
/// It fails if core dumps cannot be forbidden; memory that cannot be locked is only a warning.
pub(crate) fn protect_memory(is_development: bool) -> Result<Locking, Failure> {
    let forbidden = memory::forbid_core_dumps(is_development);
    forbidden.map_err(|error| Failure::new(error).context("cannot forbid core dumps"))?;
    Ok(memory::lock())
}
