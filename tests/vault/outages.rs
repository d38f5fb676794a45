//! Outages of Vault: sealed, stopped, hanging, and gone.

use std::time::Duration;

use kes_harness::caller::{decrypt, generate, until_ready};
use kes_harness::vault::{Bao, Kv};
use kes_harness::{Connection, Request, Server};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::fixture::{Fixture, create};

/// How long the test waits for sockets to be closed.
const TIMEOUT: Duration = Duration::from_mins(1);

async fn assert_key_routes_fail(connection: &mut Connection, server: &Server, words: &str) {
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
    server.log_has(&[words]).await;
}

async fn is_well(connection: &mut Connection) {
    until_ready(connection).await;
    let made = generate(connection, "my-key").await.ok();
    decrypt(connection, "my-key", &made).await.ok();
    assert_eq!(connection.get("/v1/key/describe/my-absent").await.status, 404);
}

#[tokio::test]
async fn a_sealed_vault_is_an_error_and_unsealing_it_is_all_it_takes() {
    let Some(fixture) = Fixture::new(Kv::V2, json!({})).await else { return };
    let server = fixture.setup.start().await;
    let mut admin = fixture.admin(&server).await;
    create(&mut admin, "my-key").await;
    for _ in 0..2 {
        fixture.bao.seal().await;
        assert_key_routes_fail(&mut admin, &server, "Vault is sealed").await;
        fixture.bao.unseal().await;
        is_well(&mut admin).await;
    }
    let logged =
        |words: &str| server.stderr().so_far().iter().filter(|line| line.contains(words)).count();
    assert_eq!(logged("the key store cannot be used"), 2, "{:#?}", server.stderr().so_far());
    assert_eq!(logged("the key store can be used again"), 2);
    server.stop().await;
}

#[tokio::test]
async fn a_vault_that_is_gone_is_an_error_and_its_return_is_all_it_takes() {
    let Some(mut fixture) = Fixture::durable(Kv::V2, json!({ "token_ttl": "4s" })).await else {
        return;
    };
    let server = fixture.setup.start().await;
    let mut admin = fixture.admin(&server).await;
    create(&mut admin, "my-key").await;
    fixture.bao.kill().await;
    assert_key_routes_fail(&mut admin, &server, "no answer to GET").await;
    // Long enough for the token to end.
    let ended = server.stderr().find(|line| line.contains("cannot renew the token")).await;
    assert!(ended.is_some());
    fixture.bao.restart().await;
    is_well(&mut admin).await;
    server.stop().await;
}

#[tokio::test]
async fn each_operation_on_a_vault_that_hangs_gets_the_store_s_answer_not_the_route_s() {
    let Some(fixture) = Fixture::new(Kv::V2, json!({})).await else { return };
    let server = fixture.setup.start().await;
    let mut admin = fixture.admin(&server).await;
    create(&mut admin, "my-key").await;
    fixture.bao.pause();
    let mut pending = Vec::new();
    for (method, path, message) in [
        ("PUT", "/v1/key/create/my-other", "failed to create key"),
        ("GET", "/v1/key/describe/my-key", "failed to read key"),
        ("GET", "/v1/key/list/", "failed to list keys"),
        ("DELETE", "/v1/key/delete/my-key", "failed to delete key"),
    ] {
        let request = Request::new(method, path);
        pending.push((admin.start(request).await.expect("a connection"), message));
    }
    for (pending, message) in pending {
        pending.answer().await.refused(502, message);
        let is_it = |line: &str| line.contains(message) && line.contains("no answer to ");
        let line = server.stderr().find(is_it).await;
        assert!(line.is_some(), "{message}: {:#?}", server.stderr().so_far());
    }
    fixture.bao.resume();
    is_well(&mut admin).await;
    server.stop().await;
}

/// Calls to Vault at a time.
const CALLS: usize = 100;

#[tokio::test]
async fn a_vault_that_hangs_does_not_gather_requests() {
    let Some(mut fixture) = Fixture::new(Kv::V2, json!({})).await else { return };
    fixture.setup = fixture.setup.with(json!({ "limits": { "store_calls": CALLS } }));
    let server = fixture.setup.start().await;
    let mut admin = fixture.admin(&server).await;
    create(&mut admin, "my-key").await;
    let before = server.figures();
    fixture.bao.pause();
    let mut clients = JoinSet::new();
    for number in 0..300 {
        let mut connection = fixture.admin(&server).await;
        clients.spawn(async move {
            let name = format!("my-key-{number}");
            connection.get(&format!("/v1/key/describe/{name}")).await.status
        });
    }
    let statuses = clients.join_all().await;
    // A call to Vault failed, or the request waited for its turn to make one.
    assert!(statuses.iter().all(|status| [502, 429].contains(status)), "{statuses:?}");
    assert!(statuses.iter().filter(|status| **status == 502).count() >= CALLS, "{statuses:?}");
    // HTTP/1.1 takes a connection for each call; of these there is a bounded number at a time.
    assert!(fixture.bao.relay().accepted() < 300, "{}", fixture.bao.relay().accepted());
    // Nor does it take threads, or memory that adds up.
    let after = server.figures();
    assert!(after.threads <= before.threads + 4, "{before:?} {after:?}");
    assert!(after.resident_kib < before.resident_kib + (64 << 10), "{before:?} {after:?}");
    fixture.bao.resume();
    is_well(&mut admin).await;
    // The clients' sockets are given back; Vault's are no more than calls that may run, and kept for others.
    let are_closed = async {
        while server.figures().files > before.files + 16 + CALLS {
            admin.get("/version").await.ok();
        }
    };
    let are_closed = timeout(TIMEOUT, are_closed).await.is_ok();
    assert!(are_closed, "{before:?} {:?}", server.figures());
    server.stop().await;
}

#[tokio::test]
async fn a_cached_key_is_used_while_vault_is_away() {
    let Some(fixture) = Fixture::new(Kv::V2, json!({})).await else { return };
    let Fixture { bao, engine: _, setup } = fixture;
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
