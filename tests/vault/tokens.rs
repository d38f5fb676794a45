//! The life of the token, seen from both ends.

use kes_tests::Server;
use kes_tests::vault::Kv;
use serde_json::json;
use tokio::task::JoinSet;

use crate::outages::until_ready;
use crate::site::{Load, Site, create, generate};

async fn log_has(server: &Server, words: &[&str]) {
    let line = server.stderr().find(|line| words.iter().all(|word| line.contains(word))).await;
    assert!(line.is_some(), "{words:?} is not in the log: {:#?}", server.stderr().so_far());
}

#[tokio::test]
async fn a_token_is_renewed_over_several_lives_without_a_failed_request() {
    let Some(site) = Site::new(Kv::V2, json!({ "token_ttl": "5s" })).await else { return };
    let server = site.setup.start().await;
    create(&mut site.admin(&server).await, "my-key").await;
    let load = Load::start(&site, &server, "my-key").await;
    site.bao.until(|audit| audit.renewals() >= 3).await;
    load.all_succeeded().await;
    assert_eq!(site.bao.audit().logins(), 1);
}

#[tokio::test]
async fn a_token_that_cannot_be_renewed_is_replaced_once_a_life() {
    let role = json!({ "token_type": "batch", "token_ttl": "3s" });
    let Some(site) = Site::new(Kv::V2, role).await else { return };
    let server = site.setup.start().await;
    create(&mut site.admin(&server).await, "my-key").await;
    let load = Load::start(&site, &server, "my-key").await;
    site.bao.until(|audit| audit.logins() >= 4).await;
    load.all_succeeded().await;
    let audit = site.bao.audit();
    assert!(audit.between_logins().iter().all(|seconds| *seconds > 2.0), "{audit:?}");
    assert_eq!(audit.renewals(), 0);
}

#[tokio::test]
async fn a_token_that_meets_its_greatest_age_is_replaced_in_time() {
    let role = json!({ "token_ttl": "2s", "token_max_ttl": "5s" });
    let Some(site) = Site::new(Kv::V1, role).await else { return };
    let server = site.setup.start().await;
    create(&mut site.admin(&server).await, "my-key").await;
    let load = Load::start(&site, &server, "my-key").await;
    site.bao.until(|audit| audit.logins() >= 3).await;
    load.all_succeeded().await;
    let audit = site.bao.audit();
    assert!(audit.between_logins().iter().all(|seconds| *seconds > 2.0), "{audit:?}");
    assert!(audit.renewals() >= 2);
}

#[tokio::test]
async fn a_secret_id_that_is_gone_is_survived_until_the_token_ends_and_cured_when_it_is_back() {
    let role = json!({ "token_ttl": "2s", "token_max_ttl": "4s" });
    let Some(site) = Site::new(Kv::V2, role).await else { return };
    let server = site.setup.start().await;
    let mut admin = site.admin(&server).await;
    create(&mut admin, "my-key").await;
    let role = format!("auth/approle/role/{}", site.place.role.name);
    let secret = json!({ "secret_id": site.place.role.secret });
    site.bao.root().put(&format!("{role}/secret-id/destroy"), secret.clone()).await;

    let mut good = 0;
    let refused = loop {
        let answer = generate(&mut admin, "my-key").await;
        if answer.status != 200 {
            break answer;
        }
        good += 1;
        assert!(good < 1_000_000, "the token does not end");
    };
    assert!(good > 10, "{good}");
    assert_eq!((refused.status, refused.error().as_str()), (502, "failed to read key"));
    log_has(&server, &["cannot log in to Vault", "invalid role or secret ID"]).await;
    log_has(&server, &["there is no valid token for Vault", "invalid role or secret ID"]).await;
    assert_eq!(admin.get("/v1/ready").await.status, 502);

    site.bao.root().put(&format!("{role}/custom-secret-id"), secret).await;
    until_ready(&mut admin).await;
    generate(&mut admin, "my-key").await.ok();
    server.stop().await;
}

#[tokio::test]
async fn requests_that_meet_a_revoked_token_cause_one_login_and_succeed() {
    let Some(site) = Site::new(Kv::V2, json!({})).await else { return };
    let server = site.setup.start().await;
    create(&mut site.admin(&server).await, "my-key").await;
    for round in 1..=2 {
        site.bao.root().put("sys/leases/revoke-prefix/auth/approle", json!({})).await;
        let mut clients = JoinSet::new();
        for _ in 0..32 {
            let mut connection = site.admin(&server).await;
            clients.spawn(async move { generate(&mut connection, "my-key").await.status });
        }
        assert_eq!(clients.join_all().await, [200; 32]);
        assert_eq!(site.bao.audit().logins(), 1 + round);
    }
}

#[tokio::test]
async fn a_token_with_few_uses_is_replaced_when_they_are_used_up() {
    let Some(site) = Site::new(Kv::V2, json!({ "token_num_uses": 25 })).await else { return };
    let server = site.setup.start().await;
    let mut admin = site.admin(&server).await;
    create(&mut admin, "my-key").await;
    for _ in 0..100 {
        generate(&mut admin, "my-key").await.ok();
    }
    let logins = site.bao.audit().logins();
    assert!((4..=8).contains(&logins), "{logins}");
}

#[tokio::test]
async fn a_server_that_ends_gives_its_token_back() {
    let Some(site) = Site::new(Kv::V2, json!({})).await else { return };
    let server = site.setup.start().await;
    create(&mut site.admin(&server).await, "my-key").await;
    server.stop().await;
    assert_eq!(site.bao.audit().count("update", "auth/token/revoke-self"), 1);
}
