//! Opens the key store of the configuration.

use std::sync::Arc;
use std::time::Duration;

use kes_config::{AwsKeystore, FsKeystore, Keystore, KvVersion, VaultKeystore};
use kes_crypto::SystemRandom;
use kes_outbound::Proxies;
use kes_store::{BoxError, KeyStore, MemoryStore, Metered};
use kes_store_aws::AwsStore;
use kes_store_fs::FsStore;
use kes_store_vault::VaultStore;
use kes_types::SystemClock;
use tokio::task;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::exit::Failure;
use crate::telemetry::{NOTICE, StoreCalls};

/// The interval of health checks for stores without a setting for it.
const PROBE_EVERY: Duration = Duration::from_secs(10);

/// The timeout for the end of a store's own tasks.
const TASKS_TIMEOUT: Duration = Duration::from_secs(3);

/// The key store to open.
pub(crate) enum Storage {
    /// The key store of the configuration.
    Configured(Keystore),
    /// Memory, which is lost when the server ends.
    Memory,
}

/// An open key store.
pub(crate) struct OpenStore {
    pub(crate) store: Arc<dyn KeyStore>,
    /// The description of the store for the banner.
    pub(crate) name: String,
    pub(crate) probe_every: Duration,
}

/// The background tasks of a store, which run until after the last request.
#[derive(Default)]
pub(crate) struct StoreTasks {
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl StoreTasks {
    /// Ends the tasks and waits for them.
    pub(crate) async fn end(self) {
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(TASKS_TIMEOUT, self.tasks.wait()).await.is_err() {
            tracing::warn!("the key store's own tasks did not end in time");
        }
    }
}

/// Opens a store and logs its warnings.
pub(crate) async fn open(
    storage: Storage,
    proxies: Proxies,
    tasks: &StoreTasks,
) -> Result<OpenStore, Failure> {
    match storage {
        Storage::Memory => Ok(OpenStore {
            store: metered(MemoryStore::new()),
            name: "memory (keys are gone when this server ends)".to_owned(),
            probe_every: PROBE_EVERY,
        }),
        Storage::Configured(Keystore::Fs(settings)) => open_fs(settings).await,
        Storage::Configured(Keystore::Vault(settings)) => {
            open_vault(*settings, proxies, tasks).await
        }
        Storage::Configured(Keystore::Aws(settings)) => open_aws(*settings, proxies, tasks).await,
    }
}

async fn open_fs(settings: FsKeystore) -> Result<OpenStore, Failure> {
    let name = format!("filesystem {}", settings.path.display());
    let place = format!("keystore.fs.path{}", kes_config::relative_to(&settings.path));
    // In a thread of its own: if a disk hangs, a signal must still end the start.
    let opening = task::spawn_blocking(move || {
        FsStore::open(&settings.path, Arc::new(SystemClock), Arc::new(SystemRandom::new()))
    });
    let opened = opening.await.map_err(Failure::new)?;
    let (store, warnings) = opened.map_err(|error| Failure::new(error).context(place))?;
    log_warnings(warnings.into_iter().map(Into::into).collect());
    Ok(OpenStore { store: metered(store), name, probe_every: PROBE_EVERY })
}

async fn open_vault(
    settings: VaultKeystore,
    proxies: Proxies,
    tasks: &StoreTasks,
) -> Result<OpenStore, Failure> {
    proxies.check(&settings.endpoint).map_err(Failure::new)?;
    let (name, probe_every) = (describe(&settings), settings.ping);
    let opened = VaultStore::open(kes_store_vault::VaultStoreDeps {
        settings,
        proxies,
        clock: Arc::new(SystemClock),
        tasks: tasks.tasks.clone(),
        stop: tasks.stop.clone(),
    });
    let (store, warnings) = opened.await.map_err(Failure::new)?;
    log_warnings(warnings);
    Ok(OpenStore { store: metered(store), name, probe_every })
}

async fn open_aws(
    settings: AwsKeystore,
    proxies: Proxies,
    tasks: &StoreTasks,
) -> Result<OpenStore, Failure> {
    proxies.check(&settings.endpoint).map_err(Failure::new)?;
    let mut name = format!("AWS Secrets Manager {} in {}", settings.endpoint, settings.region);
    if !settings.prefix.is_empty() {
        name = format!("{name}, {}/*", settings.prefix);
    }
    if let Some(key) = &settings.kms_key {
        name = format!("{name}, KMS key {key}");
    }
    let opened = AwsStore::open(kes_store_aws::AwsStoreDeps {
        settings,
        proxies,
        clock: Arc::new(SystemClock),
        random: Arc::new(SystemRandom::new()),
        tasks: tasks.tasks.clone(),
        stop: tasks.stop.clone(),
    });
    let (store, warnings) = opened.await.map_err(Failure::new)?;
    log_warnings(warnings);
    Ok(OpenStore { store: metered(store), name, probe_every: PROBE_EVERY })
}

/// Describes the store: `Vault https://127.0.0.1:8200, K/V v2 at kv/my-folder`.
fn describe(settings: &VaultKeystore) -> String {
    let version = match settings.version {
        KvVersion::V1 => "v1",
        KvVersion::V2 => "v2",
    };
    let mut name = format!("Vault {}, K/V {version} at {}", settings.endpoint, settings.engine);
    if !settings.prefix.is_empty() {
        name = format!("{name}/{}", settings.prefix);
    }
    if let Some(namespace) = &settings.namespace {
        name = format!("{name}, namespace {namespace}");
    }
    if let Some(transit) = &settings.transit {
        name = format!("{name}, transit {}/{}", transit.engine, transit.key);
    }
    name
}

/// Logs the warnings of a start, independent of the log level.
fn log_warnings(warnings: Vec<BoxError>) {
    for warning in warnings {
        tracing::warn!(target: NOTICE, "{}", Failure::of(warning).text());
    }
}

fn metered(store: impl KeyStore) -> Arc<dyn KeyStore> {
    Arc::new(Metered::new(Arc::new(store), Arc::new(StoreCalls), Arc::new(SystemClock)))
}
