//! The keys that the configuration names, created where they are missing.

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

/// How long after a failure creation is tried again while the store's health does not change.
const AGAIN_AFTER: Duration = Duration::from_mins(1);

/// Keys that are to be there.
pub(crate) struct Predefined {
    keyring: Arc<Keyring>,
    permit: Permit,
    keys: Vec<KeyName>,
}

impl Predefined {
    pub(crate) fn new(keyring: &Arc<Keyring>, permit: Permit, keys: Vec<KeyName>) -> Self {
        Self { keyring: Arc::clone(keyring), permit, keys }
    }

    /// Creates the keys; existing ones are left alone. While the store cannot be reached there is
    /// nothing wrong with the configuration: what is left is to be created later.
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

    /// Creates the keys as soon as the store can be used, until `stop`.
    pub(crate) async fn create_when_possible(self, stop: CancellationToken) {
        let _ = stop.run_until_cancelled(self.create_at_last()).await;
    }

    async fn create_at_last(mut self) {
        let mut health = self.keyring.health();
        let mut told = BTreeMap::new();
        while !self.keys.is_empty() {
            // The keyring, which we hold, has the sender.
            let _ = health.wait_for(|health| *health == Health::Reachable).await;
            health.mark_unchanged();
            let mut left = Vec::new();
            for name in std::mem::take(&mut self.keys) {
                if let Err(error) = self.create(&name).await {
                    let reason = format!("{error:?}");
                    // Once, however often it is tried in vain.
                    if told.get(&name) != Some(&reason) {
                        let cause: &dyn std::error::Error = &error;
                        tracing::error!(
                            key = name.as_str(),
                            cause,
                            "cannot create a key that the configuration names"
                        );
                        told.insert(name.clone(), reason);
                    }
                    left.push(name);
                }
            }
            self.keys = left;
            if !self.keys.is_empty() {
                let _ = tokio::time::timeout(AGAIN_AFTER, health.changed()).await;
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
