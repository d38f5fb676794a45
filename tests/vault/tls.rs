//! TLS towards Vault.

use std::fs;

use kes_tests::caller::generate;
use kes_tests::pki::Authority;
use kes_tests::vault::{Bao, Kv, Options, Place, bao};
use kes_tests::{Credential, Setup};
use serde_json::json;

use crate::site::create;

#[tokio::test]
async fn vault_s_certificate_is_checked_against_a_file_or_a_folder_of_authorities() {
    let Some(need) = bao() else { return };
    let (authority, stranger) = (Authority::new(), Authority::new());
    let options = Options { authority: Some(&authority), ..Options::default() };
    let bao = Bao::start_with(&need, options).await;
    let place = Place::new(&bao, "kv", Kv::V2, json!({})).await;
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("authorities")).expect("the folder is ours");
    for (name, text) in [
        ("authorities/one.crt", stranger.pem()),
        ("authorities/two.crt", authority.pem()),
        ("right.crt", authority.pem()),
        ("wrong.crt", stranger.pem()),
    ] {
        fs::write(at(name), text).expect("the folder is ours");
    }
    for (ca, is_right) in [("right.crt", true), ("authorities", true), ("wrong.crt", false)] {
        let mut keystore = place.keystore();
        keystore["tls"] = json!({ "ca": at(ca) });
        let setup = Setup::new().vault(keystore).uncached();
        let server = setup.start().await;
        let mut admin = server.connect(setup.admin()).await;
        let ready = admin.get("/v1/ready").await.status;
        assert_eq!(ready, if is_right { 200 } else { 504 }, "{ca}");
        if is_right {
            create(&mut admin, &format!("my-{}", ca.replace('.', "-"))).await;
        } else {
            server.log_has(&["Vault cannot be used now", "invalid peer certificate"]).await;
            assert_eq!(generate(&mut admin, "my-key").await.status, 502);
        }
        server.stop().await;
    }
}

#[tokio::test]
async fn a_client_certificate_is_shown_where_vault_wants_one() {
    let Some(need) = bao() else { return };
    let (authority, clients) = (Authority::new(), Authority::new());
    let options = Options {
        authority: Some(&authority),
        client_authority: Some(&clients),
        ..Options::default()
    };
    let bao = Bao::start_with(&need, options).await;
    let place = Place::new(&bao, "kv", Kv::V2, json!({})).await;
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let at = |name: &str| folder.path().join(name);
    let client: Credential = clients.issue();
    for (name, text) in [
        ("ca.crt", authority.pem()),
        ("client.crt", client.chain_pem()),
        ("client.key", client.key_pem()),
    ] {
        fs::write(at(name), text).expect("the folder is ours");
    }
    for is_shown in [true, false] {
        let mut keystore = place.keystore();
        keystore["tls"] = json!({ "ca": at("ca.crt") });
        if is_shown {
            keystore["tls"]["cert"] = json!(at("client.crt"));
            keystore["tls"]["key"] = json!(at("client.key"));
        }
        let setup = Setup::new().vault(keystore).uncached();
        let server = setup.start().await;
        let mut admin = server.connect(setup.admin()).await;
        if is_shown {
            create(&mut admin, "my-key").await;
            generate(&mut admin, "my-key").await.ok();
        } else {
            assert_eq!(admin.get("/v1/ready").await.status, 504);
            server.log_has(&["Vault cannot be used now"]).await;
            server.log_has(&["received fatal alert: CertificateRequired"]).await;
        }
        server.stop().await;
    }
}

#[tokio::test]
async fn one_connection_serves_one_request_after_the_other_and_many_at_once() {
    let Some((bao, setup)) = with_tls().await else { return };
    let server = setup.start().await;
    let mut admin = server.connect(setup.admin()).await;
    create(&mut admin, "my-key").await;
    for _ in 0..50 {
        generate(&mut admin, "my-key").await.ok();
    }
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let mut connection = server.connect(setup.admin()).await;
        clients.spawn(async move { generate(&mut connection, "my-key").await.status });
    }
    assert_eq!(clients.join_all().await, [200; 50]);
    assert_eq!(bao.relay().accepted(), 1);
    assert!(bao.audit().count("read", "kv/data/keys/my-key") >= 51);
    server.stop().await;
}

#[tokio::test]
async fn a_connection_that_went_dead_without_a_word_costs_no_request() {
    let Some((bao, setup)) = with_tls().await else { return };
    let server = setup.start().await;
    let mut admin = server.connect(setup.admin()).await;
    create(&mut admin, "my-key").await;
    bao.relay().freeze();
    generate(&mut admin, "my-key").await.ok();
    assert_eq!(bao.relay().accepted(), 2);
    server.stop().await;
}

/// An `OpenBao` that speaks TLS, and the setup of servers that trust it.
async fn with_tls() -> Option<(Bao, Setup)> {
    let authority = Authority::new();
    let options = Options { authority: Some(&authority), ..Options::default() };
    let bao = Bao::start_with(&bao()?, options).await;
    let place = Place::new(&bao, "kv", Kv::V2, json!({})).await;
    let setup = Setup::new();
    let ca = setup.folder().join("vault-ca.crt");
    fs::write(&ca, authority.pem()).expect("the folder is ours");
    let mut keystore = place.keystore();
    keystore["tls"] = json!({ "ca": ca });
    Some((bao, setup.vault(keystore).uncached()))
}
