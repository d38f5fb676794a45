//! `docs/aws.md` from its beginning to its end: every command is run and every configuration is started.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;

use kes_harness::aws::{Moto, moto};
use kes_harness::caller::{decrypt, generate};
use kes_harness::guide::{Document, serving, terminal};
use kes_harness::proxy::{Asked, Proxy};
use kes_harness::repository;
use kes_harness::{Credential, Server, Setup, finish, kes};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use crate::fixture::{create, delete};
use crate::guide::{actions, changed, configurations, guide, needed, policies, setup};

/// The AWS CLI, as far as the guide uses it.
const CLI: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/aws/cli.py");

/// The account that the emulator is.
const ACCOUNT: &str = "123456789012";

/// An account at AWS, with an administrator.
struct Account {
    guide: Document,
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
        let account = Self { guide: guide(), moto, proxy, folder };
        // The Python that has moto has botocore, which it needs.
        let program = fs::read_to_string(need.path()).expect("a program in Python");
        let python = program.lines().next().expect("a line that says where Python is");
        let cli = fs::read_to_string(CLI).expect("it is in the repository");
        account.write("aws", &format!("{python}\n{cli}"));
        let mode = fs::Permissions::from_mode(0o700);
        fs::set_permissions(account.file("aws"), mode).expect("the folder is ours");
        for folder in ["config", "deploy"] {
            symlink(repository().join(folder), account.file(folder)).expect("the folder is ours");
        }
        Some(account)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.file(name), text).expect("the folder is ours");
    }

    /// The administrator's shell, in a region.
    fn terminal(&self, region: &str, script: &str) -> Command {
        let mut command = terminal(self.folder.path(), script);
        command
            .env("AWS_ENDPOINT_URL", format!("http://{}", self.moto.address()))
            .env("AWS_DEFAULT_REGION", region)
            .env("AWS_ACCESS_KEY_ID", "AKIDADMIN")
            .env("AWS_SECRET_ACCESS_KEY", "hunter2")
            .env("account", ACCOUNT);
        command
    }

    /// Runs a script of the guide in a region and gives what it writes.
    async fn run_in(&self, region: &str, script: &str) -> String {
        let finished = finish(&mut self.terminal(region, script)).await;
        assert_eq!(finished.code, Some(0), "{script}\n{finished:?}");
        finished.stdout
    }

    async fn run(&self, script: &str) -> String {
        self.run_in("us-east-2", script).await
    }

    /// Runs the one block of the guide's commands that has these words.
    async fn run_block(&self, words: &str) -> String {
        self.run(self.guide.block(words)).await
    }

    /// The commands from the account to the policy's file, for a region and a prefix.
    fn preparation(&self, region: &str, prefix: &str) -> String {
        let shown = "region=us-east-2 prefix=minio\n";
        let (key, policy) = (self.guide.block(shown), self.guide.block("kes-policy.json > "));
        key.replace(shown, &format!("region={region} prefix={prefix}\n")) + policy
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

/// A user of the account, with an access key.
struct User {
    access_key: String,
    secret_key: String,
}

impl User {
    /// Made by the guide's commands.
    async fn new(account: &Account) -> Self {
        let preparation = account.preparation("us-east-2", "minio");
        account.run(&(preparation + account.guide.block("create-access-key"))).await;
        let made = fs::read_to_string(account.file("access-key")).expect("the guide writes it");
        let (access_key, secret_key) = made.trim_end().split_once('\t').expect("two texts");
        Self { access_key: access_key.to_owned(), secret_key: secret_key.to_owned() }
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
    let files = configurations(&account.guide);
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
    assert_eq!(actions(&policies(&account.guide)), needed(targets));
    let is_tagged = |asked: &Asked| body(asked).get("Tags").is_some();
    let is_to_be = |asked: &Asked| {
        asked.header("x-amz-target").ends_with("CreateSecret")
            && body(asked)["Name"] == "minio/tags"
    };
    assert!(account.proxy.asked().iter().all(|asked| is_tagged(asked) == is_to_be(asked)));
    assert!(account.proxy.count(is_tagged) >= 2);
}

#[tokio::test]
async fn the_policy_is_filled_in_with_the_shell_s_variables() {
    let Some(account) = Account::new().await else { return };
    let shown = account.guide.blocks("json")[0];
    for (region, prefix) in [("us-east-2", "minio"), ("eu-west-1", "tenant-1")] {
        let script = account.preparation(region, prefix) + "printf %s \"$key\" > key\n";
        account.run(&script).await;
        let filled = fs::read_to_string(account.file("kes-policy.json")).expect("it is written");
        let key = fs::read_to_string(account.file("key")).expect("it is written");
        assert!(key.starts_with(&format!("arn:aws:kms:{region}:{ACCOUNT}:key/")), "{key}");
        let example = "arn:aws:kms:us-east-2:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";
        let wanted = shown
            .replace(example, &key)
            .replace("us-east-2", region)
            .replace("111122223333", ACCOUNT)
            .replace(":secret:minio/", &format!(":secret:{prefix}/"));
        assert_eq!(filled, wanted);
    }
}

/// The steps from an account to a server, as they are written.
struct Scenario {
    account: Account,
    server: Server,
}

impl Scenario {
    async fn start() -> Option<Self> {
        let account = Account::new().await?;
        let guide = &account.guide;
        let script = account.preparation("us-east-2", "minio")
            + guide.block("create-access-key")
            + guide.block("config/aws.yaml > kes.yaml");
        account.run(&script).await;
        let text = fs::read_to_string(account.file("kes.yaml")).expect("the guide writes it");
        let text = account.here(&text.replace("address: 0.0.0.0:7373", "address: 127.0.0.1:0"));
        account.write("kes.yaml", &text);
        let command = terminal(account.folder.path(), &serving(guide.block("kes server")));
        let server = Server::launch(command, &account.file("server.cert")).await;
        Some(Self { account, server })
    }
}

#[tokio::test]
async fn the_guide_leads_from_nothing_to_a_server_that_minio_can_use() {
    let Some(Scenario { account, server }) = Scenario::start().await else { return };
    let file = |name: &str| account.file(name);
    let identity = kes().run(&["identity".into(), "of".into(), file("minio.crt")]).await.ok();
    let minio = Credential::from_files(&file("minio.crt"), &file("minio.key"), &identity);
    let mut minio = server.connect(&minio).await;
    generate(&mut minio, "minio-default-key").await.ok();
    let secret = account.moto.api().within("us-east-2").value("minio/minio-default-key").await;
    assert!(secret.is_some());
    server.stop().await;
}

#[tokio::test]
async fn the_guide_s_check_says_that_the_server_is_ready() {
    let Some(Scenario { account, server }) = Scenario::start().await else { return };
    let guide = &account.guide;
    let script =
        guide.block("export MINIO_KMS_KES_ENDPOINT").to_owned() + guide.block("kes key ls");
    let here = script.replace("https://127.0.0.1:7373", &server.url());
    let shown = finish(&mut terminal(account.folder.path(), &here)).await.ok();
    assert!(shown.ends_with("Key\nminio-default-key\n"), "{shown}");
    server.stop().await;
}

#[tokio::test]
async fn what_the_guide_does_with_secrets_by_hand_is_as_it_says() {
    let Some(account) = Account::new().await else { return };
    let files = configurations(&account.guide);
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
    let block = account.guide.block("file://my-key");
    account.run(&block.replace("--name minio/my-key", "--name minio/restored")).await;
    decrypt(&mut admin, "restored", &made).await.ok();

    let ours = account.current_version("minio/my-key").await;
    account.moto.api().within("us-east-2").put_version("minio/my-key", "overwritten").await;
    let theirs = account.current_version("minio/my-key").await;
    assert_ne!(decrypt(&mut admin, "my-key", &made).await.status, 200);
    let block = account.guide.block("update-secret-version-stage");
    let block = block.replace("EXAMPLE1-90ab-cdef-fedc-ba987EXAMPLE", &ours);
    account.run(&block.replace("EXAMPLE2-90ab-cdef-fedc-ba987EXAMPLE", &theirs)).await;
    // The emulator goes on to read the latest version, whatever has the label.
    assert_eq!(account.current_version("minio/my-key").await, ours);
}

#[tokio::test]
async fn a_server_in_another_region_reads_what_was_replicated() {
    let Some(account) = Account::new().await else { return };
    let files = configurations(&account.guide);
    let user = User::new(&account).await;
    let here = user.setup(&account.here(files[0]));
    let server = here.start().await;
    let mut admin = server.connect(here.admin()).await;
    create(&mut admin, "my-key").await.ok();
    create(&mut admin, "not-there").await.ok();
    let made = generate(&mut admin, "my-key").await.ok();

    account.run_in("us-west-2", &account.preparation("us-west-2", "minio")).await;
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
    let guide = guide();
    let shown = configurations(&guide);
    let whole = shown[0];
    let parts = ["", shown[2], shown[3], shown[5]];
    let files =
        parts.map(|part| if part.is_empty() { whole.to_owned() } else { changed(whole, part) });
    for keystore in files {
        assert!(keystore.contains(".amazonaws.com"), "{keystore}");
        // It forwards nothing: this test must not reach the real AWS.
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
