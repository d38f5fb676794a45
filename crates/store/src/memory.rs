//! Stores keys in memory, for development and tests.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use kes_types::{KeyName, Secret, lock};

use crate::{KeyStore, ListQuery, Page, StoreError, VALUE_LEN_MAX};

/// Stores keys in memory; the values are wiped when the store is dropped.
#[derive(Debug, Default)]
pub struct MemoryStore(Mutex<BTreeMap<KeyName, Secret>>);

impl MemoryStore {
    /// Creates an empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn keys(&self) -> MutexGuard<'_, BTreeMap<KeyName, Secret>> {
        // Each change is a single call of the map, so a panic elsewhere cannot leave it
        // inconsistent.
        lock(&self.0)
    }
}

#[async_trait]
impl KeyStore for MemoryStore {
    async fn status(&self) -> Result<Duration, StoreError> {
        Ok(Duration::ZERO)
    }

    async fn create(&self, name: &KeyName, value: Secret) -> Result<(), StoreError> {
        if value.expose().len() > VALUE_LEN_MAX {
            return Err(StoreError::Refused(TooLong.into()));
        }
        let mut keys = self.keys();
        if keys.contains_key(name) {
            return Err(StoreError::Exists(name.clone()));
        }
        keys.insert(name.clone(), value);
        Ok(())
    }

    async fn get(&self, name: &KeyName) -> Result<Secret, StoreError> {
        self.keys().get(name).cloned().ok_or_else(|| StoreError::NotFound(name.clone()))
    }

    async fn delete(&self, name: &KeyName) -> Result<(), StoreError> {
        match self.keys().remove(name) {
            Some(_) => Ok(()),
            None => Err(StoreError::NotFound(name.clone())),
        }
    }

    async fn list(&self, query: &ListQuery) -> Result<Page, StoreError> {
        let from = query.from.as_ref().map_or("", KeyName::as_str).max(&query.prefix);
        let keys = self.keys();
        let mut wanted = keys
            .range::<str, _>((Bound::Included(from), Bound::Unbounded))
            .map(|(name, _)| name)
            .take_while(|name| query.wants(name));
        let names = wanted.by_ref().take(query.limit.get()).cloned().collect();
        Ok(Page { names, next: wanted.next().cloned() })
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the value is longer than {VALUE_LEN_MAX} bytes")]
struct TooLong;
