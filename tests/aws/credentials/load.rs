//! Clients that use a key without a rest.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kes_tests::Server;
use tokio::task::JoinSet;

use super::ground::Ground;
use crate::site::generate;

/// Four clients, each with a connection of its own, until they are stopped.
pub(super) struct Load {
    stop: Arc<AtomicBool>,
    clients: JoinSet<Vec<u16>>,
}

impl Load {
    pub(super) async fn start(ground: &Ground, server: &Server, name: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut clients = JoinSet::new();
        for _ in 0..4 {
            let (mut connection, name) = (ground.admin(server).await, name.to_owned());
            let stop = Arc::clone(&stop);
            clients.spawn(async move {
                let mut statuses = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    statuses.push(generate(&mut connection, &name).await.status);
                }
                statuses
            });
        }
        Self { stop, clients }
    }

    /// Stops them and demands that there were requests, and that all of them succeeded.
    pub(super) async fn all_succeeded(self) {
        self.stop.store(true, Ordering::Relaxed);
        let statuses: Vec<u16> = self.clients.join_all().await.into_iter().flatten().collect();
        assert!(statuses.len() > 8, "only {} requests", statuses.len());
        let failed = statuses.iter().filter(|status| **status != 200).count();
        assert_eq!(failed, 0, "of {}", statuses.len());
    }
}
