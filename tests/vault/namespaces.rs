//! Keys in a namespace of Vault.

use kes_harness::Setup;
use kes_harness::caller::generate;
use kes_harness::vault::{Bao, Kv, bao};
use serde_json::json;

use crate::fixture::create;

#[tokio::test]
async fn keys_and_login_are_in_the_namespaces_of_the_configuration() {
    let Some(need) = bao() else { return };
    let bao = Bao::start(&need).await;
    let root = bao.root();
    root.put("sys/namespaces/team", json!({})).await;
    let team = root.within("team");
    team.mount_kv("kv", 2).await;
    let inside = team.app_role("inside", &Kv::V2.rules("kv", "keys"), json!({})).await;
    let outside = root.app_role("outside", &Kv::V2.rules("team/kv", "keys"), json!({})).await;
    for (name, role, login) in
        [("my-1", &inside, ""), ("my-2", &inside, "team"), ("my-3", &outside, "/")]
    {
        let setup = Setup::new()
            .vault(json!({
                "endpoint": bao.endpoint(),
                "engine": "kv",
                "version": "v2",
                "namespace": "team",
                "prefix": "keys",
                "approle": { "namespace": login, "id": role.id, "secret": role.secret },
            }))
            .uncached();
        let server = setup.start().await;
        let mut admin = server.connect(setup.admin()).await;
        assert_eq!(admin.get("/v1/ready").await.status, 200);
        create(&mut admin, name).await;
        generate(&mut admin, name).await.ok();
        assert_eq!(generate(&mut admin, "my-absent").await.status, 404);
        assert_eq!(team.get(&format!("kv/data/keys/{name}")).await.0, 200);
        server.stop().await;
    }
    // A namespace that is not there is no empty store.
    let refused = Setup::new().vault(json!({
        "endpoint": bao.endpoint(),
        "namespace": "nowhere",
        "approle": { "namespace": "/", "id": outside.id, "secret": outside.secret },
    }));
    let refused = refused.refused().await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("namespace not found"), "{refused:?}");
}
