//! The format of entries: those of other writers are read, and ours have the same format.

use kes_harness::caller::{decrypt, generate};
use kes_harness::vault::Kv;
use kes_harness::{Connection, Setup, vectors};
use serde_json::{Value, json};

use crate::fixture::{Fixture, create};

async fn names(connection: &mut Connection) -> Value {
    connection.get("/v1/key/list/*").await.ok().json()["names"].clone()
}

#[tokio::test]
async fn a_key_that_was_created_has_the_shape_of_kes_s() {
    for kv in [Kv::V1, Kv::V2] {
        let Some(fixture) = Fixture::new(kv, json!({})).await else { return };
        let server = fixture.setup.start().await;
        create(&mut fixture.admin(&server).await, "my-key").await;
        let data = fixture.engine.get(fixture.bao.root(), "my-key").await.expect("an entry");
        let fields = data.as_object().expect("fields");
        assert_eq!(fields.len(), 1);
        assert!(fields["my-key"].as_str().is_some_and(|value| value.starts_with("Ci")));
        server.stop().await;
    }
}

#[tokio::test]
async fn the_recorded_entries_of_kes_are_served_and_folders_are_not_keys() {
    let rows = vectors::vault_entries();
    assert!(rows.len() >= 6);
    for kv in [Kv::V1, Kv::V2] {
        let Some(fixture) = Fixture::new(kv, json!({})).await else { return };
        let everything = kv.rules("kv", "");
        fixture.bao.root().policy(&fixture.engine.role.name, &everything).await;
        for row in rows.iter().filter(|row| row.config.version == kv.as_str()) {
            let engine = fixture.engine.at(&row.config.prefix);
            let (name, _) = row.data.first_key_value().expect("an entry has a field");
            engine.put(fixture.bao.root(), name, json!(row.data)).await;
            let setup = Setup::new().vault(engine.keystore()).uncached();
            let server = setup.start().await;
            let mut admin = server.connect(setup.admin()).await;
            let listed = names(&mut admin).await;
            let listed: Vec<&str> =
                listed.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            let is_ours = |name: &&str| rows.iter().any(|row| row.data.contains_key(*name));
            assert!(listed.contains(&name.as_str()) && listed.iter().all(is_ours), "{listed:?}");
            let path = format!("/v1/key/describe/{name}");
            if row.config.transit.is_some() {
                let answer = admin.get(&path).await;
                assert_eq!(answer.status, 502, "{answer:?}");
                server.log_has(&[name, "encrypted by Vault's transit engine"]).await;
            } else {
                admin.get(&path).await.ok();
                let made = generate(&mut admin, name).await.ok();
                decrypt(&mut admin, name, &made).await.ok();
            }
            server.stop().await;
        }
    }
}

#[tokio::test]
async fn an_entry_that_is_no_key_is_an_error_that_says_why() {
    for kv in [Kv::V1, Kv::V2] {
        let Some(fixture) = Fixture::new(kv, json!({})).await else { return };
        let server = fixture.setup.start().await;
        let mut admin = fixture.admin(&server).await;
        for (name, data, words) in [
            ("my-other", json!({ "another": "x" }), "it has no field 'my-other'"),
            ("my-number", json!({ "my-number": 7 }), "its field 'my-number' is not a string"),
            ("my-empty", json!({ "my-empty": "" }), "my-empty"),
            ("my-text", json!({ "my-text": "hunter2 is no key" }), "my-text"),
            ("my-sealed", json!({ "my-sealed": "vault:v7:eA==" }), "transit is not configured"),
        ] {
            fixture.engine.put(fixture.bao.root(), name, data).await;
            let answer = generate(&mut admin, name).await;
            assert_eq!((answer.status, answer.error().as_str()), (502, "failed to read key"));
            server.log_has(&[name, words]).await;
            let again = admin.call("PUT", &format!("/v1/key/create/{name}")).await;
            again.refused(400, "key already exists");
        }
        assert!(!server.stderr().so_far().join("\n").contains("hunter2"));
        server.stop().await;
    }
}

#[tokio::test]
async fn version_1_of_an_entry_is_the_key_and_without_it_there_is_an_error_never_a_404() {
    let Some(fixture) = Fixture::new(Kv::V2, json!({})).await else { return };
    let server = fixture.setup.start().await;
    let mut admin = fixture.admin(&server).await;
    let (api, engine) = (fixture.bao.root(), &fixture.engine);

    // A second version, by whatever accident, does not matter.
    create(&mut admin, "my-key").await;
    let made = generate(&mut admin, "my-key").await.ok();
    engine.put(api, "my-key", json!({ "my-key": "something else" })).await;
    decrypt(&mut admin, "my-key", &made).await.ok();

    for name in ["my-deleted", "my-destroyed", "my-pruned"] {
        create(&mut admin, name).await;
    }
    api.delete(&engine.path("my-deleted")).await;
    api.put(
        &engine.path("my-destroyed").replacen("data", "destroy", 1),
        json!({ "versions": [1] }),
    )
    .await;
    api.put(&engine.metadata("my-pruned"), json!({ "max_versions": 1 })).await;
    engine.put(api, "my-pruned", json!({ "my-pruned": "something else" })).await;
    for (name, words) in [
        ("my-deleted", "undelete it to have the key back, or destroy"),
        ("my-destroyed", "was destroyed: the key is lost unless there is a backup"),
        ("my-pruned", "has no version 1 any more"),
    ] {
        let answer = generate(&mut admin, name).await;
        assert_eq!((answer.status, answer.error().as_str()), (502, "failed to read key"), "{name}");
        let answer = admin.call("PUT", &format!("/v1/key/create/{name}")).await;
        assert_eq!((answer.status, answer.error().as_str()), (502, "failed to create key"));
        server.log_has(&["failed to read key", name, words]).await;
        server.log_has(&["failed to create key", name, words]).await;
    }
    // To delete such a key gives its name free.
    for name in ["my-key", "my-deleted", "my-destroyed", "my-pruned"] {
        admin.call("DELETE", &format!("/v1/key/delete/{name}")).await.ok();
        assert_eq!(api.get(&engine.metadata(name)).await.0, 404);
        assert_eq!(generate(&mut admin, name).await.status, 404);
        create(&mut admin, name).await;
    }
    // Metadata alone is an entry without a key in it.
    api.put(&engine.metadata("my-bare"), json!({ "max_versions": 0 })).await;
    assert_eq!(generate(&mut admin, "my-bare").await.status, 502);
    assert_eq!(admin.call("PUT", "/v1/key/create/my-bare").await.status, 502);
    server.log_has(&["my-bare", "has metadata but never had a version"]).await;
    server.stop().await;
}

#[tokio::test]
async fn a_key_that_vault_would_erase_is_not_created() {
    let Some(fixture) = Fixture::new(Kv::V2, json!({})).await else { return };
    let server = fixture.setup.start().await;
    let mut admin = fixture.admin(&server).await;
    let (api, engine) = (fixture.bao.root(), &fixture.engine);
    let rules = Kv::V2.rules("kv", "keys").replace("\"create\"", "\"create\", \"update\"");
    api.policy(&engine.role.name, &rules).await;
    api.put(&engine.metadata("my-brief"), json!({ "delete_version_after": "1h" })).await;
    let answer = admin.call("PUT", "/v1/key/create/my-brief").await;
    assert_eq!((answer.status, answer.error().as_str()), (502, "failed to create key"));
    let words = "was written and removed again: Vault would have erased it at";
    server.log_has(&["my-brief", words, "delete_version_after"]).await;
    assert_eq!(api.get(&engine.metadata("my-brief")).await.0, 404);
    server.stop().await;
}

#[tokio::test]
async fn an_engine_that_is_mounted_anew_as_the_other_version_makes_no_key_vanish() {
    for (kv, version) in [(Kv::V2, 1), (Kv::V1, 2)] {
        let Some(fixture) = Fixture::new(kv, json!({})).await else { return };
        let server = fixture.setup.start().await;
        let mut admin = fixture.admin(&server).await;
        create(&mut admin, "my-key").await;
        fixture.bao.root().delete("sys/mounts/kv").await;
        for is_mounted in [false, true] {
            if is_mounted {
                fixture.bao.root().mount_kv("kv", version).await;
            }
            assert_eq!(generate(&mut admin, "my-key").await.status, 502, "{kv:?} {is_mounted}");
            assert_eq!(admin.get("/v1/key/list/*").await.status, 502, "{kv:?} {is_mounted}");
            let deleted = admin.call("DELETE", "/v1/key/delete/my-key").await;
            assert_eq!(deleted.status, 502, "{kv:?} {is_mounted}");
        }
        server.log_has(&["engine 'kv' is not mounted"]).await;
        server.log_has(&["kv is version", "is configured"]).await;
        server.stop().await;
    }
}
