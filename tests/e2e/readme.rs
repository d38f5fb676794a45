//! The commands of the README work as they are written.

use std::fs;
use std::path::Path;

use kes_harness::caller::generate;
use kes_harness::guide::{Document, serving, terminal};
use kes_harness::repository;
use kes_harness::{Credential, Request, Server, Setup, finish, kes};
use tempfile::TempDir;

const HEADING: &str = "## Run it for real";

/// A checkout, as far as the README uses it, with a server in it.
struct Checkout {
    folder: TempDir,
    server: Server,
}

impl Checkout {
    /// Runs the README's commands up to the server. It listens on a port of its own.
    async fn start() -> Self {
        let folder = TempDir::new().expect("a temporary folder can be made");
        let sample = fs::read_to_string(repository().join("config/fs.yaml")).expect("the sample");
        let here = sample.replace("address: 0.0.0.0:7373", "address: 127.0.0.1:0");
        assert_ne!(here, sample);
        fs::create_dir(folder.path().join("config")).expect("the folder is ours");
        fs::write(folder.path().join("config/fs.yaml"), here).expect("the folder is ours");
        let readme = Document::read("README.md").section(HEADING);
        let script = serving(readme.block("kes server"));
        let command = terminal(folder.path(), &script);
        let server = Server::launch(command, &folder.path().join("server.cert")).await;
        Self { folder, server }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The client that the README mints files for.
    async fn minio(&self) -> Credential {
        let file = |name: &str| self.path().join(name);
        let identity = ["identity".into(), "of".into(), file("minio.crt")];
        let identity = kes().run(&identity).await.ok();
        Credential::from_files(&file("minio.crt"), &file("minio.key"), &identity)
    }
}

#[tokio::test]
async fn the_commands_lead_to_a_server_that_answers_the_minted_certificate() {
    let checkout = Checkout::start().await;
    let mut minio = checkout.server.connect(&checkout.minio().await).await;
    generate(&mut minio, "minio-default-key").await.ok();
    assert!(checkout.path().join("keys/minio-default-key").is_file());
    // What a health check does.
    let mut probe = checkout.server.dial().connect().await.expect("no certificate is needed");
    probe.get("/v1/ready").await.ok();
    let answer = probe.send(Request::new("GET", "/v1/status")).await;
    answer.refused(400, "tls: client certificate is required");
    checkout.server.stop().await;
}

#[tokio::test]
async fn the_command_line_reads_the_variables_that_minio_is_given() {
    let checkout = Checkout::start().await;
    let readme = Document::read("README.md").section(HEADING);
    let script = readme.block("kes key ls");
    let here = script.replace("https://127.0.0.1:7373", &checkout.server.url());
    assert_ne!(here, script);
    let shown = finish(&mut terminal(checkout.path(), &here)).await.ok();
    assert!(shown.ends_with("Key\nminio-default-key\n"), "{shown}");
    assert!(shown.to_lowercase().contains("certificate"), "{shown}");
    checkout.server.stop().await;
}

#[test]
fn minio_is_given_the_same_lines_in_every_guide() {
    let pages = ["README.md", "docs/vault.md", "docs/aws.md"].map(Document::read);
    for words in ["export MINIO_KMS_KES_ENDPOINT", "minio server", "mc stat"] {
        let lines = pages.each_ref().map(|document| {
            let block = document.block(words).lines();
            let is_minio_s = |line: &&str| !line.contains("PATH=$PWD") && !line.starts_with("kes ");
            block.filter(is_minio_s).collect::<Vec<_>>()
        });
        assert!(lines.iter().all(|block| *block == lines[0]), "{lines:#?}");
    }
    for document in &pages {
        let shown = document.text().contains("\"X-Amz-Server-Side-Encryption\": \"aws:kms\"");
        assert!(shown && document.text().contains("skip_auth: true"), "{}", document.text());
        let mut commands = document.blocks("sh").into_iter().flat_map(str::lines);
        let is_minting = |line: &&str| line.starts_with("kes identity new --key");
        assert!(commands.all(|line| !is_minting(&line) || line.contains("--expiry 8760h")));
    }
}

#[tokio::test]
async fn what_is_said_to_be_missing_is_missing() {
    let readme = Document::read("README.md");
    let (_, table) = readme.text().split_once("| Not yet |").expect("a row");
    let missing = table.split("\n\n").next().expect("the end of the table");
    let spans =
        |row: &str| row.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<String>>();
    let rows: Vec<Vec<String>> = missing.lines().map(spans).collect();
    let [_, stores, commands] = rows.as_slice() else { panic!("{rows:?}") };
    for store in stores {
        let setup = Setup::new();
        let folder = setup.folder().display().to_string();
        let text = format!(
            "admin:\n  identity: disabled\n\
             tls:\n  key: {folder}/server.key\n  cert: {folder}/server.crt\n\
             keystore:\n  {store}:\n    a:\n      b: c\n"
        );
        let refused = setup.text(text).refused().await;
        let words = format!("keystore '{store}' is not supported by this build");
        assert!(refused.stderr.contains(&words), "{refused:?}");
    }
    let mut head = Vec::new();
    for command in commands {
        // `kes key import`, `info`, …: what follows is in the same group.
        let words: Vec<&str> = command.split(' ').collect();
        if words[0] == "kes" {
            head = words[1..words.len() - 1].to_vec();
        }
        let last = *words.last().expect("a word");
        // `kes identity info` is the identity of a file of that name, which is not there.
        let arguments = head.iter().copied().chain([last]).collect::<Vec<_>>();
        let refused = kes().run(&arguments).await;
        let code = if head == ["identity"] { 1 } else { 2 };
        assert_eq!(refused.code, Some(code), "kes {arguments:?}: {refused:?}");
    }
}
