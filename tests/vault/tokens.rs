//! Renewal and loss of the Vault token.

use kes_harness::caller::{Load, generate, until_ready};
use kes_harness::vault::{Api, Audit, Kv};
use serde_json::json;
use tokio::task::JoinSet;

use crate::fixture::{Fixture, create};

/// Revokes each token that came from a login, by its accessor, as an operator does who does not have it.
async fn revoke(api: &Api) {
    let (_, all) = api.ask("LIST", "auth/token/accessors", None).await;
    let mut revoked = 0;
    for accessor in all["data"]["keys"].as_array().expect("a list") {
        let accessor = json!({ "accessor": accessor });
        let token = api.put("auth/token/lookup-accessor", accessor.clone()).await;
        if token["data"]["path"] == "auth/approle/login" {
            api.put("auth/token/revoke-accessor", accessor).await;
            revoked += 1;
        }
    }
    assert_eq!(revoked, 1, "{all}");
}

#[tokio::test]
async fn a_token_is_renewed_over_several_lives_without_a_failed_request() {
    let Some(fixture) = Fixture::new(Kv::V2, json!({ "token_ttl": "5s" })).await else { return };
    let server = fixture.setup.start().await;
    create(&mut fixture.admin(&server).await, "my-key").await;
    let load = Load::start(&server, fixture.setup.admin(), "my-key").await;
    fixture.bao.until(|audit| audit.renewals() >= 3).await;
    load.all_succeeded(100).await;
    assert_eq!(fixture.bao.audit().logins(), 1);
}

#[tokio::test]
async fn a_token_that_cannot_be_renewed_is_replaced_once_a_life() {
    let role = json!({ "token_type": "batch", "token_ttl": "3s" });
    let Some(fixture) = Fixture::new(Kv::V2, role).await else { return };
    let server = fixture.setup.start().await;
    create(&mut fixture.admin(&server).await, "my-key").await;
    let load = Load::start(&server, fixture.setup.admin(), "my-key").await;
    fixture.bao.until(|audit| audit.logins() >= 4).await;
    load.all_succeeded(100).await;
    let audit = fixture.bao.audit();
    assert!(audit.between_logins().iter().all(|seconds| *seconds > 2.0), "{audit:?}");
    assert_eq!(audit.renewals(), 0);
}

#[tokio::test]
async fn a_token_that_meets_its_greatest_age_is_replaced_in_time() {
    let role = json!({ "token_ttl": "2s", "token_max_ttl": "5s" });
    let Some(fixture) = Fixture::new(Kv::V1, role).await else { return };
    let server = fixture.setup.start().await;
    create(&mut fixture.admin(&server).await, "my-key").await;
    let load = Load::start(&server, fixture.setup.admin(), "my-key").await;
    fixture.bao.until(|audit| audit.logins() >= 3).await;
    load.all_succeeded(100).await;
    let audit = fixture.bao.audit();
    assert!(audit.between_logins().iter().all(|seconds| *seconds > 2.0), "{audit:?}");
    // A life of 5 s is long enough for three renewals that grant the whole 2 s, or less for the last.
    let most = 3 * audit.logins();
    assert!((2..=most).contains(&audit.renewals()), "{audit:?}");
}

#[tokio::test]
async fn a_secret_id_that_is_gone_does_not_matter_until_the_token_ends_and_recovers() {
    // From the login that fails, at four fifths of its life, the token has more than a second left.
    let role = json!({ "token_type": "batch", "token_ttl": "6s" });
    let Some(fixture) = Fixture::new(Kv::V2, role).await else { return };
    let server = fixture.setup.start().await;
    let mut admin = fixture.admin(&server).await;
    create(&mut admin, "my-key").await;
    let role = format!("auth/approle/role/{}", fixture.engine.role.name);
    let secret = json!({ "secret_id": fixture.engine.role.secret });
    fixture.bao.root().put(&format!("{role}/secret-id/destroy"), secret.clone()).await;

    let failed = "cannot log in to Vault";
    let (mut asked, mut good) = (0, 0);
    let refused = loop {
        let has_failed = server.stderr().so_far().iter().any(|line| line.contains(failed));
        let answer = generate(&mut admin, "my-key").await;
        if answer.status != 200 {
            break answer;
        }
        good += u32::from(has_failed);
        asked += 1;
        assert!(asked < 1_000_000, "the token does not end");
    };
    assert!(good > 0, "a login that failed ended the token");
    assert_eq!((refused.status, refused.error().as_str()), (502, "failed to read key"));
    server.log_has(&[failed, "invalid role or secret ID"]).await;
    server.log_has(&["there is no valid token for Vault", "invalid role or secret ID"]).await;
    assert_eq!(admin.get("/v1/ready").await.status, 502);

    fixture.bao.root().put(&format!("{role}/custom-secret-id"), secret).await;
    until_ready(&mut admin).await;
    generate(&mut admin, "my-key").await.ok();
    server.stop().await;
}

#[tokio::test]
async fn requests_that_meet_a_revoked_token_cause_one_login_and_succeed() {
    let Some(fixture) = Fixture::new(Kv::V2, json!({})).await else { return };
    let server = fixture.setup.start().await;
    let mut admin = fixture.admin(&server).await;
    // Each uses a key of its own, since those who use the same one share a read.
    let names: Vec<String> = (0..32).map(|number| format!("my-key-{number}")).collect();
    for name in &names {
        create(&mut admin, name).await;
    }
    for round in 1..=2 {
        let mut connections = Vec::new();
        for name in &names {
            connections.push((fixture.admin(&server).await, name.clone()));
        }
        let before = fixture.bao.audit();
        fixture.bao.root().put("sys/leases/revoke-prefix/auth/approle", json!({})).await;
        let mut clients = JoinSet::new();
        for (mut connection, name) in connections {
            clients.spawn(async move { generate(&mut connection, &name).await.status });
        }
        assert_eq!(clients.join_all().await, [200; 32]);
        let audit = fixture.bao.audit();
        assert_eq!(audit.logins(), 1 + round);
        // Each that was refused asked what is wrong.
        let asked = |audit: &Audit| audit.count("read", "auth/token/lookup-self");
        let refused = asked(&audit) - asked(&before);
        assert!(refused > 1, "only {refused} met the revoked token");
    }
}

#[tokio::test]
async fn every_operation_that_meets_a_revoked_token_succeeds_after_one_login() {
    let Some(fixture) = Fixture::new(Kv::V2, json!({})).await else { return };
    let server = fixture.setup.start().await;
    let mut admin = fixture.admin(&server).await;
    let mut logins = 1;
    for (method, path) in [
        ("PUT", "/v1/key/create/my-key"),
        ("GET", "/v1/key/describe/my-key"),
        ("GET", "/v1/key/list/"),
        ("DELETE", "/v1/key/delete/my-key"),
    ] {
        revoke(fixture.bao.root()).await;
        admin.call(method, path).await.ok();
        logins += 1;
        assert_eq!(fixture.bao.audit().logins(), logins, "{method} {path}");
    }
}

#[tokio::test]
async fn a_token_with_few_uses_is_replaced_when_they_are_used_up() {
    let Some(fixture) = Fixture::new(Kv::V2, json!({ "token_num_uses": 25 })).await else { return };
    let server = fixture.setup.start().await;
    let mut admin = fixture.admin(&server).await;
    create(&mut admin, "my-key").await;
    for _ in 0..100 {
        generate(&mut admin, "my-key").await.ok();
    }
    let logins = fixture.bao.audit().logins();
    assert!((4..=8).contains(&logins), "{logins}");
}

#[tokio::test]
async fn an_operation_whose_token_is_used_up_on_the_way_succeeds() {
    // An odd number of uses ends, sooner or later, before each step of the pairs of operations.
    let Some(fixture) = Fixture::new(Kv::V2, json!({ "token_num_uses": 7 })).await else { return };
    let server = fixture.setup.start().await;
    let mut admin = fixture.admin(&server).await;
    for round in 0..10 {
        let name = format!("my-key-{round}");
        create(&mut admin, &name).await;
        admin.call("DELETE", &format!("/v1/key/delete/{name}")).await.ok();
    }
    let logins = fixture.bao.audit().logins();
    assert!((5..=10).contains(&logins), "{logins}");
    server.stop().await;
}

#[tokio::test]
async fn a_server_that_ends_gives_its_token_back() {
    let Some(fixture) = Fixture::new(Kv::V2, json!({})).await else { return };
    let server = fixture.setup.start().await;
    create(&mut fixture.admin(&server).await, "my-key").await;
    server.stop().await;
    assert_eq!(fixture.bao.audit().count("update", "auth/token/revoke-self"), 1);
}
