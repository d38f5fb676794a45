//! The number of requests to Vault, counted by its audit log.

use kes_harness::Setup;
use kes_harness::caller::generate;
use kes_harness::vault::Kv;
use serde_json::json;
use tokio::task::JoinSet;

use crate::fixture::{Fixture, create};

#[tokio::test]
async fn a_hundred_clients_that_miss_one_key_cause_one_read() {
    let Some(fixture) = Fixture::new(Kv::V2, json!({})).await else { return };
    let writer = fixture.setup.start().await;
    create(&mut fixture.admin(&writer).await, "my-key").await;
    writer.stop().await;
    let setup = Setup::new().vault(fixture.engine.keystore());
    let server = setup.start().await;
    let path = "kv/data/keys/my-key";
    let before = fixture.bao.audit().count("read", path);
    let mut clients = JoinSet::new();
    for _ in 0..100 {
        let mut connection = server.connect(setup.admin()).await;
        clients.spawn(async move { generate(&mut connection, "my-key").await.status });
    }
    assert_eq!(clients.join_all().await, [200; 100]);
    let audit = fixture.bao.audit();
    assert_eq!(audit.count("read", path) - before, 1);
    assert_eq!(audit.logins(), 2);
    server.stop().await;
}
