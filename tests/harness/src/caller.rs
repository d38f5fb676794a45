//! Typical calls of a client: data keys generated and decrypted, once or under load.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::{Answer, Connection, Credential, Server, b64};

/// How long a test waits for a server to become ready.
const TIMEOUT: Duration = Duration::from_mins(1);

/// Generates a data key, with any answer.
pub async fn generate(connection: &mut Connection, name: &str) -> Answer {
    let body = json!({ "context": b64("c") }).to_string();
    connection.post(&format!("/v1/key/generate/{name}"), &body).await
}

/// Decrypts a data key that [`generate`] made, with any answer.
pub async fn decrypt(connection: &mut Connection, name: &str, made: &Answer) -> Answer {
    let body = json!({ "context": b64("c"), "ciphertext": made.text("ciphertext") }).to_string();
    connection.post(&format!("/v1/key/decrypt/{name}"), &body).await
}

/// Polls the server until it is ready.
///
/// # Panics
/// If it does not become so.
pub async fn until_ready(connection: &mut Connection) {
    let is_ready = async {
        while connection.get("/v1/ready").await.status != 200 {
            tokio::task::yield_now().await;
        }
    };
    assert!(timeout(TIMEOUT, is_ready).await.is_ok(), "not ready within {TIMEOUT:?}");
}

/// Four clients that use a key without a break, each over its own connection, until they are stopped.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    clients: JoinSet<Vec<u16>>,
}

impl Load {
    /// Starts them.
    pub async fn start(server: &Server, who: &Credential, name: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut clients = JoinSet::new();
        for _ in 0..4 {
            let (mut connection, name) = (server.connect(who).await, name.to_owned());
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

    /// Stops them and asserts that there were more requests than that, and that all succeeded.
    ///
    /// # Panics
    /// If not.
    pub async fn all_succeeded(self, more_than: usize) {
        self.stop.store(true, Ordering::Relaxed);
        let statuses: Vec<u16> = self.clients.join_all().await.into_iter().flatten().collect();
        assert!(statuses.len() > more_than, "only {} requests", statuses.len());
        let failed = statuses.iter().filter(|status| **status != 200).count();
        assert_eq!(failed, 0, "of {}", statuses.len());
    }
}
