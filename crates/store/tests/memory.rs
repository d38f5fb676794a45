//! Runs the conformance suite on the memory store.

use std::sync::Arc;

use kes_store::conformance::{self, Profile};
use kes_store::{Fleet, KeyStore, MemoryStore};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn memory_store_keeps_the_contract() {
    conformance::run(
        Arc::new(MemoryStore::new()),
        Profile { binary: true },
        &kes_crypto::SystemRandom::new(),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[should_panic(expected = "which exists")]
async fn stores_that_do_not_share_a_backend_fail_the_suite() {
    let stores: [Arc<dyn KeyStore>; 2] =
        [Arc::new(MemoryStore::new()), Arc::new(MemoryStore::new())];
    let [first, second] = stores;
    conformance::run(
        Arc::new(Fleet::new(first, vec![second])),
        Profile { binary: true },
        &kes_crypto::SystemRandom::new(),
    )
    .await;
}
