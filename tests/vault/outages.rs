//! Vault sealed, stopped, hanging and gone.

use kes_tests::vault::{Bao, Kv};
use kes_tests::{Connection, Server};
use serde_json::json;
use tokio::task::JoinSet;

use crate::site::{Site, create, decrypt, generate};

/// Asks until the server is ready; each answer is the server's, and it takes its own time for it.
pub(crate) async fn until_ready(connection: &mut Connection) {
    while connection.get("/v1/ready").await.status != 200 {
        tokio::task::yield_now().await;
    }
}

async fn is_in_trouble(connection: &mut Connection, server: &Server, words: &str) {
    let answer = generate(connection, "my-key").await;
    assert_eq!((answer.status, answer.error().as_str()), (502, "failed to read key"));
    let absent = connection.get("/v1/key/describe/my-absent").await;
    assert_eq!((absent.status, absent.error().as_str()), (502, "failed to read key"));
    let created = connection.call("PUT", "/v1/key/create/my-other").await;
    assert_eq!((created.status, created.error().as_str()), (502, "failed to create key"));
    let listed = connection.get("/v1/key/list/").await;
    assert_eq!((listed.status, listed.error().as_str()), (502, "failed to list keys"));
    assert_eq!(connection.get("/v1/ready").await.status, 504);
    let status = connection.get("/v1/status").await.ok().json();
    assert_eq!(status["keystore_unreachable"], json!(true));
    let log = server.stderr().find(|line| line.contains(words)).await;
    assert!(log.is_some(), "{:#?}", server.stderr().so_far());
}

async fn is_well(connection: &mut Connection) {
    until_ready(connection).await;
    let made = generate(connection, "my-key").await.ok();
    decrypt(connection, "my-key", &made).await.ok();
    assert_eq!(connection.get("/v1/key/describe/my-absent").await.status, 404);
}

#[tokio::test]
async fn a_sealed_vault_is_an_error_and_unsealing_it_is_all_it_takes() {
    let Some(site) = Site::new(Kv::V2, json!({})).await else { return };
    let server = site.setup.start().await;
    let mut admin = site.admin(&server).await;
    create(&mut admin, "my-key").await;
    for _ in 0..2 {
        site.bao.seal().await;
        is_in_trouble(&mut admin, &server, "Vault is sealed").await;
        site.bao.unseal().await;
        is_well(&mut admin).await;
    }
    let told =
        |words: &str| server.stderr().so_far().iter().filter(|line| line.contains(words)).count();
    assert_eq!(told("the key store cannot be used"), 2, "{:#?}", server.stderr().so_far());
    assert_eq!(told("the key store can be used again"), 2);
    server.stop().await;
}

#[tokio::test]
async fn a_vault_that_is_gone_is_an_error_and_its_return_is_all_it_takes() {
    let Some(mut site) = Site::durable(Kv::V2, json!({ "token_ttl": "4s" })).await else { return };
    let server = site.setup.start().await;
    let mut admin = site.admin(&server).await;
    create(&mut admin, "my-key").await;
    site.bao.kill().await;
    is_in_trouble(&mut admin, &server, "no answer to GET").await;
    // Long enough for the token to end.
    let ended = server.stderr().find(|line| line.contains("cannot renew the token")).await;
    assert!(ended.is_some());
    site.bao.restart().await;
    is_well(&mut admin).await;
    server.stop().await;
}

#[tokio::test]
async fn a_vault_that_hangs_does_not_gather_requests() {
    let Some(site) = Site::new(Kv::V2, json!({})).await else { return };
    let server = site.setup.start().await;
    let mut admin = site.admin(&server).await;
    create(&mut admin, "my-key").await;
    site.bao.pause();
    let mut clients = JoinSet::new();
    for number in 0..300 {
        let mut connection = site.admin(&server).await;
        clients.spawn(async move {
            let name = format!("my-key-{number}");
            connection.get(&format!("/v1/key/describe/{name}")).await.status
        });
    }
    let statuses = clients.join_all().await;
    assert!(statuses.iter().all(|status| *status == 502), "{statuses:?}");
    // HTTP/1.1 takes a connection for each call; of these there is a bounded number at a time.
    assert!(site.bao.relay().accepted() < 300, "{}", site.bao.relay().accepted());
    site.bao.resume();
    is_well(&mut admin).await;
    server.stop().await;
}

#[tokio::test]
async fn a_cached_key_is_used_while_vault_is_away() {
    let Some(site) = Site::new(Kv::V2, json!({})).await else { return };
    let Site { bao, place: _, setup } = site;
    let cached = json!({ "cache": { "expiry": { "any": "5m0s", "unused": "5m0s" } } });
    let setup = setup.with(cached);
    let server = setup.start().await;
    let mut admin = server.connect(setup.admin()).await;
    create(&mut admin, "my-key").await;
    let made = generate(&mut admin, "my-key").await.ok();
    away(&bao);
    for _ in 0..10 {
        decrypt(&mut admin, "my-key", &made).await.ok();
    }
    assert_eq!(generate(&mut admin, "my-other").await.status, 502);
    server.stop().await;
}

fn away(bao: &Bao) {
    bao.relay().turn(None);
    bao.relay().cut();
}
