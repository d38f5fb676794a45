//! Runs the conformance suite on two emulators of AWS.

#![expect(clippy::unwrap_used, reason = "a test ends where something cannot be done")]

use std::sync::Arc;

use kes_config::{AwsCredentials, AwsKeystore, KmsEndpoint};
use kes_crypto::SystemRandom;
use kes_harness::aws::{Ministack, Moto, is_action, ministack, moto};
use kes_harness::proxy::Proxy;
use kes_store::conformance::{self, Profile};
use kes_store::{Fleet, KeyStore};
use kes_store_aws::{AwsStore, AwsStoreDeps};
use kes_types::SystemClock;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The configuration of the stores of one run.
#[derive(Clone, Copy)]
struct Layout {
    prefix: &'static str,
    has_tags: bool,
    /// The number of servers that share the keys.
    servers: usize,
}

/// The layouts share one account: no layout may see the keys of another.
const LAYOUTS: [Layout; 3] = [
    Layout { prefix: "", has_tags: false, servers: 1 },
    Layout { prefix: "team/kes", has_tags: true, servers: 1 },
    Layout { prefix: "fleet", has_tags: false, servers: 3 },
];

#[tokio::test(flavor = "multi_thread")]
async fn moto_without_a_prefix_with_one_and_shared_by_three_servers() {
    let Some(need) = moto() else { return };
    let moto = Moto::start(&need).await;
    let proxy = in_turns(&moto).await;
    let [bare, folder, fleet] = LAYOUTS.map(|layout| examine(&proxy, layout));
    tokio::join!(bare, folder, fleet);
    assert_eq!(moto.api().names().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn ministack_without_a_prefix_with_one_and_shared_by_three_servers() {
    let Some(need) = ministack() else { return };
    let cloud = Ministack::start(&need).await;
    let proxy = Proxy::to(cloud.address()).await;
    let [bare, folder, fleet] = LAYOUTS.map(|layout| examine(&proxy, layout));
    tokio::join!(bare, folder, fleet);
    assert_eq!(cloud.api().names().await, Vec::<String>::new());
}

/// Before a moto: its check that a name is free and its taking of it are two steps.
async fn in_turns(moto: &Moto) -> Proxy {
    let proxy = Proxy::to(moto.address()).await;
    proxy.one_at_a_time(|asked| is_action(asked, "CreateSecret"));
    proxy
}

async fn examine(proxy: &Proxy, layout: Layout) {
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let mut stores = Vec::new();
    for _ in 0..layout.servers {
        let opened = AwsStore::open(AwsStoreDeps {
            proxies: kes_outbound::Proxies::default(),
            settings: settings(proxy, layout),
            clock: Arc::new(SystemClock),
            random: Arc::new(SystemRandom::new()),
            tasks: tasks.clone(),
            stop: stop.clone(),
        });
        let (store, warnings) = opened.await.unwrap();
        assert!(warnings.is_empty(), "{warnings:?}");
        stores.push(Arc::new(store) as Arc<dyn KeyStore>);
    }
    let fleet = Fleet::new(stores.pop().unwrap(), stores);
    conformance::run(Arc::new(fleet), Profile { binary: false }, &kes_crypto::SystemRandom::new())
        .await;
    stop.cancel();
    tasks.close();
    tasks.wait().await;
}

fn settings(proxy: &Proxy, layout: Layout) -> AwsKeystore {
    AwsKeystore {
        endpoint: proxy.url(),
        region: "eu-central-1".to_owned(),
        kms_key: None,
        kms_endpoint: KmsEndpoint::At(proxy.url()),
        prefix: layout.prefix.to_owned(),
        tags: layout.has_tags.then(|| vec![("team".to_owned(), "storage".to_owned())]),
        credentials: AwsCredentials::Static {
            access_key: "AKIAKESTESTS00000001".to_owned(),
            secret_key: "secret".to_owned().into(),
            token: None,
        },
    }
}
