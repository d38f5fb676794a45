//! `docs/vault.md` from nothing to a server that `MinIO` can use, with the commands as they are written.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use kes_harness::caller::generate;
use kes_harness::guide::{Document, serving, terminal};
use kes_harness::pki::Authority;
use kes_harness::repository;
use kes_harness::vault::{Bao, DevBao, Options, bao};
use kes_harness::{Credential, Need, Server, finish, kes};
use tempfile::TempDir;

/// Where the guide's commands are run.
struct Scenario {
    document: Document,
    folder: TempDir,
    /// What the terminal has in its environment before the first command.
    variables: String,
}

impl Scenario {
    fn new(need: &Need) -> Self {
        let folder = TempDir::new().expect("a temporary folder can be made");
        symlink(need.path(), folder.path().join("bao")).expect("the folder is ours");
        let config = repository().join("config");
        symlink(config, folder.path().join("config")).expect("the folder is ours");
        Self { document: Document::read("docs/vault.md"), folder, variables: String::new() }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    async fn run(&self, script: &str) -> String {
        let script = format!("{}{script}", self.variables);
        let finished = finish(&mut terminal(self.path(), &script)).await;
        assert_eq!(finished.code, Some(0), "{script}\n{finished:?}");
        finished.stdout
    }

    /// Sets up the engine, the policy and the login, and makes the configuration.
    async fn prepare(&self, configuration: &str) {
        for heading in ["## The engine", "## The policy", "## Login with an AppRole"] {
            for block in self.document.section(heading).blocks("sh") {
                self.run(block).await;
            }
        }
        self.run(self.document.block(configuration)).await;
        let text = fs::read_to_string(self.file("kes.yaml")).expect("the guide writes it");
        let here = text.replace("address: 0.0.0.0:7373", "address: 127.0.0.1:0");
        assert_ne!(here, text);
        fs::write(self.file("kes.yaml"), here).expect("the folder is ours");
    }

    /// Starts the server, on a port of its own.
    async fn serve(&self) -> Server {
        let command = terminal(self.path(), &serving(self.document.block("kes server")));
        Server::launch(command, &self.file("server.cert")).await
    }

    /// The client that the guide mints files for makes data keys, with a key that the configuration
    /// made in Vault; and a health check finds the server ready.
    async fn is_usable(&self, server: &Server) {
        let (certificate, key) = (self.file("minio.crt"), self.file("minio.key"));
        let identity = kes().run(&["identity".into(), "of".into(), certificate.clone()]).await.ok();
        let minio = Credential::from_files(&certificate, &key, &identity);
        let mut minio = server.connect(&minio).await;
        generate(&mut minio, "minio-default-key").await.ok();
        let mut probe = server.dial().connect().await.expect("no certificate is needed");
        probe.get("/v1/ready").await.ok();
        let keys = self.run("bao kv list -mount=kv minio").await;
        assert!(keys.contains("minio-default-key"), "{keys}");
    }
}

/// An `OpenBao` that speaks TLS, and the guide's commands for it.
async fn with_tls(certificate: impl FnOnce(&Authority) -> String) -> Option<(Bao, Scenario)> {
    let need = bao()?;
    let authority = Authority::new();
    let options = Options { authority: Some(&authority), ..Options::default() };
    let bao = Bao::start_with(&need, options).await;
    let mut scenario = Scenario::new(&need);
    fs::write(scenario.file("vault-ca.cert"), certificate(&authority)).expect("the folder is ours");
    fs::write(scenario.file("bao-ca.cert"), authority.pem()).expect("the folder is ours");
    scenario.variables = format!(
        "export BAO_ADDR={} BAO_TOKEN={} BAO_CACERT=bao-ca.cert\n",
        bao.endpoint(),
        bao.root().token()
    );
    Some((bao, scenario))
}

/// An `OpenBao` that speaks TLS, and a server that was set up by the guide's commands.
async fn served() -> Option<(Bao, Scenario, Server)> {
    let (bao, scenario) = with_tls(Authority::pem).await?;
    scenario.prepare("sed \"s|").await;
    let server = scenario.serve().await;
    Some((bao, scenario, server))
}

#[tokio::test]
async fn the_guide_leads_from_nothing_to_a_server_that_minio_can_use() {
    let Some((_bao, scenario, server)) = served().await else { return };
    scenario.is_usable(&server).await;
    server.stop().await;
}

#[tokio::test]
async fn the_guide_s_check_says_that_the_server_is_ready() {
    let Some((_bao, scenario, server)) = served().await else { return };
    let variables = scenario.document.block("export MINIO_KMS_KES_ENDPOINT");
    let script = variables.to_owned() + scenario.document.block("kes key ls");
    let here = script.replace("https://127.0.0.1:7373", &server.url());
    let shown = scenario.run(&here).await;
    assert!(shown.ends_with("Key\nminio-default-key\n"), "{shown}");
    server.stop().await;
}

#[tokio::test]
async fn the_certificate_that_vault_shows_can_be_tls_ca() {
    let Some((bao, scenario)) = with_tls(|_| String::new()).await else { return };
    let address = bao.relay().address().to_string();
    let script =
        scenario.document.block("openssl s_client").replace("vault.example.com:8200", &address);
    let shown = scenario.run(&script).await;
    assert!(shown.to_lowercase().contains("fingerprint="), "{shown}");
    scenario.prepare("sed \"s|").await;
    let server = scenario.serve().await;
    scenario.is_usable(&server).await;
    server.stop().await;
}

#[tokio::test]
async fn the_guide_works_on_a_development_server() {
    let Some(need) = bao() else { return };
    let mut scenario = Scenario::new(&need);
    let start =
        scenario.document.block("bao server -dev").replace("\nbao server", "\nexec bao server");
    let bao = DevBao::start(terminal(scenario.path(), &start)).await;
    let shown = "127.0.0.1:8200";
    scenario.variables =
        scenario.document.block("export BAO_ADDR").replace(shown, &bao.address().to_string());
    assert!(!scenario.variables.contains(shown));
    scenario.prepare("# The CA").await;
    let server = scenario.serve().await;
    scenario.is_usable(&server).await;
    server.stop().await;
}

#[tokio::test]
async fn secrets_and_the_ca_s_certificate_can_be_files_of_the_environment() {
    let Some((_bao, scenario)) = with_tls(Authority::pem).await else { return };
    scenario.prepare("sed \"s|").await;
    let text = fs::read_to_string(scenario.file("kes.yaml")).expect("it was just written");
    let (before, _) = text.split_once("    # The CA").expect("the sample's comment");
    fs::write(scenario.file("kes.yaml"), before).expect("the folder is ours");
    let start = serving(scenario.document.block("kes server"));
    let shown = "export VAULT_APPROLE_ID=$(cat role-id) VAULT_APPROLE_SECRET=$(cat secret-id)\n";
    assert!(start.contains(shown), "{start}");
    let files = "export VAULT_APPROLE_ID_FILE=role-id VAULT_APPROLE_SECRET_FILE=$PWD/secret-id \
                 VAULT_CACERT=vault-ca.cert\n";
    let command = terminal(scenario.path(), &start.replace(shown, files));
    let server = Server::launch(command, &scenario.file("server.cert")).await;
    scenario.is_usable(&server).await;
    server.stop().await;
}
