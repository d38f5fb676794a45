//! `docs/vault.md`, walked through from nothing to a server that `MinIO` can use, with the commands as
//! they stand there.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use kes_tests::caller::generate;
use kes_tests::guide::{Page, repository, serving, terminal};
use kes_tests::pki::Authority;
use kes_tests::vault::{Bao, DevBao, Options, bao};
use kes_tests::{Credential, Need, Server, finish, kes};
use tempfile::TempDir;

/// Where the guide's commands are run.
struct Walk {
    page: Page,
    folder: TempDir,
    /// What the terminal has in its environment before the first command.
    variables: String,
}

impl Walk {
    fn new(need: &Need) -> Self {
        let folder = TempDir::new().expect("a temporary folder can be made");
        symlink(need.path(), folder.path().join("bao")).expect("the folder is ours");
        let config = repository().join("config");
        symlink(config, folder.path().join("config")).expect("the folder is ours");
        Self { page: Page::read("docs/vault.md"), folder, variables: String::new() }
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
            for block in self.page.section(heading).blocks("sh") {
                self.run(block).await;
            }
        }
        self.run(self.page.block(configuration)).await;
        let text = fs::read_to_string(self.file("kes.yaml")).expect("the guide writes it");
        let here = text.replace("address: 0.0.0.0:7373", "address: 127.0.0.1:0");
        assert_ne!(here, text);
        fs::write(self.file("kes.yaml"), here).expect("the folder is ours");
    }

    /// Starts the server, on a port of its own.
    async fn serve(&self) -> Server {
        let command = terminal(self.path(), &serving(self.page.block("kes server")));
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
async fn with_tls(certificate: impl FnOnce(&Authority) -> String) -> Option<(Bao, Walk)> {
    let need = bao()?;
    let authority = Authority::new();
    let options = Options { authority: Some(&authority), ..Options::default() };
    let bao = Bao::start_with(&need, options).await;
    let mut walk = Walk::new(&need);
    fs::write(walk.file("vault-ca.cert"), certificate(&authority)).expect("the folder is ours");
    fs::write(walk.file("bao-ca.cert"), authority.pem()).expect("the folder is ours");
    walk.variables = format!(
        "export BAO_ADDR={} BAO_TOKEN={} BAO_CACERT=bao-ca.cert\n",
        bao.endpoint(),
        bao.root().token()
    );
    Some((bao, walk))
}

#[tokio::test]
async fn the_guide_leads_from_nothing_to_a_server_that_minio_can_use() {
    let Some((_bao, walk)) = with_tls(Authority::pem).await else { return };
    walk.prepare("sed \"s|").await;
    let server = walk.serve().await;
    walk.is_usable(&server).await;
    server.stop().await;
}

#[tokio::test]
async fn the_guide_s_check_says_that_the_server_is_ready() {
    let Some((_bao, walk)) = with_tls(Authority::pem).await else { return };
    walk.prepare("sed \"s|").await;
    let server = walk.serve().await;
    let variables = walk.page.block("export MINIO_KMS_KES_ENDPOINT");
    let script = variables.to_owned() + walk.page.block("kes key ls");
    let here = script.replace("https://127.0.0.1:7373", &server.url());
    let shown = walk.run(&here).await;
    assert!(shown.ends_with("Key\nminio-default-key\n"), "{shown}");
    server.stop().await;
}

#[tokio::test]
async fn the_certificate_that_vault_shows_can_be_tls_ca() {
    let Some((bao, walk)) = with_tls(|_| String::new()).await else { return };
    let address = bao.relay().address().to_string();
    let script = walk.page.block("openssl s_client").replace("vault.example.com:8200", &address);
    let shown = walk.run(&script).await;
    assert!(shown.to_lowercase().contains("fingerprint="), "{shown}");
    walk.prepare("sed \"s|").await;
    let server = walk.serve().await;
    walk.is_usable(&server).await;
    server.stop().await;
}

#[tokio::test]
async fn the_guide_works_on_a_development_server() {
    let Some(need) = bao() else { return };
    let mut walk = Walk::new(&need);
    let start = walk.page.block("bao server -dev").replace("\nbao server", "\nexec bao server");
    let bao = DevBao::start(terminal(walk.path(), &start)).await;
    let shown = "127.0.0.1:8200";
    walk.variables = walk.page.block("export BAO_ADDR").replace(shown, &bao.address().to_string());
    assert!(!walk.variables.contains(shown));
    walk.prepare("# The CA").await;
    let server = walk.serve().await;
    walk.is_usable(&server).await;
    server.stop().await;
}

#[tokio::test]
async fn secrets_and_the_ca_s_certificate_can_be_files_of_the_environment() {
    let Some((_bao, walk)) = with_tls(Authority::pem).await else { return };
    walk.prepare("sed \"s|").await;
    let text = fs::read_to_string(walk.file("kes.yaml")).expect("it was just written");
    let (before, _) = text.split_once("    # The CA").expect("the sample's comment");
    fs::write(walk.file("kes.yaml"), before).expect("the folder is ours");
    let start = serving(walk.page.block("kes server"));
    let shown = "export VAULT_APPROLE_ID=$(cat role-id) VAULT_APPROLE_SECRET=$(cat secret-id)\n";
    assert!(start.contains(shown), "{start}");
    let files = "export VAULT_APPROLE_ID_FILE=role-id VAULT_APPROLE_SECRET_FILE=$PWD/secret-id \
                 VAULT_CACERT=vault-ca.cert\n";
    let command = terminal(walk.path(), &start.replace(shown, files));
    let server = Server::launch(command, &walk.file("server.cert")).await;
    walk.is_usable(&server).await;
    server.stop().await;
}
