//! Login to Vault with the token of a Kubernetes service account.

use std::fs;
use std::path::PathBuf;

use kes_harness::Setup;
use kes_harness::caller::{decrypt, generate, until_ready};
use kes_harness::vault::{Cluster, Kv};
use serde_json::json;

use crate::fixture::{Fixture, create};

/// Servers that log in as the service account of a cluster, with the token in a file.
struct Pod {
    fixture: Fixture,
    cluster: Cluster,
    file: PathBuf,
}

impl Pod {
    async fn new() -> Option<Self> {
        let mut fixture = Fixture::new(Kv::V2, json!({})).await?;
        let cluster = Cluster::start().await;
        let api = fixture.bao.root();
        api.put("sys/auth/kubernetes", json!({ "type": "kubernetes" })).await;
        api.put("auth/kubernetes/config", cluster.method()).await;
        api.put("auth/kubernetes/role/kes", Cluster::role(&fixture.engine.role.name)).await;
        let file = fixture.setup.folder().join("token");
        let mut keystore = fixture.engine.keystore();
        let sections = keystore.as_object_mut().expect("the section is an object");
        sections.remove("approle");
        sections.insert("kubernetes".to_owned(), json!({ "role": "kes", "jwt": file }));
        fixture.setup = fixture.setup.vault(keystore).uncached();
        Some(Self { fixture, cluster, file })
    }

    /// Puts a new token into the file, as Kubernetes does it: at once.
    fn project(&self) -> String {
        let token = self.cluster.token();
        let aside = self.file.with_extension("new");
        fs::write(&aside, format!("{token}\n")).expect("the folder is ours");
        fs::rename(&aside, &self.file).expect("the folder is ours");
        token
    }

    async fn revoke(&self) {
        let path = "sys/leases/revoke-prefix/auth/kubernetes";
        self.fixture.bao.root().put(path, json!({})).await;
    }
}

#[tokio::test]
async fn the_service_account_s_token_is_read_anew_at_each_login() {
    let Some(pod) = Pod::new().await else { return };
    let mut tokens = vec![pod.project()];
    let server = pod.fixture.setup.start().await;
    let mut admin = pod.fixture.admin(&server).await;
    create(&mut admin, "my-key").await;
    let made = generate(&mut admin, "my-key").await.ok();
    assert_eq!(pod.cluster.reviewed(), tokens);

    tokens.push(pod.project());
    decrypt(&mut admin, "my-key", &made).await.ok();
    assert_eq!(pod.cluster.reviewed(), tokens[..1]);
    pod.revoke().await;
    decrypt(&mut admin, "my-key", &made).await.ok();
    assert_eq!(pod.cluster.reviewed(), tokens);
    assert_eq!(pod.fixture.bao.audit().count("update", "auth/kubernetes/login"), 2);
    server.stop().await;
}

#[tokio::test]
async fn a_service_account_s_token_that_ended_is_logged_and_a_new_file_is_enough() {
    let Some(pod) = Pod::new().await else { return };
    let first = pod.project();
    let server = pod.fixture.setup.start().await;
    let mut admin = pod.fixture.admin(&server).await;
    create(&mut admin, "my-key").await;
    let made = generate(&mut admin, "my-key").await.ok();

    pod.cluster.end(&first);
    pod.revoke().await;
    generate(&mut admin, "my-key").await.refused(502, "failed to read key");
    generate(&mut admin, "no-key").await.refused(502, "failed to read key");
    let words = ["cannot log in to Vault", "auth/kubernetes/login", "permission denied"];
    server.log_has(&words).await;

    pod.project();
    until_ready(&mut admin).await;
    decrypt(&mut admin, "my-key", &made).await.ok();
    assert!(!server.stderr().so_far().join("\n").contains(&first));
    server.stop().await;
}

#[tokio::test]
async fn a_role_that_is_not_the_service_account_s_ends_the_start() {
    let Some(pod) = Pod::new().await else { return };
    let token = pod.project();
    let role = json!({
        "bound_service_account_names": ["another"],
        "bound_service_account_namespaces": ["storage"],
        "token_policies": [pod.fixture.engine.role.name],
    });
    pod.fixture.bao.root().put("auth/kubernetes/role/kes", role).await;
    let refused = pod.fixture.setup.refused().await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    for words in ["keystore.vault.kubernetes", "service account name not authorized"] {
        assert!(refused.stderr.contains(words), "{refused:?}");
    }
    assert!(!refused.stderr.contains(&token), "{refused:?}");

    let missing = Setup::new().vault({
        let mut keystore = pod.fixture.engine.keystore();
        let sections = keystore.as_object_mut().expect("the section is an object");
        sections.remove("approle");
        sections.insert("kubernetes".to_owned(), json!({ "role": "none", "jwt": token }));
        keystore
    });
    let refused = missing.refused().await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("invalid role name"), "{refused:?}");
}
