//! The key store of the configuration, opened.

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

/// How often the health of a store is looked at that has no setting for it.
const PROBE_EVERY: Duration = Duration::from_secs(10);

/// How long the last of a store's own tasks may take.
const LAST_WAIT: Duration = Duration::from_secs(3);

/// Where keys are kept.
pub(crate) enum Storage {
    /// Where the configuration says.
    Configured(Keystore),
    /// In memory; gone when the server ends.
    Memory,
}

/// A store that is open.
pub(crate) struct Opened {
    pub(crate) store: Arc<dyn KeyStore>,
    /// The store in words, for the banner.
    pub(crate) name: String,
    pub(crate) probe_every: Duration,
}

/// The tasks of a store's own, which last as long as the store is needed: longer than requests.
#[derive(Default)]
pub(crate) struct Upkeep {
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Upkeep {
    /// Ends them.
    pub(crate) async fn end(self) {
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(LAST_WAIT, self.tasks.wait()).await.is_err() {
            tracing::warn!("the key store's own tasks did not end in time");
        }
    }
}

/// Opens a store. What the operator should know about it goes into the log.
pub(crate) async fn open(
    storage: Storage,
    proxies: Proxies,
    upkeep: &Upkeep,
) -> Result<Opened, Failure> {
    match storage {
        Storage::Memory => Ok(Opened {
            store: metered(MemoryStore::new()),
            name: "memory (keys are gone when this server ends)".to_owned(),
            probe_every: PROBE_EVERY,
        }),
        Storage::Configured(Keystore::Fs(settings)) => open_fs(settings).await,
        Storage::Configured(Keystore::Vault(settings)) => {
            open_vault(*settings, proxies, upkeep).await
        }
        Storage::Configured(Keystore::Aws(settings)) => open_aws(*settings, proxies, upkeep).await,
    }
}

async fn open_fs(settings: FsKeystore) -> Result<Opened, Failure> {
    let name = format!("filesystem {}", settings.path.display());
    let place = format!("keystore.fs.path{}", kes_config::relative_to(&settings.path));
    // On a thread of its own: a disk that hangs must not keep a signal from ending the start.
    let opening = task::spawn_blocking(move || {
        FsStore::open(&settings.path, Arc::new(SystemClock), Arc::new(SystemRandom::new()))
    });
    let opened = opening.await.map_err(Failure::new)?;
    let (store, warnings) = opened.map_err(|error| Failure::new(error).context(place))?;
    tell(warnings.into_iter().map(Into::into).collect());
    Ok(Opened { store: metered(store), name, probe_every: PROBE_EVERY })
}

async fn open_vault(
    settings: VaultKeystore,
    proxies: Proxies,
    upkeep: &Upkeep,
) -> Result<Opened, Failure> {
    proxies.check(&settings.endpoint).map_err(Failure::new)?;
    let (name, probe_every) = (describe(&settings), settings.ping);
    let opened = VaultStore::open(kes_store_vault::Parts {
        settings,
        proxies,
        clock: Arc::new(SystemClock),
        tasks: upkeep.tasks.clone(),
        stop: upkeep.stop.clone(),
    });
    let (store, warnings) = opened.await.map_err(Failure::new)?;
    tell(warnings);
    Ok(Opened { store: metered(store), name, probe_every })
}

async fn open_aws(
    settings: AwsKeystore,
    proxies: Proxies,
    upkeep: &Upkeep,
) -> Result<Opened, Failure> {
    proxies.check(&settings.endpoint).map_err(Failure::new)?;
    let mut name = format!("AWS Secrets Manager {} in {}", settings.endpoint, settings.region);
    if !settings.prefix.is_empty() {
        name = format!("{name}, {}/*", settings.prefix);
    }
    if let Some(key) = &settings.kms_key {
        name = format!("{name}, KMS key {key}");
    }
    let opened = AwsStore::open(kes_store_aws::Parts {
        settings,
        proxies,
        clock: Arc::new(SystemClock),
        random: Arc::new(SystemRandom::new()),
        tasks: upkeep.tasks.clone(),
        stop: upkeep.stop.clone(),
    });
    let (store, warnings) = opened.await.map_err(Failure::new)?;
    tell(warnings);
    Ok(Opened { store: metered(store), name, probe_every: PROBE_EVERY })
}

/// `Vault https://127.0.0.1:8200, K/V v2 at kv/my-folder`
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

/// Tells what the operator should know after a start.
fn tell(warnings: Vec<BoxError>) {
    for warning in warnings {
        tracing::warn!(target: NOTICE, "{}", Failure::of(warning).text());
    }
}

fn metered(store: impl KeyStore) -> Arc<dyn KeyStore> {
    Arc::new(Metered::new(Arc::new(store), Arc::new(StoreCalls), Arc::new(SystemClock)))
}
