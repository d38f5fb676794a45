//! Setup of servers: folder, certificate and configuration.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use crate::pki::{self, Credential};
use crate::program::{Finished, kes};
use crate::server::Server;

/// What policy `minio` allows.
const MINIO_ALLOW: [&str; 11] = [
    "/v1/status",
    "/v1/key/create/my-*",
    "/v1/key/import/my-*",
    "/v1/key/generate/my-*",
    "/v1/key/decrypt/my-*",
    "/v1/key/encrypt/my-*",
    "/v1/key/describe/my-*",
    "/v1/key/hmac/my-*",
    "/v1/key/list/*",
    "/v1/key/delete/my-*",
    "/v1/metrics",
];

/// A folder of its own with a key directory, a server certificate and a configuration. Several
/// servers may be started from one, at once or one after the other.
#[derive(Debug)]
pub struct Setup {
    folder: TempDir,
    admin: Credential,
    config: Value,
    /// The configuration as text, instead of `config`.
    text: Option<String>,
    environment: Vec<(String, String)>,
    /// Whether the server gets no environment but that.
    is_isolated: bool,
}

impl Setup {
    /// Makes a setup with a new admin, an empty key directory and no policies.
    ///
    /// # Panics
    /// If the folder cannot be made.
    pub fn new() -> Self {
        let folder = TempDir::new().expect("a temporary folder can be made");
        let admin = Credential::generate();
        let server = pki::server(&["localhost", "127.0.0.1"]);
        let at = |name: &str| folder.path().join(name);
        write(&at("server.key"), server.key_pem());
        write(&at("server.crt"), server.chain_pem());
        fs::create_dir(at("keys")).expect("the folder is ours");
        let config = json!({
            "version": "v1",
            "admin": { "identity": admin.identity() },
            "tls": { "key": at("server.key"), "cert": at("server.crt") },
            "keystore": { "fs": { "path": at("keys") } },
        });
        Self { folder, admin, config, text: None, environment: Vec::new(), is_isolated: false }
    }

    /// Adds to the configuration: objects are merged, anything else replaces what was there.
    #[must_use]
    pub fn with(mut self, part: Value) -> Self {
        merge(&mut self.config, part);
        self
    }

    /// Verifies clients' certificates against these: `tls.auth: on`.
    ///
    /// # Panics
    /// If they cannot be written.
    #[must_use]
    pub fn with_client_ca(self, certificates: &str) -> Self {
        let file = self.folder.path().join("ca.crt");
        write(&file, certificates);
        self.with(json!({ "tls": { "auth": "on", "ca": file } }))
    }

    /// Switches the cache off.
    #[must_use]
    pub fn uncached(self) -> Self {
        self.with(json!({ "cache": { "expiry": { "any": "0s" } } }))
    }

    /// Keeps keys in Vault: the section `keystore.vault`, instead of the key directory.
    #[must_use]
    pub fn vault(mut self, vault: Value) -> Self {
        self.config["keystore"] = json!({ "vault": vault });
        self
    }

    /// Keeps keys in AWS: the section `keystore.aws.secretsmanager`, instead of the key directory.
    /// The server gets no environment but what is set here: the machine's own may lead to AWS.
    #[must_use]
    pub fn aws(mut self, secretsmanager: Value) -> Self {
        self.config["keystore"] = json!({ "aws": { "secretsmanager": secretsmanager } });
        self.is_isolated = true;
        self
    }

    /// Adds a policy.
    #[must_use]
    pub fn policy(self, name: &str, allow: &[&str], deny: &[&str], who: &[&Credential]) -> Self {
        let identities: Vec<&str> = who.iter().map(|credential| credential.identity()).collect();
        self.with(json!({
            "policy": { name: { "allow": allow, "deny": deny, "identities": identities } }
        }))
    }

    /// Adds the policy that `MinIO`'s guides give, for keys `my-*`, as `minio`.
    #[must_use]
    pub fn minio(self, who: &[&Credential]) -> Self {
        self.policy("minio", &MINIO_ALLOW, &[], who)
    }

    /// Uses a guide's section `keystore` as the rest of the configuration file, without a cache.
    #[must_use]
    pub fn keystore_text(self, keystore: &str) -> Self {
        let (folder, admin) = (self.folder().display().to_string(), self.admin().identity());
        let head = format!(
            "admin:\n  identity: {admin}\n\
             tls:\n  key: {folder}/server.key\n  cert: {folder}/server.crt\n\
             cache:\n  expiry:\n    any: 0s\n"
        );
        self.text(head + keystore)
    }

    /// Uses this text as the configuration file.
    #[must_use]
    pub fn text(mut self, text: String) -> Self {
        self.text = Some(text);
        self
    }

    /// Sets an environment variable for the server.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Puts a stored key into the key directory, before a server is started or while it runs.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn store(&self, name: &str, value: impl AsRef<[u8]>) {
        write(&self.keys().join(name), value);
    }

    /// Returns the admin's credential.
    pub fn admin(&self) -> &Credential {
        &self.admin
    }

    /// Returns the folder of all files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Returns the key directory.
    pub fn keys(&self) -> PathBuf {
        self.folder.path().join("keys")
    }

    /// Returns the PEM file of the server's certificate.
    pub fn certificate_file(&self) -> PathBuf {
        self.folder.path().join("server.crt")
    }

    /// Writes the configuration file, and returns its path.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn config_file(&self) -> PathBuf {
        let path = self.folder.path().join("config.yaml");
        // JSON is YAML.
        let text = self.text.clone().unwrap_or_else(|| self.config.to_string());
        write(&path, text);
        path
    }

    /// Returns the command that starts a server on a free port.
    pub fn command(&self) -> Command {
        let mut command = kes().command();
        if self.is_isolated {
            command.env_clear();
        }
        command
            .args(["server", "--addr", "127.0.0.1:0", "--config"])
            .arg(self.config_file())
            .envs(self.environment.iter().cloned());
        command
    }

    /// Starts a server.
    pub async fn start(&self) -> Server {
        Server::launch(self.command(), &self.certificate_file()).await
    }

    /// Starts a server, and creates a key of this name.
    pub async fn start_with_key(&self, name: &str) -> Server {
        let server = self.start().await;
        let mut admin = server.connect(&self.admin).await;
        admin.call("POST", &format!("/v1/key/create/{name}")).await.ok_empty();
        server
    }

    /// Asserts that a server does not start, and says how it ended.
    ///
    /// # Panics
    /// If it starts.
    pub async fn refused(&self) -> Finished {
        match Server::try_launch(self.command(), &self.certificate_file()).await {
            Err(finished) => finished,
            Ok(server) => panic!("it started at {}", server.address()),
        }
    }
}

impl Default for Setup {
    fn default() -> Self {
        Self::new()
    }
}

fn write(path: &Path, content: impl AsRef<[u8]>) {
    fs::write(path, content).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

fn merge(into: &mut Value, part: Value) {
    match (into, part) {
        (Value::Object(into), Value::Object(part)) => {
            for (key, value) in part {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, part) => *into = part,
    }
}
