//! Every command and every configuration of `docs/vault.md`, as they stand there.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use kes_tests::pki::Authority;
use kes_tests::vault::{Api, Bao, Options, bao};
use kes_tests::{Setup, finish};
use serde_json::json;
use tempfile::TempDir;
use tokio::process::Command;

use crate::site::{create, decrypt, generate};

/// The fenced blocks of the guide in that language, in their order.
fn blocks(language: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/vault.md");
    let text =
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let fence = format!("```{language}\n");
    text.split(&fence)
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap_or_default().to_owned())
        .collect()
}

struct Guide {
    bao: Bao,
    folder: TempDir,
    ca: PathBuf,
}

impl Guide {
    async fn new() -> Option<Self> {
        let need = bao()?;
        let authority = Authority::new();
        let options = Options { authority: Some(&authority), ..Options::default() };
        let bao = Bao::start_with(&need, options).await;
        let folder = TempDir::new().expect("a temporary folder can be made");
        let ca = folder.path().join("vault-ca.cert");
        fs::write(&ca, authority.pem()).expect("the folder is ours");
        fs::copy(&ca, folder.path().join("kubernetes-ca.crt")).expect("the folder is ours");
        symlink(need.path(), folder.path().join("bao")).expect("the folder is ours");
        Some(Self { bao, folder, ca })
    }

    async fn run(&self, script: &str) {
        let mut command = Command::new("sh");
        command
            .args(["-eu", "-c", script])
            .current_dir(self.folder.path())
            .env("PATH", format!("{}:/usr/bin:/bin", self.folder.path().display()))
            .env("HOME", self.folder.path())
            .env("BAO_ADDR", self.bao.endpoint())
            .env("BAO_CACERT", &self.ca)
            .env("BAO_TOKEN", self.bao.root().token())
            .stdin(Stdio::null());
        let finished = finish(&mut command).await;
        assert_eq!(finished.code, Some(0), "{script}\n{finished:?}");
    }

    /// A setup of a configuration of the guide, with credentials of the role.
    async fn setup(&self, keystore: &str, api: &Api, role: &str) -> Setup {
        let place = format!("auth/approle/role/{role}");
        let (_, id) = api.get(&format!("{place}/role-id")).await;
        let secret = api.put(&format!("{place}/secret-id"), json!({})).await;
        let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
        let setup = Setup::new();
        let (folder, admin) = (setup.folder().display().to_string(), setup.admin().identity());
        let head = format!(
            "admin:\n  identity: {admin}\n\
             tls:\n  key: {folder}/server.key\n  cert: {folder}/server.crt\n\
             cache:\n  expiry:\n    any: 0s\n"
        );
        let keystore = keystore
            .replace("https://vault.example.com:8200", &self.bao.endpoint())
            .replace("./vault-ca.cert", &self.ca.display().to_string());
        setup
            .text(head + &keystore)
            .variable("VAULT_APPROLE_ID", &text(&id["data"]["role_id"]))
            .variable("VAULT_APPROLE_SECRET", &text(&secret["data"]["secret_id"]))
    }

    /// Does everything that a policy of the guide is to allow.
    async fn is_enough(&self, setup: &Setup, name: &str, warnings: usize) {
        let server = setup.start().await;
        let mut admin = server.connect(setup.admin()).await;
        assert_eq!(admin.get("/v1/ready").await.status, 200);
        generate(&mut admin, name).await.refused(404, "key does not exist");
        create(&mut admin, name).await;
        let again = admin.call("PUT", &format!("/v1/key/create/{name}")).await;
        again.refused(400, "key already exists");
        let made = generate(&mut admin, name).await.ok();
        decrypt(&mut admin, name, &made).await.ok();
        let listed = admin.get(&format!("/v1/key/list/{name}")).await.ok().json();
        assert_eq!(listed["names"], json!([name]));
        let warned = server.stderr().so_far();
        let warned =
            warned.iter().filter(|line| line.contains(" WARN ") && !line.contains("chmod"));
        assert_eq!(warned.count(), warnings, "{:#?}", server.stderr().so_far());
        admin.call("DELETE", &format!("/v1/key/delete/{name}")).await.ok();
        generate(&mut admin, name).await.refused(404, "key does not exist");
        create(&mut admin, name).await;
        server.stop().await;
    }
}

#[tokio::test]
async fn the_guide_leads_to_running_servers() {
    let Some(guide) = Guide::new().await else { return };
    let commands = blocks("sh");
    assert!(commands.len() >= 9, "{}", commands.len());
    for block in &commands {
        guide.run(block).await;
    }
    let root = guide.bao.root();
    let old = json!({ "token_policies": ["kes-v1"] });
    root.put("auth/approle/role/kes-v1", old).await;
    let bare = json!({ "token_policies": ["kes", "kes-token"], "token_no_default_policy": true });
    root.put("auth/approle/role/kes-bare", bare).await;

    let files = blocks("yaml");
    let [approle, kubernetes, transit, namespace, version_1] = files.as_slice() else {
        panic!("{} configurations", files.len());
    };
    guide.is_enough(&guide.setup(approle, root, "kes").await, "approle", 0).await;
    guide.is_enough(&guide.setup(approle, root, "kes-bare").await, "bare", 0).await;
    guide.is_enough(&guide.setup(transit, root, "kes").await, "transit", 0).await;
    let (_, sealed) = root.get("kv/data/minio/transit").await;
    let sealed = sealed["data"]["data"]["transit"].as_str().unwrap_or_default().to_owned();
    assert!(sealed.starts_with("vault:v2:"), "{sealed}");
    let team = root.within("team");
    guide.is_enough(&guide.setup(namespace, &team, "kes").await, "team", 0).await;
    // Version 1 is warned of.
    guide.is_enough(&guide.setup(version_1, root, "kes-v1").await, "old", 1).await;

    // There is no cluster here: the configuration is read, and the first login finds no token.
    let refused = guide.setup(kubernetes, root, "kes").await.refused().await;
    assert!(refused.stderr.contains("serviceaccount/token"), "{refused:?}");
}
