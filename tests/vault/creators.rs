//! Concurrent creations of one key.

use kes_harness::caller::{decrypt, generate};
use kes_harness::vault::{Kv, rule};
use kes_harness::{Server, measured};
use serde_json::json;
use tokio::task::JoinSet;

use crate::fixture::Fixture;

/// Creates one name 32 times at once, spread over the servers; gives the statuses.
async fn race(fixture: &Fixture, servers: &[Server], name: &str) -> Vec<u16> {
    let mut creators = JoinSet::new();
    for number in 0..32 {
        let mut connection = fixture.admin(&servers[number % servers.len()]).await;
        let path = format!("/v1/key/create/{name}");
        creators.spawn(async move {
            let answer = connection.call("PUT", &path).await;
            if answer.status != 200 {
                answer.clone().refused(400, "key already exists");
            }
            answer.status
        });
    }
    creators.join_all().await
}

/// Whether a data key that one server makes opens on all.
async fn is_one_key(fixture: &Fixture, servers: &[Server], name: &str) -> bool {
    for maker in servers {
        let made = generate(&mut fixture.admin(maker).await, name).await.ok();
        for opener in servers {
            if decrypt(&mut fixture.admin(opener).await, name, &made).await.status != 200 {
                return false;
            }
        }
    }
    true
}

/// A policy without `update` would prevent it; not every installation has one.
async fn may_overwrite(fixture: &Fixture) {
    let all = ["create", "update", "read", "delete", "list"];
    let rules = ["kv/keys/*", "kv/data/keys/*", "kv/metadata/keys/*"].map(|path| rule(path, &all));
    let rules = rules.concat();
    fixture.bao.root().policy(&fixture.engine.role.name, &rules).await;
}

#[tokio::test]
async fn version_2_lets_one_of_two_servers_creators_win() {
    let Some(fixture) = Fixture::new(Kv::V2, json!({})).await else { return };
    may_overwrite(&fixture).await;
    let servers = [fixture.setup.start().await, fixture.setup.start().await];
    for round in 0..5 {
        let name = format!("my-key-{round}");
        let statuses = race(&fixture, &servers, &name).await;
        assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1);
        assert!(is_one_key(&fixture, &servers, &name).await);
    }
}

#[tokio::test]
async fn version_1_lets_one_of_one_server_s_creators_win() {
    let Some(fixture) = Fixture::new(Kv::V1, json!({})).await else { return };
    may_overwrite(&fixture).await;
    let servers = [fixture.setup.start().await];
    let statuses = race(&fixture, &servers, "my-key").await;
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1);
    assert!(is_one_key(&fixture, &servers, "my-key").await);
    // They take turns: only the first one writes at all.
    let audit = fixture.bao.audit();
    let writes = ["create", "update"].map(|what| audit.count(what, "kv/keys/my-key"));
    assert_eq!(writes, [1, 0]);
}

/// K/V version 1 has no compare-and-set: the result is printed, not asserted.
#[tokio::test]
async fn version_1_with_two_servers_is_measured() {
    const ROUNDS: usize = 200;
    let Some(fixture) = Fixture::new(Kv::V1, json!({})).await else { return };
    may_overwrite(&fixture).await;
    let servers = [fixture.setup.start().await, fixture.setup.start().await];
    let mut rounds = JoinSet::new();
    for round in 0..ROUNDS {
        let (mut first, mut second) =
            (fixture.admin(&servers[0]).await, fixture.admin(&servers[1]).await);
        rounds.spawn(async move {
            let path = format!("/v1/key/create/my-key-{round}");
            let (a, b) = tokio::join!(first.call("PUT", &path), second.call("PUT", &path));
            (a.status, b.status)
        });
    }
    let results = rounds.join_all().await;
    let both = results.iter().filter(|result| **result == (200, 200)).count();
    let none = results.iter().filter(|(a, b)| *a != 200 && *b != 200).count();
    measured(&format!(
        "K/V v1, two servers creating one name at once, {ROUNDS} rounds: \
         {both} times both were answered 200, {none} times neither"
    ));
}
