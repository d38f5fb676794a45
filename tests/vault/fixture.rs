//! Test fixture: an `OpenBao` with a K/V engine, and the setup of servers that keep their keys in it.

use kes_harness::vault::{Bao, Engine, Kv, Options, bao};
use kes_harness::{Connection, Server, Setup};
use serde_json::Value;

/// What a test of the Vault store needs.
pub(crate) struct Fixture {
    pub(crate) bao: Bao,
    pub(crate) engine: Engine,
    pub(crate) setup: Setup,
}

impl Fixture {
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
        let engine = Engine::new(&bao, "kv", kv, role).await;
        let setup = Setup::new().vault(engine.keystore()).uncached();
        Some(Self { bao, engine, setup })
    }

    /// A connection of the admin.
    pub(crate) async fn admin(&self, server: &Server) -> Connection {
        server.connect(self.setup.admin()).await
    }
}

/// Creates a key and asserts success.
pub(crate) async fn create(connection: &mut Connection, name: &str) {
    connection.call("PUT", &format!("/v1/key/create/{name}")).await.ok();
}
