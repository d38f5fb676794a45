//! Starts without AWS, with a KMS key that cannot be used, and with refused credentials.

use kes_harness::Server;
use kes_harness::aws::error;
use kes_harness::caller::{generate, until_ready};
use kes_harness::proxy::Fault;
use serde_json::json;

use crate::fixture::{Fixture, action, create, stored};

#[tokio::test]
async fn a_kms_key_may_be_named_in_every_way_that_aws_knows() {
    let Some(fixture) = Fixture::new().await else { return };
    let api = fixture.api();
    let (id, arn) = api.make_key("ENCRYPT_DECRYPT", "SYMMETRIC_DEFAULT").await;
    api.kms("CreateAlias", json!({ "AliasName": "alias/kes", "TargetKeyId": id })).await;
    let alias_arn = arn.replace(&format!("key/{id}"), "alias/kes");
    for key in [id.as_str(), &arn, "alias/kes", &alias_arn] {
        let setup = fixture.another(json!({ "kmskey": key }));
        let server = setup.start().await;
        let mut admin = server.connect(setup.admin()).await;
        assert_eq!(admin.get("/v1/ready").await.status, 200, "{key}");
        let name = format!("my-key-{}", key.len());
        create(&mut admin, &name).await.ok_empty();
        generate(&mut admin, &name).await.ok();
        let log = server.stderr().so_far();
        // The line of the start names the key store, and with it the KMS key.
        let is_about_kms = |line: &String| line.contains("KMS") && !line.contains("Endpoints");
        assert!(!log.iter().any(is_about_kms), "{log:?}");
        server.stop().await;
    }
    assert_eq!(fixture.proxy.failures(), Vec::<String>::new());
    assert!(fixture.proxy.count(action("DescribeKey")) >= 4);
}

#[tokio::test]
async fn the_account_s_own_key_need_not_be_there_yet() {
    let Some(fixture) = Fixture::new().await else { return };
    let none =
        error::error(400, "NotFoundException", "Alias alias/aws/secretsmanager is not found.");
    fixture.proxy.inject(Fault::Answer(none), action("DescribeKey"));
    let setup = fixture.another(json!({ "kmskey": "alias/aws/secretsmanager" }));
    let server = setup.start().await;
    let mut admin = server.connect(setup.admin()).await;
    assert_eq!(admin.get("/v1/ready").await.status, 200);
    create(&mut admin, "my-key").await.ok_empty();
    server.stop().await;
}

#[tokio::test]
async fn a_kms_key_that_cannot_be_used_ends_the_start() {
    let Some(fixture) = Fixture::new().await else { return };
    let api = fixture.api();
    let fresh = || api.make_key("ENCRYPT_DECRYPT", "SYMMETRIC_DEFAULT");
    let (disabled, _) = fresh().await;
    api.kms("DisableKey", json!({ "KeyId": disabled })).await;
    let (pending, _) = fresh().await;
    let body = json!({ "KeyId": pending, "PendingWindowInDays": 7 });
    api.kms("ScheduleKeyDeletion", body).await;
    let (signing, _) = api.make_key("SIGN_VERIFY", "RSA_2048").await;
    let (asymmetric, _) = api.make_key("ENCRYPT_DECRYPT", "RSA_2048").await;
    let (mac, _) = api.make_key("GENERATE_VERIFY_MAC", "HMAC_256").await;
    let elsewhere = api.within("us-east-1");
    let (_, elsewhere) = elsewhere.make_key("ENCRYPT_DECRYPT", "SYMMETRIC_DEFAULT").await;
    let none = "1234abcd-12ab-34cd-56ef-1234567890ab";
    let bucket = "arn:aws:s3:::bucket";
    for (key, words) in [
        (disabled.as_str(), "the key is disabled; enable it, or take another key"),
        (&pending, "the key is scheduled for deletion at 20"),
        (&signing, "the key is made for SIGN_VERIFY"),
        (&asymmetric, "the key is of kind RSA_2048"),
        (&mac, "the key is made for GENERATE_VERIFY_MAC"),
        (&elsewhere, "us-east-1"),
        (none, "there is no such key in region eu-central-1"),
        ("alias/none", "there is no such key in region eu-central-1"),
        (bucket, "kmskey"),
    ] {
        let refused = fixture.another(json!({ "kmskey": key })).refused().await;
        assert_eq!(refused.code, Some(1), "{key}: {refused:?}");
        for word in ["keystore.aws.secretsmanager.kmskey", words] {
            assert!(refused.stderr.contains(word), "{key}: no '{word}' in {refused:?}");
        }
    }
    assert_eq!(fixture.proxy.count(action("CreateSecret")), 0);
}

#[tokio::test]
async fn a_kms_key_that_may_not_be_described_is_a_warning() {
    let Some(fixture) = Fixture::new().await else { return };
    let (id, _) = fixture.api().make_key("ENCRYPT_DECRYPT", "SYMMETRIC_DEFAULT").await;
    fixture.proxy.inject(Fault::Answer(error::denied("kms:DescribeKey")), action("DescribeKey"));
    let setup = fixture.another(json!({ "kmskey": id }));
    let server = setup.start().await;
    server
        .log_has(&["WARN", &id, "cannot be seen with these credentials", "kms:DescribeKey denied"])
        .await;
    let mut admin = server.connect(setup.admin()).await;
    assert_eq!(admin.get("/v1/ready").await.status, 200);
    create(&mut admin, "my-key").await.ok_empty();
    server.stop().await;
}

/// A server that came up although AWS cannot be used; the client of its admin.
async fn is_up_but_not_ready(server: &Server, fixture: &Fixture) -> kes_harness::Connection {
    let mut admin = fixture.admin(server).await;
    admin.get("/version").await.ok();
    assert_ne!(admin.get("/v1/ready").await.status, 200);
    let status = admin.get("/v1/status").await.ok().json();
    assert_eq!(status["keystore_unavailable"], json!(true), "{status}");
    admin
}

#[tokio::test]
async fn keys_that_exist_need_no_right_to_create() {
    let Some(fixture) = Fixture::new().await else { return };
    fixture.api().put("my-key", &stored()).await;
    fixture.proxy.inject(Fault::Answer(error::denied("CreateSecret")), action("CreateSecret"));
    let keys = |name: &str| json!({ "keys": [{ "name": name }] });
    let setup = fixture.another(json!({})).with(keys("my-key"));
    let server = setup.start().await;
    let mut admin = server.connect(setup.admin()).await;
    generate(&mut admin, "my-key").await.ok();
    create(&mut admin, "my-key").await.refused(400, "key already exists");
    create(&mut admin, "my-other").await.refused(502, "failed to create key");
    server.stop().await;
    let refused = fixture.another(json!({})).with(keys("my-other")).refused().await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("secretsmanager:CreateSecret denied on "), "{refused:?}");
}

#[tokio::test]
async fn a_server_starts_while_aws_is_away_and_recovers_by_itself() {
    let Some(mut fixture) = Fixture::new().await else { return };
    fixture.setup = fixture.another(json!({})).with(json!({ "keys": [{ "name": "my-first" }] }));
    fixture.proxy.turn(None);
    let server = fixture.setup.start().await;
    let mut admin = is_up_but_not_ready(&server, &fixture).await;
    server.log_has(&["WARN", "AWS cannot be used now", "no answer to secretsm"]).await;
    generate(&mut admin, "my-first").await.refused(502, "failed to read key");
    create(&mut admin, "my-key").await.refused(502, "failed to create key");
    fixture.proxy.turn(Some(fixture.moto.address()));
    until_ready(&mut admin).await;
    server.log_has(&["created a key", "my-first"]).await;
    generate(&mut admin, "my-first").await.ok();
    create(&mut admin, "my-key").await.ok_empty();
    server.stop().await;
}

#[tokio::test]
async fn a_server_starts_while_kms_is_away_and_looks_at_the_key_later() {
    for (is_disabled, fault) in [(false, Fault::Reset), (true, Fault::Answer(error::unavailable()))]
    {
        let Some(mut fixture) = Fixture::new().await else { return };
        let (id, _) = fixture.api().make_key("ENCRYPT_DECRYPT", "SYMMETRIC_DEFAULT").await;
        fixture.proxy.inject(fault, action("DescribeKey"));
        fixture.setup = fixture.another(json!({ "kmskey": id }));
        let server = fixture.setup.start().await;
        server.log_has(&["WARN", &id, "cannot be looked at now"]).await;
        let mut admin = is_up_but_not_ready(&server, &fixture).await;
        if is_disabled {
            fixture.api().kms("DisableKey", json!({ "KeyId": id })).await;
        }
        fixture.proxy.heal();
        if is_disabled {
            server.log_has(&["ERROR", "the key is disabled"]).await;
            assert_eq!(admin.get("/v1/ready").await.status, 502);
            fixture.api().kms("EnableKey", json!({ "KeyId": id })).await;
        }
        until_ready(&mut admin).await;
        create(&mut admin, "my-key").await.ok_empty();
        server.stop().await;
    }
}

#[tokio::test]
async fn given_credentials_that_aws_refuses_end_the_start() {
    let Some(fixture) = Fixture::new().await else { return };
    let credentials = |id: &str, secret: &str, token: &str| json!({ "credentials": { "accesskey": id, "secretkey": secret, "token": token } });
    // The proxy checks the signature, as AWS does.
    let wrong = credentials(crate::fixture::KEY_ID, "another-secret", "");
    let refused = fixture.another(wrong).refused().await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    for word in ["keystore.aws.secretsmanager.credentials", "InvalidSignatureException"] {
        assert!(refused.stderr.contains(word), "no '{word}' in {refused:?}");
    }
    assert!(!refused.stderr.contains("another-secret"), "{refused:?}");
    assert!(fixture.proxy.failures()[0].contains("the signature is wrong"));
    for (reply, code) in [
        (error::unknown_key(), "UnrecognizedClientException"),
        (error::expired_token(), "ExpiredTokenException"),
    ] {
        fixture.proxy.heal();
        fixture.proxy.inject(Fault::Answer(reply), |_| true);
        let refused = fixture.setup.refused().await;
        assert_eq!(refused.code, Some(1), "{refused:?}");
        assert!(refused.stderr.contains(code), "no '{code}' in {refused:?}");
    }
}
