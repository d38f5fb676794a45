//! Encryption by Vault's transit engine as a second layer.

use kes_harness::caller::{decrypt, generate};
use kes_harness::vault::{Kv, rule};
use kes_harness::{Setup, vectors};
use serde_json::json;

use crate::fixture::{Fixture, create};

async fn with_transit(kv: Kv) -> Option<(Fixture, String)> {
    let mut fixture = Fixture::new(kv, json!({})).await?;
    fixture.bao.root().mount_transit("transit", "kes").await;
    let rules = kv.rules("kv", "keys")
        + &rule("transit/encrypt/kes", &["update"])
        + &rule("transit/decrypt/kes", &["update"]);
    fixture.bao.root().policy(&fixture.engine.role.name, &rules).await;
    let mut keystore = fixture.engine.keystore();
    keystore["transit"] = json!({ "engine": "transit", "key": "kes" });
    fixture.setup = Setup::new().vault(keystore).uncached();
    Some((fixture, rules))
}

#[tokio::test]
async fn keys_of_every_version_of_the_transit_key_are_read_and_new_ones_are_made() {
    for kv in [Kv::V1, Kv::V2] {
        let Some((fixture, _)) = with_transit(kv).await else { return };
        let (api, engine) = (fixture.bao.root(), &fixture.engine);
        // Written before transit was configured.
        let (plain, stored) = vectors::traffic().0.pop_first().expect("a stored key");
        engine.put(api, &plain, json!({ &plain: stored })).await;
        let server = fixture.setup.start().await;
        let mut admin = fixture.admin(&server).await;
        let mut made = vec![(plain.clone(), generate(&mut admin, &plain).await.ok())];
        for version in 1..=3 {
            let name = format!("my-key-{version}");
            create(&mut admin, &name).await;
            let value = engine.get(api, &name).await.expect("an entry")[&name].clone();
            let head = format!("vault:v{version}:");
            assert!(value.as_str().is_some_and(|value| value.starts_with(&head)), "{value}");
            made.push((name.clone(), generate(&mut admin, &name).await.ok()));
            for (name, made) in &made {
                decrypt(&mut admin, name, made).await.ok();
            }
            api.put("transit/keys/kes/rotate", json!({})).await;
        }
        server.stop().await;
    }
}

#[tokio::test]
async fn a_key_that_could_not_be_decrypted_again_is_not_created() {
    let Some((fixture, rules)) = with_transit(Kv::V2).await else { return };
    let server = fixture.setup.start().await;
    let mut admin = fixture.admin(&server).await;
    create(&mut admin, "my-key").await;
    for operation in ["encrypt", "decrypt"] {
        let path = format!("transit/{operation}/kes");
        let less = rules.replace(&rule(&path, &["update"]), "");
        fixture.bao.root().policy(&fixture.engine.role.name, &less).await;
        let answer = admin.call("PUT", "/v1/key/create/my-other").await;
        assert_eq!((answer.status, answer.error().as_str()), (502, "failed to create key"));
        let words = format!("permission denied on {path}: the AppRole's policy lacks 'update'");
        server.log_has(&[&words]).await;
        assert_eq!(fixture.engine.get(fixture.bao.root(), "my-other").await, None);
    }
    let answer = generate(&mut admin, "my-key").await;
    assert_eq!((answer.status, answer.error().as_str()), (502, "failed to read key"));
    // And without the transit key at all.
    let api = fixture.bao.root();
    api.policy(&fixture.engine.role.name, &rules).await;
    generate(&mut admin, "my-key").await.ok();
    api.put("transit/keys/kes/config", json!({ "deletion_allowed": true })).await;
    api.delete("transit/keys/kes").await;
    generate(&mut admin, "my-key").await.refused(502, "failed to read key");
    admin.call("PUT", "/v1/key/create/my-third").await.refused(502, "failed to create key");
    for words in [
        ["failed to read key", "my-key", "transit/decrypt/kes", "encryption key not found"],
        [
            "failed to create key",
            "my-third",
            "transit/encrypt/kes",
            "there is no transit key 'kes'",
        ],
    ] {
        server.log_has(&words).await;
    }
    assert_eq!(fixture.engine.get(api, "my-third").await, None);
    server.stop().await;
}
