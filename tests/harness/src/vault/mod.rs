//! A real `OpenBao`, as a process.

mod api;
mod audit;
mod cluster;
mod dev;
mod engine;
mod fake;
mod ports;

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;
use tempfile::TempDir;
use tokio::process::{Child, Command};

pub use api::Api;
pub use audit::Audit;
pub use cluster::Cluster;
pub use dev::DevBao;
pub use engine::{Engine, Kv, Role, rule};
pub use fake::FakeVault;

use crate::lines::Lines;
use crate::need::{Need, tool};
use crate::pki::{Authority, Credential};
use crate::program::{prepare, stopped};
use crate::relay::Relay;

/// How often a starting server is polled for its readiness, which it does not announce.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// The number of polls after which a start has failed.
const POLLS_MAX: usize = 1500;

/// Options of an `OpenBao`.
#[derive(Clone, Copy, Default)]
pub struct Options<'a> {
    /// Whether what it stores outlives its process.
    pub durable: bool,
    /// The authority that signs its certificate; without one, and without `certificate`, it speaks HTTP
    /// without TLS.
    pub authority: Option<&'a Authority>,
    /// Its certificate, instead of one that `authority` signs.
    pub certificate: Option<&'a Credential>,
    /// The authority of the certificates that clients must show.
    pub client_authority: Option<&'a Authority>,
}

impl Options<'_> {
    fn has_tls(&self) -> bool {
        self.authority.is_some() || self.certificate.is_some()
    }
}

/// An `OpenBao`, unsealed, with a relay in front of it; killed when dropped.
#[derive(Debug)]
pub struct Bao {
    need: Need,
    folder: TempDir,
    scheme: &'static str,
    relay: Relay,
    child: Option<(Child, Lines, Lines)>,
    address: SocketAddr,
    unseal_key: String,
    root: Api,
}

/// Finds the program `bao`.
pub fn bao() -> Option<Need> {
    tool("bao", Some("KES_TEST_BAO"), "OpenBao as the key store")
}

impl Bao {
    /// Starts an `OpenBao` that keeps everything in memory and speaks HTTP without TLS.
    pub async fn start(need: &Need) -> Self {
        Self::start_with(need, Options::default()).await
    }

    /// Starts an `OpenBao` with options.
    ///
    /// # Panics
    /// If it cannot be started, initialised and unsealed.
    pub async fn start_with(need: &Need, options: Options<'_>) -> Self {
        let folder = TempDir::new().expect("a temporary folder can be made");
        fs::write(folder.path().join("bao.hcl"), configuration(folder.path(), options))
            .expect("the folder is ours");
        let socket = folder.path().join("api.sock");
        let (child, address) = run(need, folder.path()).await;
        let anonymous = Api::new(&socket, "");
        let init = json!({ "secret_shares": 1, "secret_threshold": 1 });
        let init = anonymous.put("sys/init", init).await;
        let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
        let bao = Self {
            need: need.clone(),
            scheme: if options.has_tls() { "https" } else { "http" },
            relay: Relay::to(address).await,
            child: Some(child),
            address,
            unseal_key: text(&init["keys"][0]),
            root: Api::new(&socket, &text(&init["root_token"])),
            folder,
        };
        bao.unseal().await;
        bao
    }

    /// Returns a client of its API with the root token, without the relay.
    pub fn root(&self) -> &Api {
        &self.root
    }

    /// Returns its URL for key servers, whether it runs or not.
    pub fn endpoint(&self) -> String {
        format!("{}://{}", self.scheme, self.relay.address())
    }

    /// Returns the relay between it and the key server.
    pub fn relay(&self) -> &Relay {
        &self.relay
    }

    /// Reads its audit log.
    pub fn audit(&self) -> Audit {
        Audit::read(&self.folder.path().join("audit.log"))
    }

    /// Waits until its audit log is as wanted.
    ///
    /// # Panics
    /// If that does not come.
    pub async fn until(&self, is_wanted: impl Fn(&Audit) -> bool + Send) {
        for _ in 0..POLLS_MAX {
            if is_wanted(&self.audit()) {
                return;
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        panic!("OpenBao was not asked that: {:?}", self.audit());
    }

    /// Seals it.
    pub async fn seal(&self) {
        self.root.put("sys/seal", json!({})).await;
    }

    /// Unseals it and waits until it serves.
    ///
    /// # Panics
    /// If it does not.
    pub async fn unseal(&self) {
        self.root.put("sys/unseal", json!({ "key": self.unseal_key })).await;
        for _ in 0..POLLS_MAX {
            if self.root.get("sys/health").await.0 == 200 {
                return;
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        panic!("OpenBao does not serve after it was unsealed");
    }

    /// Stops its process with SIGSTOP: connections stay open, nothing is answered.
    ///
    /// # Panics
    /// If it is not running.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
        let (child, ..) = self.child.as_ref().expect("it runs");
        stopped(child);
    }

    /// Continues its process.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Ends its process as a power failure does.
    ///
    /// # Panics
    /// If it is not running.
    pub async fn kill(&mut self) {
        let (mut child, ..) = self.child.take().expect("it runs");
        child.kill().await.expect("it is ours to kill");
        self.relay.turn(None);
        self.relay.cut();
    }

    /// Runs it again on what it had stored, unsealed.
    pub async fn restart(&mut self) {
        // The socket's file outlives a process that was killed.
        let _ = fs::remove_file(self.folder.path().join("api.sock"));
        let (child, address) = run(&self.need, self.folder.path()).await;
        self.child = Some(child);
        self.address = address;
        self.unseal().await;
        self.relay.turn(Some(address));
    }

    fn signal(&self, signal: Signal) {
        let (child, ..) = self.child.as_ref().expect("it runs");
        crate::signal(child, signal);
    }
}

async fn run(need: &Need, folder: &Path) -> ((Child, Lines, Lines), SocketAddr) {
    let mut command = Command::new(need.path());
    command.args(["server", "-config"]).arg(folder.join("bao.hcl"));
    let (child, stdout, stderr) = spawn(command).await;
    let port = ports::listening(child.id().expect("it runs"), &[]);
    ((child, stdout, stderr), SocketAddr::from(([127, 0, 0, 1], port)))
}

/// Runs a command that starts an `OpenBao`, and waits until it has started.
async fn spawn(mut command: Command) -> (Child, Lines, Lines) {
    prepare(&mut command);
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let stdout = Lines::of(child.stdout.take().expect("its output is ours"));
    let stderr = Lines::of(child.stderr.take().expect("its errors are ours"));
    let started = stdout.find(|line| line.contains("server started!")).await;
    let said = || (stdout.so_far(), stderr.so_far());
    assert!(started.is_some(), "OpenBao does not start: {:?}", said());
    (child, stdout, stderr)
}

fn configuration(folder: &Path, options: Options<'_>) -> String {
    let at = |name: &str| folder.join(name).display().to_string();
    let write = |name: &str, text: String| fs::write(at(name), text).expect("the folder is ours");
    let storage = if options.durable {
        fs::create_dir(at("data")).expect("the folder is ours");
        format!(
            "storage \"raft\" {{\n path = \"{}\"\n node_id = \"n1\"\n performance_multiplier = \"1\"\n}}\n\
             cluster_addr = \"https://127.0.0.1:0\"\napi_addr = \"http://127.0.0.1:1\"\n",
            at("data")
        )
    } else {
        "storage \"inmem\" {\n}\n".to_owned()
    };
    let mut tls = " tls_disable = true\n".to_owned();
    let issued = options.authority.map(|authority| authority.issue_server(&["127.0.0.1"]));
    if let Some(server) = options.certificate.or(issued.as_ref()) {
        write("server.crt", server.chain_pem());
        write("server.key", server.key_pem());
        tls = format!(
            " tls_cert_file = \"{}\"\n tls_key_file = \"{}\"\n",
            at("server.crt"),
            at("server.key")
        );
    }
    if let Some(authority) = options.client_authority {
        write("clients.crt", authority.pem());
        tls = format!(
            "{tls} tls_require_and_verify_client_cert = true\n tls_client_ca_file = \"{}\"\n",
            at("clients.crt")
        );
    }
    format!(
        "{storage}\
         listener \"unix\" {{\n address = \"{}\"\n tls_disable = true\n}}\n\
         listener \"tcp\" {{\n address = \"127.0.0.1:0\"\n cluster_address = \"127.0.0.1:0\"\n{tls}}}\n\
         audit \"file\" \"audit\" {{\n description = \"what was asked\"\n \
         options {{\n  file_path = \"{}\"\n }}\n}}\n",
        at("api.sock"),
        at("audit.log")
    )
}
