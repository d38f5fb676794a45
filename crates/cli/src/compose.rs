//! The composition root: configuration → store → keyring → server. Reads top to bottom as the
//! architecture.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use kes_config::{Config, Keystore, ListenAddress, Live};
use kes_crypto::{Random, SystemRandom};
use kes_keyring::{CacheExpiry, CreateError, Keyring};
use kes_policy::PolicySet;
use kes_server::{Bound, BuildInfo, ErrorLog, Limits, Server, Stop};
use kes_store::{KeyStore, MemoryStore, Metered, StoreError};
use kes_store_fs::FsStore;
use kes_types::{Clock, KeyName, SystemClock};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::task::TaskTracker;
use tracing_appender::non_blocking::WorkerGuard;

use crate::banner::Banner;
use crate::dev::Development;
use crate::exit::Failure;
use crate::memory::{self, Locking};
use crate::telemetry::{self, NOTICE, StoreCalls};

/// What this binary is.
pub(crate) const BUILD: BuildInfo =
    BuildInfo { version: env!("CARGO_PKG_VERSION"), commit: env!("KES_COMMIT") };

/// What a server is started with.
pub(crate) struct Start {
    pub(crate) address: ListenAddress,
    pub(crate) store: Arc<dyn KeyStore>,
    /// The store in words, for the banner.
    pub(crate) store_name: String,
    pub(crate) keys: Vec<KeyName>,
    pub(crate) live: Live,
    pub(crate) development: Option<Development>,
    pub(crate) locking: Locking,
    pub(crate) errors: ErrorLog,
    /// Keeps log lines being written.
    pub(crate) log: WorkerGuard,
}

/// Starts from a configuration file's contents.
pub(crate) fn from_config(config: Config, locking: Locking) -> Result<Start, Failure> {
    let errors = ErrorLog::new();
    let log = telemetry::start(config.live.log.error, errors.clone());
    for warning in &config.warnings {
        tracing::warn!(target: NOTICE, "{warning}");
    }
    let (store, store_name) = open_store(config.keystore)?;
    Ok(Start {
        address: config.address,
        store,
        store_name,
        keys: config.keys,
        live: config.live,
        development: None,
        locking,
        errors,
        log,
    })
}

/// Starts with nothing: keys in memory, fresh credentials.
pub(crate) fn from_nothing(address: ListenAddress, locking: Locking) -> Result<Start, Failure> {
    let (development, live) = Development::new(&SystemRandom::new(), SystemClock.now())?;
    let errors = ErrorLog::new();
    let log = telemetry::start(live.log.error, errors.clone());
    Ok(Start {
        address,
        store: metered(MemoryStore::new()),
        store_name: "memory (keys are gone when this server ends)".to_owned(),
        keys: Vec::new(),
        live,
        development: Some(development),
        locking,
        errors,
        log,
    })
}

fn open_store(keystore: Keystore) -> Result<(Arc<dyn KeyStore>, String), Failure> {
    match keystore {
        Keystore::Fs(fs) => {
            let opened = FsStore::open(&fs.path, Arc::new(SystemClock));
            let (store, warnings) = opened.map_err(Failure::new)?;
            for warning in warnings {
                tracing::warn!(target: NOTICE, "{}", Failure::new(warning).text());
            }
            Ok((metered(store), format!("filesystem {}", fs.path.display())))
        }
        // The configuration refuses what this build has no store for.
        Keystore::Vault(_) => {
            Err(Failure::message("keystore 'vault' is not supported by this build"))
        }
        Keystore::Aws(_) => Err(Failure::message("keystore 'aws' is not supported by this build")),
    }
}

fn metered(store: impl KeyStore) -> Arc<dyn KeyStore> {
    Arc::new(Metered::new(Arc::new(store), Arc::new(StoreCalls), Arc::new(SystemClock)))
}

/// Runs a server until it is told to end by a signal.
pub(crate) async fn run(start: Start) -> Result<(), Failure> {
    if let Locking::NotLocked(reason) = &start.locking {
        tracing::warn!(target: NOTICE, "{reason}");
    }
    let _log = start.log;
    // Caught from here on, long before anybody is told that the server is up.
    let signals = Signals::new().map_err(Failure::new)?;
    let (tasks, stop) = (TaskTracker::new(), Stop::new());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let random: Arc<dyn Random> = Arc::new(SystemRandom::new());
    let keyring = Arc::new(Keyring::new(kes_keyring::Parts {
        store: start.store,
        expiry: CacheExpiry { any: start.live.cache.any, unused: start.live.cache.unused },
        clock: Arc::clone(&clock),
        random,
        tasks: tasks.clone(),
    }));
    create_predefined(&keyring, &start.live.policies, &start.keys).await?;

    let (admin, log) = (start.live.policies.admin().as_str().to_owned(), start.live.log.clone());
    let server = Server::new(kes_server::Parts {
        live: start.live,
        keyring,
        clock,
        audit_output: Box::new(io::stdout()),
        errors: start.errors,
        stop: stop.clone(),
        tasks,
        build: BUILD,
        limits: limits(),
    });
    let bound = server.map_err(Failure::new)?.bind(&start.address.candidates());
    let bound = bound.map_err(Failure::new)?;
    let banner = Banner {
        version: BUILD.version,
        commit: BUILD.commit,
        keystore: start.store_name,
        address: bound.address().map_err(Failure::new)?,
        admin: &admin,
        error_log: log.error,
        audit_log: log.audit,
        locking: &start.locking,
    };
    announce(&banner, start.development.as_ref(), banner.address);
    serve(bound, signals, &stop).await
}

/// Files that are open beside connections: key files being read, logs, the listener.
const FILES_RESERVED: u64 = 256;

/// As many connections as there may be, and fewer where the system has not as many descriptors.
fn limits() -> Limits {
    let mut limits = Limits::default();
    if let Some(files) = memory::raise_open_files() {
        let room = files.saturating_sub(FILES_RESERVED.min(files / 2));
        let room = usize::try_from(room).unwrap_or(usize::MAX);
        if room < limits.connections_max {
            limits.connections_max = room;
            tracing::warn!(
                target: NOTICE,
                "connections are limited to {room}: the limit of open files is {files}, raise it \
                 (systemd: LimitNOFILE)"
            );
        }
    }
    limits
}

/// Creates the keys that the configuration names; existing ones are left alone.
async fn create_predefined(
    keyring: &Arc<Keyring>,
    policies: &PolicySet,
    keys: &[KeyName],
) -> Result<(), Failure> {
    let permit = policies.configuration();
    for name in keys {
        match keyring.create(&permit, name).await {
            Ok(()) => {
                tracing::info!(target: NOTICE, key = name.as_str(), "created a key that the configuration names");
            }
            Err(CreateError::Store(_, StoreError::Exists(_))) => {}
            Err(error) => return Err(Failure::new(error)),
        }
    }
    Ok(())
}

/// Nobody may be reading: a server whose standard output is closed serves all the same.
fn announce(banner: &Banner<'_>, development: Option<&Development>, address: SocketAddr) {
    let mut out = io::stdout().lock();
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
                    tracing::info!(target: NOTICE, "ending: no more connections, answering what was accepted");
                    stop.drain();
                }
                Event::Reload => {
                    tracing::warn!(target: NOTICE, "SIGHUP is ignored: this build cannot reload its configuration");
                }
            },
        }
    }
}

/// What the process is asked from outside.
enum Event {
    End,
    Reload,
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Event {
        tokio::select! {
            _ = self.terminate.recv() => Event::End,
            _ = self.interrupt.recv() => Event::End,
            _ = self.hang_up.recv() => Event::Reload,
        }
    }
}

/// Prepares the process, before it has threads. One that could dump its keys does not start.
pub(crate) fn protect_memory(is_development: bool) -> Result<Locking, Failure> {
    let forbidden = memory::forbid_core_dumps(is_development);
    forbidden.map_err(|error| Failure::new(error).context("cannot forbid core dumps"))?;
    Ok(memory::lock())
}
