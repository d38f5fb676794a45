//! Runs the conformance suite on a real `OpenBao`.

#![expect(clippy::unwrap_used, reason = "a test ends where something cannot be done")]

use std::sync::Arc;
use std::time::Duration;

use kes_config::{KvVersion, VaultCredentials, VaultKeystore, VaultLogin, VaultTransit};
use kes_harness::vault::{Api, Bao, Kv, Role, bao, rule};
use kes_store::conformance::{self, Profile};
use kes_store::{Fleet, KeyStore};
use kes_store_vault::{VaultStore, VaultStoreDeps};
use kes_types::SystemClock;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The configuration of the stores of one run.
#[derive(Clone, Copy, Default)]
struct Layout {
    is_version_1: bool,
    prefix: &'static str,
    namespace: Option<&'static str>,
    has_transit: bool,
    /// The number of servers that share the keys.
    servers: usize,
}

#[tokio::test(flavor = "multi_thread")]
async fn version_1() {
    examine(Layout { is_version_1: true, ..Layout::default() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn version_2() {
    examine(Layout::default()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn version_2_shared_by_three_servers() {
    examine(Layout { servers: 3, ..Layout::default() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn version_2_with_a_prefix_in_a_namespace() {
    examine(Layout { prefix: "a/b", namespace: Some("ns1"), ..Layout::default() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn version_1_with_transit() {
    let layout = Layout { is_version_1: true, prefix: "p", ..Layout::default() };
    examine(Layout { has_transit: true, ..layout }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn version_2_with_transit() {
    examine(Layout { prefix: "p", has_transit: true, ..Layout::default() }).await;
}

async fn examine(layout: Layout) {
    let Some(need) = bao() else { return };
    let bao = Bao::start(&need).await;
    let role = prepare(&bao, layout).await;
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let mut stores = Vec::new();
    for _ in 0..layout.servers.max(1) {
        let opened = VaultStore::open(VaultStoreDeps {
            proxies: kes_outbound::Proxies::default(),
            settings: settings(&bao, layout, &role),
            clock: Arc::new(SystemClock),
            tasks: tasks.clone(),
            stop: stop.clone(),
        });
        let (store, warnings) = opened.await.unwrap();
        assert_eq!(warnings.len(), usize::from(layout.is_version_1), "{warnings:?}");
        stores.push(Arc::new(store) as Arc<dyn KeyStore>);
    }
    let fleet = Fleet::new(stores.pop().unwrap(), stores);
    conformance::run(
        Arc::new(fleet),
        Profile { binary: layout.has_transit },
        &kes_crypto::SystemRandom::new(),
    )
    .await;
    stop.cancel();
    tasks.close();
    tasks.wait().await;
    assert_eq!(bao.audit().logins(), layout.servers.max(1));
}

/// Creates the engine, and a role with only the necessary permissions.
async fn prepare(bao: &Bao, layout: Layout) -> Role {
    let root = match layout.namespace {
        None => bao.root().clone(),
        Some(namespace) => {
            bao.root().put(&format!("sys/namespaces/{namespace}"), json!({})).await;
            bao.root().within(namespace)
        }
    };
    let api: &Api = &root;
    let kv = if layout.is_version_1 { Kv::V1 } else { Kv::V2 };
    api.mount_kv("kv", if layout.is_version_1 { 1 } else { 2 }).await;
    let mut rules = kv.rules("kv", layout.prefix);
    if kv == Kv::V2 {
        rules += &rule("kv/config", &["read"]);
    }
    if layout.has_transit {
        api.mount_transit("transit", "kes").await;
        for operation in ["encrypt", "decrypt"] {
            rules += &rule(&format!("transit/{operation}/kes"), &["update"]);
        }
    }
    api.app_role("kes", &rules, json!({})).await
}

fn settings(bao: &Bao, layout: Layout, role: &Role) -> VaultKeystore {
    let namespace = layout.namespace.map(str::to_owned);
    VaultKeystore {
        endpoint: bao.endpoint(),
        engine: "kv".to_owned(),
        version: if layout.is_version_1 { KvVersion::V1 } else { KvVersion::V2 },
        namespace: namespace.clone(),
        prefix: layout.prefix.to_owned(),
        transit: layout
            .has_transit
            .then(|| VaultTransit { engine: "transit".to_owned(), key: "kes".to_owned() }),
        login: VaultLogin {
            namespace,
            engine: "approle".to_owned(),
            credentials: VaultCredentials::AppRole {
                id: role.id.clone().into(),
                secret: role.secret.clone().into(),
            },
        },
        client: None,
        ca: None,
        ping: Duration::from_secs(10),
    }
}
