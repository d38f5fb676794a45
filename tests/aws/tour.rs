//! `docs/aws.md`, walked through from its beginning to its end: every command is run and every
//! configuration started, as they stand there.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Stdio;

use kes_tests::aws::{Moto, moto};
use kes_tests::caller::{decrypt, generate};
use kes_tests::proxy::{Asked, Proxy};
use kes_tests::{Setup, finish};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use crate::guide::{Guide, actions, changed, needed, setup};
use crate::site::{create, delete};

/// The AWS CLI, as far as the guide uses it.
const CLI: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/aws/cli.py");

/// The account that the emulator is.
const ACCOUNT: &str = "123456789012";

/// An account at AWS, and somebody who may set things up in it.
struct Account {
    guide: Guide,
    moto: Moto,
    /// In front of it, for what servers ask.
    proxy: Proxy,
    folder: TempDir,
}

impl Account {
    async fn new() -> Option<Self> {
        let need = moto()?;
        let moto = Moto::start(&need).await;
        let proxy = Proxy::to(moto.address()).await;
        let folder = TempDir::new().expect("a temporary folder can be made");
        let account = Self { guide: Guide::read(), moto, proxy, folder };
        // The Python that has moto has botocore, which it needs.
        let program = fs::read_to_string(need.path()).expect("a program in Python");
        let python = program.lines().next().expect("a line that says where Python is");
        let cli = fs::read_to_string(CLI).expect("it is in the repository");
        account.write("aws", &format!("{python}\n{cli}"));
        let mode = fs::Permissions::from_mode(0o700);
        fs::set_permissions(account.file("aws"), mode).expect("the folder is ours");
        Some(account)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.file(name), text).expect("the folder is ours");
    }

    /// Runs a script of the guide in a region and gives what it writes.
    async fn run_in(&self, region: &str, script: &str) -> String {
        let path = format!("{}:/usr/bin:/bin", self.folder.path().display());
        let mut command = Command::new("sh");
        command
            .args(["-eu", "-c", script])
            .current_dir(self.folder.path())
            .env_clear()
            .env("PATH", path)
            .env("HOME", self.folder.path())
            .env("AWS_ENDPOINT_URL", format!("http://{}", self.moto.address()))
            .env("AWS_DEFAULT_REGION", region)
            .env("AWS_ACCESS_KEY_ID", "AKIDADMIN")
            .env("AWS_SECRET_ACCESS_KEY", "hunter2")
            .env("account", ACCOUNT)
            .stdin(Stdio::null());
        let finished = finish(&mut command).await;
        assert_eq!(finished.code, Some(0), "{script}\n{finished:?}");
        finished.stdout
    }

    async fn run(&self, script: &str) -> String {
        self.run_in("us-east-2", script).await
    }

    /// Runs the one block of the guide's commands that has these words.
    async fn run_block(&self, words: &str) -> String {
        self.run(self.block(words)).await
    }

    fn block(&self, words: &str) -> &str {
        let blocks = self.guide.blocks("sh");
        let mut found = blocks.into_iter().filter(|block| block.contains(words));
        match (found.next(), found.next()) {
            (Some(block), None) => block,
            found => panic!("'{words}': {found:?}"),
        }
    }

    /// A configuration of the guide, with this account in AWS's place.
    fn here(&self, configuration: &str) -> String {
        let here = |line: &str| match line.split_once("endpoint: ") {
            Some((field, _)) => format!("{field}endpoint: {}\n", self.proxy.url()),
            None => format!("{line}\n"),
        };
        let text: String = configuration.lines().map(here).collect();
        assert!(!text.contains("amazonaws") && !text.contains("localhost"), "{text}");
        text
    }

    /// The version of a secret that is the current one.
    async fn current_version(&self, name: &str) -> String {
        let secret = self.moto.api().within("us-east-2").describe(name).await;
        let secret = secret.expect("it is there");
        let versions = secret["VersionIdsToStages"].as_object().expect("a map").iter();
        let mut current = versions.filter(|(_, stages)| **stages == json!(["AWSCURRENT"]));
        current.next().expect("a current version").0.clone()
    }
}

/// Does everything that a policy of the guide is to allow, and leaves a key of that name.
async fn is_enough(setup: &Setup, name: &str) {
    let server = setup.start().await;
    let mut admin = server.connect(setup.admin()).await;
    assert_eq!(admin.get("/v1/ready").await.status, 200);
    generate(&mut admin, name).await.refused(404, "key does not exist");
    delete(&mut admin, name).await.refused(404, "key does not exist");
    create(&mut admin, name).await.ok();
    create(&mut admin, name).await.refused(400, "key already exists");
    let made = generate(&mut admin, name).await.ok();
    decrypt(&mut admin, name, &made).await.ok();
    let listed = admin.get(&format!("/v1/key/list/{name}")).await.ok().json();
    assert_eq!(listed["names"], json!([name]));
    delete(&mut admin, name).await.ok();
    generate(&mut admin, name).await.refused(404, "key does not exist");
    create(&mut admin, name).await.ok();
    let log = server.stderr().so_far();
    let warned: Vec<&String> = log.iter().filter(|line| line.contains(" WARN ")).collect();
    assert!(warned.iter().all(|line| line.contains("chmod")), "{log:#?}");
    server.stop().await;
}

/// Somebody in the account, with an access key.
struct User {
    access_key: String,
    secret_key: String,
}

impl User {
    /// Made by the guide's commands.
    async fn new(account: &Account) -> Self {
        account.run_block("kms create-key").await;
        account.write("kes-policy.json", account.guide.blocks("json")[0]);
        let made = account.run_block("create-access-key").await;
        let (_, made) = made.split_once("{\"AccessKey\"").expect("it is told at the end");
        let made: Value = serde_json::from_str(&format!("{{\"AccessKey\"{made}")).expect("JSON");
        let text = |field: &str| made["AccessKey"][field].as_str().expect("a text").to_owned();
        Self { access_key: text("AccessKeyId"), secret_key: text("SecretAccessKey") }
    }

    /// A setup of servers with this key store.
    fn setup(&self, keystore: &str) -> Setup {
        setup(keystore)
            .variable("KES_AWS_ACCESS_KEY", &self.access_key)
            .variable("KES_AWS_SECRET_KEY", &self.secret_key)
    }
}

fn body(asked: &Asked) -> Value {
    serde_json::from_slice(&asked.body).unwrap_or_default()
}

#[tokio::test]
async fn the_guide_leads_to_running_servers() {
    let Some(account) = Account::new().await else { return };
    let files = account.guide.configurations();
    let [whole, role, private, fips, emulator, _other_region] = files.as_slice() else {
        panic!("{} configurations", files.len());
    };
    let user = User::new(&account).await;
    is_enough(&user.setup(&account.here(whole)), "my-key").await;
    account.write("trust.json", account.guide.blocks("json")[4]);
    for command in ["create-role", "create-pod-identity", "modify-instance-metadata"] {
        account.run_block(command).await;
    }
    let tags = "      tags: {}\n";
    for (part, name) in [
        (*role, "role"),
        (private, "private"),
        (fips, "fips"),
        (emulator, "emulator"),
        (tags, "tags"),
    ] {
        is_enough(&setup(&account.here(&changed(whole, part))), name).await;
    }
    let targets = account.proxy.asked().into_iter().map(|it| it.header("x-amz-target").to_owned());
    assert_eq!(actions(&account.guide.policies()), needed(targets));
    let is_tagged = |asked: &Asked| body(asked).get("Tags").is_some();
    let is_to_be = |asked: &Asked| {
        asked.header("x-amz-target").ends_with("CreateSecret")
            && body(asked)["Name"] == "minio/tags"
    };
    assert!(account.proxy.asked().iter().all(|asked| is_tagged(asked) == is_to_be(asked)));
    assert!(account.proxy.count(is_tagged) >= 2);
}

#[tokio::test]
async fn what_the_guide_does_with_secrets_by_hand_is_as_it_says() {
    let Some(account) = Account::new().await else { return };
    let files = account.guide.configurations();
    let user = User::new(&account).await;
    let setup = user.setup(&account.here(files[0]));
    let server = setup.start().await;
    let mut admin = server.connect(setup.admin()).await;
    create(&mut admin, "my-key").await.ok();
    let made = generate(&mut admin, "my-key").await.ok();

    account.run_block("delete-secret").await;
    decrypt(&mut admin, "my-key", &made).await.refused(502, "failed to read key");
    create(&mut admin, "my-key").await.refused(502, "failed to create key");
    server.log_has(&["minio/my-key", "is scheduled for deletion", "restore-secret"]).await;
    account.run_block("restore-secret").await;
    decrypt(&mut admin, "my-key", &made).await.ok();

    let spans = account.guide.spans();
    let commands = spans.iter().filter(|span| span.starts_with("aws ") && span.contains(" --"));
    let commands: Vec<String> = commands.map(|span| span.replace("<name>", "my-key")).collect();
    assert_eq!(commands.len(), 1, "{commands:?}");
    account.run(&commands[0]).await;
    decrypt(&mut admin, "my-key", &made).await.ok();

    account.run_block("get-secret-value").await;
    let block = account.block("file://my-key");
    account.run(&block.replace("--name minio/my-key", "--name minio/restored")).await;
    decrypt(&mut admin, "restored", &made).await.ok();

    let ours = account.current_version("minio/my-key").await;
    account.moto.api().within("us-east-2").put_version("minio/my-key", "overwritten").await;
    let theirs = account.current_version("minio/my-key").await;
    assert_ne!(decrypt(&mut admin, "my-key", &made).await.status, 200);
    let block = account.block("update-secret-version-stage");
    let block = block.replace("EXAMPLE1-90ab-cdef-fedc-ba987EXAMPLE", &ours);
    account.run(&block.replace("EXAMPLE2-90ab-cdef-fedc-ba987EXAMPLE", &theirs)).await;
    // The emulator goes on to read the latest version, whatever has the label.
    assert_eq!(account.current_version("minio/my-key").await, ours);
}

#[tokio::test]
async fn a_server_in_another_region_reads_what_was_replicated() {
    let Some(account) = Account::new().await else { return };
    let files = account.guide.configurations();
    let user = User::new(&account).await;
    let here = user.setup(&account.here(files[0]));
    let server = here.start().await;
    let mut admin = server.connect(here.admin()).await;
    create(&mut admin, "my-key").await.ok();
    create(&mut admin, "not-there").await.ok();
    let made = generate(&mut admin, "my-key").await.ok();

    account.run_in("us-west-2", account.block("kms create-key")).await;
    account.run_block("replicate-secret-to-regions").await;
    let there = user.setup(&account.here(&changed(files[0], files[5])));
    let other = there.start().await;
    let mut elsewhere = other.connect(there.admin()).await;
    decrypt(&mut elsewhere, "my-key", &made).await.ok();
    generate(&mut elsewhere, "not-there").await.refused(404, "key does not exist");
    delete(&mut admin, "my-key").await.refused(502, "failed to delete key");
    account.run_block("stop-replication-to-replica").await;
}

#[tokio::test]
async fn configurations_start_as_they_are_written_and_ask_aws_through_a_proxy() {
    let guide = Guide::read();
    let whole = guide.configurations()[0];
    let parts =
        ["", guide.configurations()[2], guide.configurations()[3], guide.configurations()[5]];
    let files =
        parts.map(|part| if part.is_empty() { whole.to_owned() } else { changed(whole, part) });
    for keystore in files {
        assert!(keystore.contains(".amazonaws.com"), "{keystore}");
        // It lets nothing through: the real AWS must not learn of this test.
        let closed = Proxy::to(([127, 0, 0, 1], 9).into()).await;
        closed.turn(None);
        let setup =
            setup(&keystore).variable("HTTPS_PROXY", &closed.url()).variable("NO_PROXY", "");
        let server = setup.start().await;
        let mut admin = server.connect(setup.admin()).await;
        assert_eq!(admin.get("/v1/ready").await.status, 504);
        server.log_has(&["WARN", "AWS cannot be used now"]).await;
        assert!(closed.asked().iter().all(|asked| asked.method == "CONNECT"));
        assert!(closed.accepted() > 0);
    }
}

#[tokio::test]
async fn sample_files_start() {
    let Some(account) = Account::new().await else { return };
    account.run_block("kms create-key").await;
    for name in ["aws.yaml", "aws-irsa.yaml"] {
        let path = format!("{}/../config/{name}", env!("CARGO_MANIFEST_DIR"));
        let text = fs::read_to_string(path).expect("the sample is there");
        let setup = setup("");
        let folder = setup.folder().display().to_string();
        let text = text
            .replace("./server.key", &format!("{folder}/server.key"))
            .replace("./server.cert", &format!("{folder}/server.crt"));
        let identity = setup.admin().identity().to_owned();
        let setup = setup.text(account.here(&text)).variable("MINIO_KES_IDENTITY", &identity);
        let server = setup.start().await;
        let mut minio = server.connect(setup.admin()).await;
        assert_eq!(minio.get("/v1/ready").await.status, 200);
        create(&mut minio, &format!("minio-{}", name.replace('.', "-"))).await.ok();
        generate(&mut minio, "minio-default-key").await.ok();
        server.stop().await;
    }
}
