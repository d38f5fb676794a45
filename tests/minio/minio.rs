//! `MinIO` and its client as processes.

use std::fs;
use std::net::TcpListener;
use std::process::Stdio;

use kes_harness::{Credential, Lines, Need, Server, Setup, finish, tool};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

const USER: &str = "tests";
const PASSWORD: &str = "tests-secret";

/// The two programs.
pub(crate) struct Programs {
    minio: Need,
    mc: Need,
}

impl Programs {
    /// Finds both, or says what is skipped.
    pub(crate) fn find() -> Option<Self> {
        let what = "a real MinIO against the server";
        let minio = tool("minio", Some("KES_TEST_MINIO"), what);
        let mc = tool("mc", Some("KES_TEST_MC"), what);
        Some(Self { minio: minio?, mc: mc? })
    }
}

/// A `MinIO` that is up; killed when dropped.
pub(crate) struct Minio {
    child: Child,
    url: String,
    _stdout: Lines,
    _stderr: Lines,
}

impl Minio {
    /// Starts it on the data of `setup`, with automatic encryption by `server`.
    pub(crate) async fn start(
        programs: &Programs,
        setup: &Setup,
        server: &Server,
        node: &Credential,
        key: &str,
    ) -> Self {
        // It takes no port 0: a port that was free a moment ago may be taken again.
        loop {
            let port = free_port();
            let mut command = command(programs, setup, server, node, key);
            command.args(["--address", &format!("127.0.0.1:{port}")]);
            let mut child = command.spawn().expect("MinIO can be started");
            let stdout = Lines::of(child.stdout.take().expect("its output is ours"));
            let stderr = Lines::of(child.stderr.take().expect("its errors are ours"));
            if stdout.find(|line| line.contains("API:")).await.is_some() {
                let url = format!("http://127.0.0.1:{port}");
                return Self { child, url, _stdout: stdout, _stderr: stderr };
            }
            child.kill().await.expect("it is ours");
            let output = format!("{}\n{}", stdout.all().await, stderr.all().await);
            assert!(output.contains("in use"), "MinIO did not start: {output}");
        }
    }

    /// Ends it.
    pub(crate) async fn stop(mut self) {
        let pid = self.child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        kill_process(pid.expect("it runs"), Signal::TERM).expect("it runs");
        self.child.wait().await.expect("it ends");
    }
}

fn command(
    programs: &Programs,
    setup: &Setup,
    server: &Server,
    node: &Credential,
    key: &str,
) -> Command {
    let mut command = Command::new(programs.minio.path());
    command
        .arg("server")
        .arg(setup.folder().join("data"))
        .arg("--certs-dir")
        .arg(setup.folder().join("minio-certs"))
        .env("HOME", setup.folder())
        .env("MINIO_BROWSER", "off")
        .env("MINIO_UPDATE", "off")
        .env("MINIO_ROOT_USER", USER)
        .env("MINIO_ROOT_PASSWORD", PASSWORD)
        .env("MINIO_KMS_KES_ENDPOINT", server.url())
        .env("MINIO_KMS_KES_API_KEY", node.api_key())
        .env("MINIO_KMS_KES_KEY_NAME", key)
        .env("MINIO_KMS_KES_CAPATH", server.certificate_file())
        .env("MINIO_KMS_AUTO_ENCRYPTION", "on")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener.local_addr().expect("it has an address").port()
}

/// `MinIO`'s client, with the server under test as `kes`.
pub(crate) struct Mc<'a> {
    programs: &'a Programs,
    folder: String,
}

impl<'a> Mc<'a> {
    pub(crate) async fn new(programs: &'a Programs, setup: &Setup, minio: &Minio) -> Self {
        let folder = setup.folder().join("mc");
        fs::create_dir_all(&folder).expect("the folder is ours");
        let mc = Self { programs, folder: folder.display().to_string() };
        mc.run(&["alias", "set", "kes", &minio.url, USER, PASSWORD]).await;
        mc
    }

    /// Runs a command and asserts that it works.
    pub(crate) async fn run(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(self.programs.mc.path());
        command.args(["--config-dir", &self.folder]).args(arguments).stdin(Stdio::null());
        finish(&mut command).await.ok()
    }
}
