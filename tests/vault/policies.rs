//! Policies that allow too little, and the smallest one that is enough.

use kes_harness::caller::{decrypt, generate};
use kes_harness::vault::{Kv, rule};
use serde_json::json;

use crate::fixture::{Fixture, create};

#[tokio::test]
async fn what_a_policy_lacks_is_named_in_the_log_and_is_never_a_404() {
    for kv in [Kv::V1, Kv::V2] {
        let Some(fixture) = Fixture::new(kv, json!({})).await else { return };
        let server = fixture.setup.start().await;
        let mut admin = fixture.admin(&server).await;
        create(&mut admin, "my-key").await;
        let (data, metadata) = match kv {
            Kv::V1 => ("kv/keys", "kv/keys"),
            Kv::V2 => ("kv/data/keys", "kv/metadata/keys"),
        };
        for (lacking, method, path, message, denied) in [
            (
                "read",
                "GET",
                "/v1/key/describe/my-key",
                "failed to read key",
                format!("{data}/my-key"),
            ),
            (
                "read",
                "GET",
                "/v1/key/describe/no-key",
                "failed to read key",
                format!("{data}/no-key"),
            ),
            (
                "create",
                "PUT",
                "/v1/key/create/my-new",
                "failed to create key",
                format!("{data}/my-new"),
            ),
            (
                "delete",
                "DELETE",
                "/v1/key/delete/my-key",
                "failed to delete key",
                format!("{metadata}/my-key"),
            ),
            ("list", "GET", "/v1/key/list/*", "failed to list keys", metadata.to_owned()),
        ] {
            let capabilities = ["create", "read", "delete", "list"];
            let left: Vec<&str> =
                capabilities.into_iter().filter(|capability| *capability != lacking).collect();
            let rules = rule(&format!("{data}/*"), &left) + &rule(&format!("{metadata}/*"), &left);
            fixture.bao.root().policy(&fixture.engine.role.name, &rules).await;
            let answer = admin.call(method, path).await;
            assert_eq!((answer.status, answer.error().as_str()), (502, message), "{path}");
            let words =
                format!("permission denied on {denied}: the AppRole's policy lacks '{lacking}'");
            server.log_has(&[&words]).await;
        }
        assert_eq!(fixture.bao.audit().logins(), 1);
        server.stop().await;
    }
}

/// What the guides of KES say to allow.
#[tokio::test]
async fn the_policy_of_kes_s_guides_is_enough() {
    let Some(fixture) = Fixture::new(Kv::V2, json!({})).await else { return };
    let rules =
        rule("kv/data/*", &["create", "read"]) + &rule("kv/metadata/*", &["list", "delete"]);
    fixture.bao.root().policy(&fixture.engine.role.name, &rules).await;
    let server = fixture.setup.start().await;
    let mut admin = fixture.admin(&server).await;
    create(&mut admin, "my-key").await;
    admin.call("PUT", "/v1/key/create/my-key").await.refused(400, "key already exists");
    let made = generate(&mut admin, "my-key").await.ok();
    decrypt(&mut admin, "my-key", &made).await.ok();
    let names = admin.get("/v1/key/list/*").await.ok().json();
    assert_eq!(names["names"], json!(["my-key"]));
    generate(&mut admin, "no-key").await.refused(404, "key does not exist");
    admin.call("DELETE", "/v1/key/delete/no-key").await.refused(404, "key does not exist");
    admin.call("DELETE", "/v1/key/delete/my-key").await.ok();
    generate(&mut admin, "my-key").await.refused(404, "key does not exist");
    // A pruned entry looks different from none, even from here.
    create(&mut admin, "my-pruned").await;
    let (api, engine) = (fixture.bao.root(), &fixture.engine);
    api.put(&engine.metadata("my-pruned"), json!({ "max_versions": 1 })).await;
    engine.put(api, "my-pruned", json!({ "my-pruned": "something else" })).await;
    assert_eq!(generate(&mut admin, "my-pruned").await.status, 502);
    server.stop().await;
}
