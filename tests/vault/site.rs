//! An `OpenBao` with a place for keys, and the setup of servers that keep theirs there.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kes_tests::vault::{Bao, Kv, Options, Place, bao};
use kes_tests::{Answer, Connection, Server, Setup, b64};
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// What a test of the Vault store needs.
pub(crate) struct Site {
    pub(crate) bao: Bao,
    pub(crate) place: Place,
    pub(crate) setup: Setup,
}

impl Site {
    /// A K/V engine and a role with these settings; none if there is no `OpenBao` on this machine.
    /// Nothing is cached, so that every request reaches Vault.
    pub(crate) async fn new(kv: Kv, role: Value) -> Option<Self> {
        Self::with(Options::default(), kv, role).await
    }

    /// The same on an `OpenBao` that outlives its process.
    pub(crate) async fn durable(kv: Kv, role: Value) -> Option<Self> {
        Self::with(Options { durable: true, ..Options::default() }, kv, role).await
    }

    async fn with(options: Options<'_>, kv: Kv, role: Value) -> Option<Self> {
        let bao = Bao::start_with(&bao()?, options).await;
        let place = Place::new(&bao, "kv", kv, role).await;
        let setup = uncached(Setup::new().vault(place.keystore()));
        Some(Self { bao, place, setup })
    }

    /// A connection of the admin.
    pub(crate) async fn admin(&self, server: &Server) -> Connection {
        server.connect(self.setup.admin()).await
    }
}

/// Waits for a line of the server's log that has all these words.
pub(crate) async fn log_has(server: &Server, words: &[&str]) {
    let line = server.stderr().find(|line| words.iter().all(|word| line.contains(word))).await;
    assert!(line.is_some(), "{words:?} is not in the log: {:#?}", server.stderr().so_far());
}

/// Switches the cache off.
pub(crate) fn uncached(setup: Setup) -> Setup {
    setup.with(json!({ "cache": { "expiry": { "any": "0s" } } }))
}

/// Creates a key and demands success.
pub(crate) async fn create(connection: &mut Connection, name: &str) {
    connection.call("PUT", &format!("/v1/key/create/{name}")).await.ok();
}

/// Makes a data key; any answer will do.
pub(crate) async fn generate(connection: &mut Connection, name: &str) -> Answer {
    let body = json!({ "context": b64("c") }).to_string();
    connection.post(&format!("/v1/key/generate/{name}"), &body).await
}

/// Opens a data key; any answer will do.
pub(crate) async fn decrypt(connection: &mut Connection, name: &str, made: &Answer) -> Answer {
    let body = json!({ "context": b64("c"), "ciphertext": made.text("ciphertext") }).to_string();
    connection.post(&format!("/v1/key/decrypt/{name}"), &body).await
}

/// Clients that use a key without a rest, each over its own connection, until they are stopped.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    clients: JoinSet<Vec<u16>>,
}

impl Load {
    pub(crate) async fn start(site: &Site, server: &Server, name: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut clients = JoinSet::new();
        for _ in 0..4 {
            let (mut connection, name) = (site.admin(server).await, name.to_owned());
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

    /// Stops them and demands that all their many requests succeeded.
    pub(crate) async fn all_succeeded(self) {
        self.stop.store(true, Ordering::Relaxed);
        let statuses: Vec<u16> = self.clients.join_all().await.into_iter().flatten().collect();
        assert!(statuses.len() > 100, "only {} requests", statuses.len());
        let failed = statuses.iter().filter(|status| **status != 200).count();
        assert_eq!(failed, 0, "of {}", statuses.len());
    }
}
