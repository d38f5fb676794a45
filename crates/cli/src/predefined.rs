//! Creates the keys that the configuration names, if they do not exist.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kes_keyring::{CreateError, Health, Keyring};
use kes_policy::Permit;
use kes_store::StoreError;
use kes_types::KeyName;
use tokio_util::sync::CancellationToken;

use crate::exit::Failure;
use crate::telemetry::NOTICE;

/// The retry interval after a failure while the store's health does not change.
const RETRY_INTERVAL: Duration = Duration::from_mins(1);

/// The keys to create.
pub(crate) struct Predefined {
    keyring: Arc<Keyring>,
    permit: Permit,
    keys: Vec<KeyName>,
}

impl Predefined {
    pub(crate) fn new(keyring: &Arc<Keyring>, permit: Permit, keys: Vec<KeyName>) -> Self {
        Self { keyring: Arc::clone(keyring), permit, keys }
    }

    /// Creates the keys that do not exist.
    ///
    /// If the store cannot be reached, it returns the remaining keys, which are created later.
    pub(crate) async fn create_now(mut self) -> Result<Option<Self>, Failure> {
        while let Some(name) = self.keys.last() {
            match self.create(name).await {
                Ok(()) => {}
                Err(CreateError::Store(_, StoreError::Unreachable(cause))) => {
                    let keys: Vec<_> = self.keys.iter().map(KeyName::as_str).collect();
                    tracing::warn!(
                        target: NOTICE,
                        keys = keys.join(", "),
                        cause = &*cause as &dyn std::error::Error,
                        "keys of the configuration will be created when the key store can be used"
                    );
                    return Ok(Some(self));
                }
                Err(error) => return Err(Failure::new(error)),
            }
            self.keys.pop();
        }
        Ok(None)
    }

    /// Creates the keys when the store can be used, until `stop` is cancelled.
    pub(crate) async fn create_when_possible(self, stop: CancellationToken) {
        let _ = stop.run_until_cancelled(self.create_all()).await;
    }

    async fn create_all(mut self) {
        let mut health = self.keyring.health();
        let mut logged = BTreeMap::new();
        while !self.keys.is_empty() {
            // The sender lives as long as the keyring.
            let _ = health.wait_for(|health| *health == Health::Reachable).await;
            health.mark_unchanged();
            let mut left = Vec::new();
            for name in std::mem::take(&mut self.keys) {
                if let Err(error) = self.create(&name).await {
                    let reason = format!("{error:?}");
                    // Each reason is logged once, not at each retry.
                    if logged.get(&name) != Some(&reason) {
                        let cause: &dyn std::error::Error = &error;
                        tracing::error!(
                            key = name.as_str(),
                            cause,
                            "cannot create a key that the configuration names"
                        );
                        logged.insert(name.clone(), reason);
                    }
                    left.push(name);
                }
            }
            self.keys = left;
            if !self.keys.is_empty() {
                let _ = tokio::time::timeout(RETRY_INTERVAL, health.changed()).await;
            }
        }
    }

    async fn create(&self, name: &KeyName) -> Result<(), CreateError> {
        match self.keyring.create(&self.permit, name).await {
            Ok(()) => {
                tracing::info!(
                    target: NOTICE,
                    key = name.as_str(),
                    "created a key that the configuration names"
                );
                Ok(())
            }
            Err(CreateError::Store(_, StoreError::Exists(_))) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
