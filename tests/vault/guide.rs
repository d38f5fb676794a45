//! `docs/vault.md`: every command and configuration works as it is written.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use kes_harness::caller::{decrypt, generate};
use kes_harness::guide::{self, Document, terminal};
use kes_harness::pki::Authority;
use kes_harness::vault::{Api, Bao, Cluster, Options, bao};
use kes_harness::{Setup, finish};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use crate::fixture::create;

const TOKEN_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// The guide, and what it is tried out on.
struct Guide {
    document: Document,
    bao: Bao,
    cluster: Cluster,
    /// Placeholders of the guide, and their values here.
    places: Vec<(&'static str, String)>,
    folder: TempDir,
}

/// The id and the secret of an `AppRole`.
struct Credentials(String, String);

impl Guide {
    async fn new() -> Option<Self> {
        let need = bao()?;
        let authority = Authority::new();
        let options = Options { authority: Some(&authority), ..Options::default() };
        let bao = Bao::start_with(&need, options).await;
        let cluster = Cluster::start().await;
        let method = cluster.method();
        let folder = TempDir::new().expect("a temporary folder can be made");
        let at = |name: &str| folder.path().join(name);
        let write = |name: &str, text: &str| fs::write(at(name), text).expect("the folder is ours");
        write("vault-ca.cert", &authority.pem());
        write("kubernetes-ca.crt", &string(&method["kubernetes_ca_cert"]));
        write("token", &cluster.token());
        symlink(need.path(), at("bao")).expect("the folder is ours");
        let places = vec![
            ("https://vault.example.com:8200", bao.endpoint()),
            ("https://kubernetes.example.com:6443", string(&method["kubernetes_host"])),
            ("account_namespaces=minio", "account_namespaces=storage".to_owned()),
            ("vault.example.com:8200", bao.relay().address().to_string()),
            ("./vault-ca.cert", at("vault-ca.cert").display().to_string()),
            ("${file:./", format!("${{file:{}/", folder.path().display())),
            // Never the one of the machine that the test runs on.
            (TOKEN_FILE, at("token").display().to_string()),
        ];
        Some(Self { document: Document::read("docs/vault.md"), bao, cluster, places, folder })
    }

    /// The fenced blocks in that language, in their order, with the placeholders filled in.
    fn blocks(&self, language: &str) -> Vec<String> {
        self.document.blocks(language).into_iter().map(|block| self.here(block)).collect()
    }

    /// The commands that set up Vault.
    fn preparation(&self) -> Vec<String> {
        let is_of_vault = |block: &String| block.starts_with("bao ") || block.starts_with("umask ");
        self.blocks("sh").into_iter().filter(is_of_vault).collect()
    }

    /// The commands within sentences and tables, about that key.
    fn commands(&self, name: &str) -> Vec<String> {
        let commands = self.document.spans().into_iter().filter(|span| span.starts_with("bao "));
        commands.map(|span| self.here(&span.replace("<name>", name))).collect()
    }

    fn here(&self, text: &str) -> String {
        let fill = |text: String, (place, ours): &(&str, String)| text.replace(place, ours);
        let text = self.places.iter().fold(text.to_owned(), fill);
        assert!(!text.contains("example.com") && !text.contains("/var/run"), "{text}");
        text
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The administrator's shell.
    fn terminal(&self, script: &str) -> Command {
        let mut command = terminal(self.folder.path(), script);
        command
            .env("BAO_ADDR", self.bao.endpoint())
            .env("BAO_CACERT", self.file("vault-ca.cert"))
            .env("BAO_TOKEN", self.bao.root().token());
        command
    }

    async fn run(&self, script: &str) {
        let finished = finish(&mut self.terminal(script)).await;
        assert_eq!(finished.code, Some(0), "{script}\n{finished:?}");
    }

    /// What the guide has put into files.
    fn credentials(&self) -> Credentials {
        let read = |name| fs::read_to_string(self.file(name)).expect("the guide writes it");
        Credentials(read("role-id"), read("secret-id"))
    }
}

impl Credentials {
    /// New ones of a role.
    async fn of(api: &Api, role: &str) -> Self {
        let place = format!("auth/approle/role/{role}");
        let (_, id) = api.get(&format!("{place}/role-id")).await;
        let secret = api.put(&format!("{place}/secret-id"), json!({})).await;
        Self(string(&id["data"]["role_id"]), string(&secret["data"]["secret_id"]))
    }
}

fn string(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

/// The configuration with other fields, in place of those of their names and of the one left out.
fn changed(configuration: &str, part: &str, without: &str) -> String {
    guide::changed("keystore:\n  vault:\n", "    ", configuration, part, without)
}

fn setup(keystore: &str, Credentials(id, secret): &Credentials) -> Setup {
    Setup::new()
        .keystore_text(keystore)
        .variable("VAULT_APPROLE_ID", id)
        .variable("VAULT_APPROLE_SECRET", secret)
}

/// Does everything that a policy of the guide is to allow, and leaves a key of that name.
async fn is_enough(setup: &Setup, name: &str, warnings: &[&str]) {
    let server = setup.start().await;
    let mut admin = server.connect(setup.admin()).await;
    assert_eq!(admin.get("/v1/ready").await.status, 200);
    generate(&mut admin, name).await.refused(404, "key does not exist");
    let absent = admin.call("DELETE", &format!("/v1/key/delete/{name}")).await;
    absent.refused(404, "key does not exist");
    create(&mut admin, name).await;
    let again = admin.call("PUT", &format!("/v1/key/create/{name}")).await;
    again.refused(400, "key already exists");
    let made = generate(&mut admin, name).await.ok();
    decrypt(&mut admin, name, &made).await.ok();
    let listed = admin.get(&format!("/v1/key/list/{name}")).await.ok().json();
    assert_eq!(listed["names"], json!([name]));
    admin.call("DELETE", &format!("/v1/key/delete/{name}")).await.ok();
    generate(&mut admin, name).await.refused(404, "key does not exist");
    create(&mut admin, name).await;
    let log = server.stderr().so_far();
    let warned = log.iter().filter(|line| line.contains(" WARN ") && !line.contains("chmod"));
    let warned: Vec<&String> = warned.collect();
    assert_eq!(warned.len(), warnings.len(), "{log:#?}");
    assert!(warned.iter().zip(warnings).all(|(line, words)| line.contains(words)), "{log:#?}");
    server.stop().await;
}

/// A role of `token_no_default_policy` can do with its token what the server does.
async fn token_policy_is_enough(root: &Api, credentials: &Credentials) {
    let login = json!({ "role_id": credentials.0, "secret_id": credentials.1 });
    let granted = root.put("auth/approle/login", login).await;
    let own = root.with_token(&string(&granted["auth"]["client_token"]));
    assert_eq!(granted["auth"]["token_policies"], json!(["kes", "kes-token"]));
    assert_eq!(own.get("auth/token/lookup-self").await.0, 200);
    for path in ["auth/token/renew-self", "auth/token/revoke-self"] {
        let (status, answer) = own.ask("PUT", path, Some(json!({}))).await;
        assert!((200..300).contains(&status), "{path}: {status} {answer}");
    }
}

#[tokio::test]
async fn the_guide_leads_to_running_servers() {
    let Some(guide) = Guide::new().await else { return };
    let preparation = guide.preparation();
    // `scenario.rs` runs the others: the development server, its terminal, the certificate, two
    // configurations, the start, MinIO's variables, the check; MinIO and `mc` are not run.
    assert_eq!(guide.blocks("sh").len(), preparation.len() + 10);
    for block in &preparation {
        guide.run(block).await;
    }
    let root = guide.bao.root();
    let files = guide.blocks("yaml");
    let [approle, in_files, _health, kubernetes, transit, namespace, version_1] = files.as_slice()
    else {
        panic!("{} configurations", files.len());
    };

    let kes = guide.credentials();
    is_enough(&setup(approle, &kes), "approle", &[]).await;
    let nothing = Credentials("unused".to_owned(), "unused".to_owned());
    is_enough(&setup(&changed(approle, in_files, ""), &nothing), "files", &[]).await;
    let commands = guide.commands("approle");
    assert!(commands.len() >= 5, "{commands:?}");
    for command in &commands {
        guide.run(command).await;
    }
    let bare = json!({ "token_policies": ["kes", "kes-token"], "token_no_default_policy": true });
    root.put("auth/approle/role/kes-bare", bare).await;
    let bare = Credentials::of(root, "kes-bare").await;
    token_policy_is_enough(root, &bare).await;
    is_enough(&setup(approle, &bare), "bare", &[]).await;

    is_enough(&setup(&changed(approle, kubernetes, "approle"), &kes), "kubernetes", &[]).await;
    assert_eq!(guide.cluster.reviewed().len(), 1);

    let sealing = setup(&changed(approle, transit, ""), &kes);
    is_enough(&sealing, "transit", &[]).await;
    let (_, sealed) = root.get("kv/data/minio/transit").await;
    let sealed = string(&sealed["data"]["data"]["transit"]);
    assert!(sealed.starts_with("vault:v2:"), "{sealed}");
    let server = sealing.start().await;
    generate(&mut server.connect(sealing.admin()).await, "approle").await.ok();
    server.stop().await;

    let team = Credentials::of(&root.within("team"), "kes").await;
    is_enough(&setup(&changed(approle, namespace, ""), &team), "team", &[]).await;

    let (old, race) = (changed(approle, version_1, ""), ["K/V version 1"]);
    let flat = "path \"kv1/*\" { capabilities = [\"create\", \"read\", \"list\", \"delete\"] }";
    root.policy("kes-v1-flat", flat).await;
    for (policy, keystore) in
        [("kes-v1", old.clone()), ("kes-v1-flat", changed(&old, "    prefix: \"\"", ""))]
    {
        let role = format!("auth/approle/role/{policy}");
        root.put(&role, json!({ "token_policies": [policy] })).await;
        let credentials = Credentials::of(root, policy).await;
        is_enough(&setup(&keystore, &credentials), policy, &race).await;
    }
}
