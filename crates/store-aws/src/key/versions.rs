//! Warns of secrets with more than one version, because only the current version is used.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use kes_types::{KeyName, lock};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::NOTICE;
use crate::auth::session;
use crate::key::secret::Observation;
use crate::key::secrets_manager::SecretsManager;

/// The maximum number of concurrent checks. A name that exceeds it is checked when it is read
/// again.
const LOOKS_MAX: usize = 4;

/// The maximum number of names that are remembered.
const NAMES_MAX: usize = 100_000;

/// Checks in the background, once for each secret that is read, how many versions it has.
#[derive(Debug)]
pub(crate) struct Versions {
    seen: Arc<Mutex<HashSet<KeyName>>>,
    looks: Arc<Semaphore>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Versions {
    pub(crate) fn new(tasks: TaskTracker, stop: CancellationToken) -> Self {
        Self { seen: Arc::default(), looks: Arc::new(Semaphore::new(LOOKS_MAX)), tasks, stop }
    }

    /// Starts the check of a key that was read, unless it was checked before.
    pub(crate) fn read(&self, manager: &Arc<SecretsManager>, key: &KeyName) {
        if manager.is_look_denied() || self.stop.is_cancelled() {
            return;
        }
        {
            let seen = lock(&self.seen);
            if seen.contains(key) || seen.len() >= NAMES_MAX {
                return;
            }
        }
        let Ok(look) = Arc::clone(&self.looks).try_acquire_owned() else { return };
        let (manager, seen) = (Arc::clone(manager), Arc::clone(&self.seen));
        let (key, stop) = (key.clone(), self.stop.clone());
        self.tasks.spawn(async move {
            let is_done = stop.run_until_cancelled(count(&manager, &key)).await;
            if is_done == Some(true) {
                lock(&seen).insert(key);
            }
            drop(look);
        });
    }
}

/// Logs a warning if the secret has several versions. Returns whether AWS responded.
async fn count(manager: &SecretsManager, key: &KeyName) -> bool {
    let secret = manager.names.secret(key);
    let Ok(look) = manager.look(&secret, session::deadline()).await else { return false };
    if let Observation::Present(found) = look
        && found.versions > 1
    {
        tracing::warn!(
            target: NOTICE,
            "secret '{secret}' has {} versions: the current one is used, and what was encrypted \
             under another one cannot be decrypted with it; do not rotate the secrets of keys",
            found.versions
        );
    }
    true
}
