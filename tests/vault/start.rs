//! Starts without Vault, and with a configuration that does not fit it.

use kes_harness::Setup;
use kes_harness::caller::{generate, until_ready};
use kes_harness::vault::Kv;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::fixture::Fixture;

#[tokio::test]
async fn a_server_starts_while_vault_is_away_and_recovers_by_itself() {
    let Some(fixture) = Fixture::new(Kv::V2, json!({})).await else { return };
    let address = fixture.bao.relay().target();
    fixture.bao.relay().turn(None);
    let Fixture { bao, engine, setup } = fixture;
    let setup = setup.with(json!({ "keys": [{ "name": "my-first" }, { "name": "my-second" }] }));
    let server = setup.start().await;
    let mut admin = server.connect(setup.admin()).await;
    admin.get("/version").await.ok();
    assert_eq!(admin.get("/v1/ready").await.status, 504);
    assert_eq!(generate(&mut admin, "my-first").await.status, 502);
    let log = server.stderr().so_far().join("\n");
    assert!(log.contains("Vault cannot be used now; the server starts all the same"), "{log}");
    assert!(log.contains("keys of the configuration will be created when"), "{log}");

    bao.relay().turn(address);
    until_ready(&mut admin).await;
    for name in ["my-first", "my-second"] {
        let words = format!("key=\"{name}\"");
        let is_it = |line: &str| line.contains("created a key") && line.contains(&words);
        assert!(server.stderr().find(is_it).await.is_some(), "{:#?}", server.stderr().so_far());
        generate(&mut admin, name).await.ok();
        assert!(engine.get(bao.root(), name).await.is_some());
    }
    server.stop().await;
}

#[tokio::test]
async fn a_configuration_that_does_not_fit_vault_ends_the_start() {
    let Some(fixture) = Fixture::new(Kv::V2, json!({})).await else { return };
    let (api, engine) = (fixture.bao.root(), &fixture.engine);
    api.mount_kv("old", 1).await;
    api.mount_kv("erasing", 2).await;
    api.put("erasing/config", json!({ "delete_version_after": "30m" })).await;
    api.put("sys/mounts/cubby", json!({ "type": "transit" })).await;
    let everywhere = "path \"*\" { capabilities = [\"create\", \"read\", \"list\", \"delete\"] }";
    api.policy(&engine.role.name, everywhere).await;
    let jwt = fixture.setup.folder().join("no-such-token");
    let kubernetes = json!({ "role": "kes", "jwt": jwt });
    for (change, words) in [
        (
            json!({ "approle": { "id": engine.role.id, "secret": "wrong" } }),
            vec!["cannot log in to Vault", "keystore.vault.approle", "invalid role or secret ID"],
        ),
        (
            json!({ "approle": { "id": "wrong", "secret": engine.role.secret } }),
            vec!["keystore.vault.approle", "invalid role or secret ID"],
        ),
        (
            json!({ "approle": { "engine": "nowhere", "id": engine.role.id, "secret": "x" } }),
            vec!["keystore.vault.approle", "auth/nowhere/login", "permission denied"],
        ),
        (
            json!({ "approle": null, "kubernetes": kubernetes }),
            vec!["keystore.vault.kubernetes", "no-such-token", "No such file"],
        ),
        (json!({ "engine": "nowhere" }), vec!["engine 'nowhere' is not mounted"]),
        (json!({ "engine": "nowhere", "version": "v1" }), vec!["engine 'nowhere' is not mounted"]),
        (json!({ "engine": "cubby" }), vec!["engine 'cubby' is of type 'transit'"]),
        (json!({ "engine": "old" }), vec!["old is version 1 but version: v2 is configured"]),
        (json!({ "version": "v1" }), vec!["kv is version 2 but version: v1 is configured"]),
        (
            json!({ "engine": "erasing" }),
            vec!["erasing/config has delete_version_after=30m", "set it to 0s"],
        ),
    ] {
        let mut keystore = engine.keystore();
        for (field, value) in change.as_object().expect("an object") {
            keystore[field] = value.clone();
        }
        let refused = Setup::new().vault(without_nulls(keystore)).refused().await;
        assert_eq!(refused.code, Some(1), "{change}: {refused:?}");
        for word in words {
            assert!(refused.stderr.contains(word), "{change}: no '{word}' in {refused:?}");
        }
        assert!(!refused.stderr.contains(&engine.role.secret), "{refused:?}");
    }
    // Each server that could log in has revoked its token.
    assert_eq!(fixture.bao.audit().count("update", "auth/token/revoke-self"), 6);
}

#[tokio::test]
async fn a_signal_ends_a_start_that_waits_for_vault() {
    let Some(fixture) = Fixture::new(Kv::V2, json!({})).await else { return };
    fixture.bao.pause();
    let mut command = fixture.setup.command();
    let child = command.spawn().expect("it starts");
    // It has caught the signal by the time that it asks Vault.
    fixture.bao.relay().met().await;
    kes_harness::signal(&child, Signal::TERM);
    let ended = child.wait_with_output().await.expect("its end is known");
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    // Vault's answer it did not wait for: it would have given it up with a warning, and come up.
    let said = [ended.stdout, ended.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    for words in ["Endpoints", "Vault cannot be used now"] {
        assert!(!said.concat().contains(words), "{said:?}");
    }
    fixture.bao.resume();
}

fn without_nulls(mut value: Value) -> Value {
    if let Some(object) = value.as_object_mut() {
        object.retain(|_, value| !value.is_null());
    }
    value
}
