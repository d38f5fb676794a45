//! Simulates several servers that share one backend, for the conformance suite.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use kes_types::{KeyName, Secret};

use crate::{KeyStore, ListQuery, Page, StoreError};

/// Distributes calls over several stores that share a backend, as a load balancer does in front of
/// several servers. The suite requires that together they fulfil the contract of one store.
#[derive(Debug)]
pub struct Fleet {
    first: Arc<dyn KeyStore>,
    others: Vec<Arc<dyn KeyStore>>,
    calls: AtomicUsize,
}

impl Fleet {
    /// Creates a fleet of stores that share a backend.
    pub fn new(first: Arc<dyn KeyStore>, others: Vec<Arc<dyn KeyStore>>) -> Self {
        Self { first, others, calls: AtomicUsize::new(0) }
    }

    fn turn(&self) -> &dyn KeyStore {
        let turn = self.calls.fetch_add(1, Ordering::Relaxed) % (self.others.len() + 1);
        self.others.get(turn).unwrap_or(&self.first).as_ref()
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl KeyStore for Fleet {
    async fn status(&self) -> Result<Duration, StoreError> {
        self.turn().status().await
    }

    async fn create(&self, name: &KeyName, value: Secret) -> Result<(), StoreError> {
        self.turn().create(name, value).await
    }

    async fn get(&self, name: &KeyName) -> Result<Secret, StoreError> {
        self.turn().get(name).await
    }

    async fn delete(&self, name: &KeyName) -> Result<(), StoreError> {
        self.turn().delete(name).await
    }

    async fn list(&self, query: &ListQuery) -> Result<Page, StoreError> {
        self.turn().list(query).await
    }
}
