//! TLS towards Vault: trust, names, client certificates.

use std::fs;

use kes_harness::caller::generate;
use kes_harness::pki::{self, Authority};
use kes_harness::proxy::tunnel::Tunnel;
use kes_harness::vault::{Bao, Engine, Kv, Options, bao};
use kes_harness::{Credential, Setup};
use serde_json::json;

use crate::fixture::create;

#[tokio::test]
async fn vault_s_certificate_is_checked_against_a_file_or_a_folder_of_authorities() {
    let Some(need) = bao() else { return };
    let (authority, other) = (Authority::new(), Authority::new());
    let options = Options { authority: Some(&authority), ..Options::default() };
    let bao = Bao::start_with(&need, options).await;
    let engine = Engine::new(&bao, "kv", Kv::V2, json!({})).await;
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("authorities")).expect("the folder is ours");
    for (name, text) in [
        ("authorities/one.crt", other.pem()),
        ("authorities/two.crt", authority.pem()),
        ("right.crt", authority.pem()),
        ("wrong.crt", other.pem()),
    ] {
        fs::write(at(name), text).expect("the folder is ours");
    }
    for (ca, is_right) in [("right.crt", true), ("authorities", true), ("wrong.crt", false)] {
        let mut keystore = engine.keystore();
        keystore["tls"] = json!({ "ca": at(ca) });
        let setup = Setup::new().vault(keystore).uncached();
        let server = setup.start().await;
        let mut admin = server.connect(setup.admin()).await;
        let ready = admin.get("/v1/ready").await.status;
        assert_eq!(ready, if is_right { 200 } else { 504 }, "{ca}");
        if is_right {
            create(&mut admin, &format!("my-{}", ca.replace('.', "-"))).await;
        } else {
            server
                .log_has(&[
                    "Vault cannot be used now",
                    "the server's certificate names a trusted authority that has not signed it",
                    "keystore.vault.tls.ca",
                ])
                .await;
            assert_eq!(generate(&mut admin, "my-key").await.status, 502);
        }
        server.stop().await;
    }
}

#[tokio::test]
async fn a_self_signed_certificate_is_trusted_where_it_is_the_ca_itself() {
    let Some(need) = bao() else { return };
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let at = |name: &str| folder.path().join(name);
    for own in [pki::server_marked_ca(&["127.0.0.1"]), pki::server(&["127.0.0.1"])] {
        let options = Options { certificate: Some(&own), ..Options::default() };
        let bao = Bao::start_with(&need, options).await;
        let engine = Engine::new(&bao, "kv", Kv::V2, json!({})).await;
        // Another key under the same names, as a man in the middle could show it.
        let forged = pki::server_marked_ca(&["127.0.0.1"]);
        for (ca, is_right) in [(own.chain_pem(), true), (forged.chain_pem(), false)] {
            fs::write(at("ca.crt"), ca).expect("the folder is ours");
            let mut keystore = engine.keystore();
            keystore["tls"] = json!({ "ca": at("ca.crt") });
            let setup = Setup::new().vault(keystore).uncached();
            let server = setup.start().await;
            let mut admin = server.connect(setup.admin()).await;
            if is_right {
                create(&mut admin, "my-key").await;
                generate(&mut admin, "my-key").await.ok();
            } else {
                assert_eq!(admin.get("/v1/ready").await.status, 504);
                assert_eq!(generate(&mut admin, "my-key").await.status, 502);
            }
            server.stop().await;
        }
    }
}

#[tokio::test]
async fn vault_is_reached_through_the_proxy_of_the_environment_but_not_on_this_machine() {
    let Some(need) = bao() else { return };
    let authority = Authority::new();
    let named = authority.issue_server(&["vault.corp.invalid", "127.0.0.1"]);
    let options = Options { certificate: Some(&named), ..Options::default() };
    let bao = Bao::start_with(&need, options).await;
    let engine = Engine::new(&bao, "kv", Kv::V2, json!({})).await;
    let tunnel = Tunnel::to(bao.relay().address()).await;
    let proxy = format!("http://{}", tunnel.address());
    let far = format!("https://vault.corp.invalid:{}", bao.relay().address().port());
    for (endpoint, variables, through, status) in [
        (&far, vec![("HTTPS_PROXY", proxy.as_str())], true, 200),
        (&far, vec![("https_proxy", &proxy), ("NO_PROXY", "10.0.0.0/8, other.invalid")], true, 200),
        (&far, vec![("HTTPS_PROXY", &proxy), ("no_proxy", "corp.invalid:8200")], false, 504),
        (&far, vec![("HTTP_PROXY", &proxy)], false, 504),
        (&bao.endpoint(), vec![("HTTPS_PROXY", &proxy)], false, 200),
    ] {
        let setup = Setup::new();
        let ca = setup.folder().join("vault-ca.crt");
        fs::write(&ca, authority.pem()).expect("the folder is ours");
        let mut keystore = engine.keystore();
        keystore["tls"] = json!({ "ca": ca });
        keystore["endpoint"] = json!(endpoint);
        let mut setup = setup.vault(keystore).uncached();
        for (name, value) in variables {
            setup = setup.variable(name, value);
        }
        let before = tunnel.seen().len();
        let server = setup.start().await;
        let mut admin = server.connect(setup.admin()).await;
        assert_eq!(admin.get("/v1/ready").await.status, status, "{endpoint}");
        assert_eq!(tunnel.seen().len() > before, through, "{endpoint}");
        server.stop().await;
    }
    let port = bao.relay().address().port();
    let all_named = tunnel.seen().iter().all(|to| *to == format!("vault.corp.invalid:{port}"));
    assert!(all_named, "{:?}", tunnel.seen());
}

#[tokio::test]
async fn a_client_certificate_is_shown_where_vault_requires_one() {
    let Some(need) = bao() else { return };
    let (authority, clients) = (Authority::new(), Authority::new());
    let options = Options {
        authority: Some(&authority),
        client_authority: Some(&clients),
        ..Options::default()
    };
    let bao = Bao::start_with(&need, options).await;
    let engine = Engine::new(&bao, "kv", Kv::V2, json!({})).await;
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
        let mut keystore = engine.keystore();
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
            server.log_has(&["wants a client certificate", "keystore.vault.tls.cert"]).await;
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
    let engine = Engine::new(&bao, "kv", Kv::V2, json!({})).await;
    let setup = Setup::new();
    let ca = setup.folder().join("vault-ca.crt");
    fs::write(&ca, authority.pem()).expect("the folder is ours");
    let mut keystore = engine.keystore();
    keystore["tls"] = json!({ "ca": ca });
    Some((bao, setup.vault(keystore).uncached()))
}
