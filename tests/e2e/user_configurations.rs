//! Configurations of KES users, reduced to what mattered in each, with more inputs of the same kinds.
//! `PORT`, `VAULT` and `CLIENT_ID` in `tests/vectors/configurations` are filled in by a test.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use kes_harness::pki::{self, Authority};
use kes_harness::proxy::tunnel::Tunnel;
use kes_harness::proxy::{Fault, Proxy, Reply};
use kes_harness::repository;
use kes_harness::{Credential, Finished, Relay, Request, Server, finish, kes};
use rcgen::{BasicConstraints, ExtendedKeyUsagePurpose, IsCa, date_time_ymd};
use tempfile::TempDir;
use tokio::process::Command;

/// Names of a Vault, one of which leads nowhere but through a proxy.
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "vault.corp.invalid"];

const LOGIN: &str = "/v1/auth/approle/login";

/// A folder with a server's certificate and a configuration of users'.
struct Deployment {
    folder: TempDir,
    text: String,
}

impl Deployment {
    fn new(vector: &str) -> Self {
        let path = repository().join("tests/vectors/configurations").join(vector);
        let text = fs::read_to_string(path).expect("the configuration is there");
        let deployment = Self { folder: TempDir::new().expect("a temporary folder"), text };
        let server = pki::server(&NAMES);
        deployment.write("server.key", &server.key_pem());
        deployment.write("server.crt", &server.chain_pem());
        deployment.fill("PORT", "0")
    }

    fn fill(mut self, placeholder: &str, value: &str) -> Self {
        assert!(self.text.contains(placeholder), "no {placeholder}: {}", self.text);
        self.text = self.text.replace(placeholder, value);
        self
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.folder.path().join(name);
        fs::write(&path, text).expect("the folder is ours");
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("the file is ours");
    }

    /// What starts a server, in the folder and without the machine's environment.
    fn command(&self) -> Command {
        self.write("config.yaml", &self.text);
        let mut command = kes().command();
        command
            .args(["server", "--config", "config.yaml"])
            .current_dir(self.folder.path())
            .env_clear();
        command
    }

    async fn start(&self) -> Server {
        self.start_with(&[]).await
    }

    async fn start_with(&self, variables: &[(&str, &str)]) -> Server {
        let mut command = self.command();
        command.envs(variables.iter().copied());
        Server::launch(command, &self.folder.path().join("server.crt")).await
    }
}

/// A Vault that is away: connections end at once.
async fn closed() -> Relay {
    let relay = Relay::to(([127, 0, 0, 1], 9).into()).await;
    relay.turn(None);
    relay
}

/// Makes it answer every request as a Vault answers a login.
fn like_vault(proxy: &Proxy) {
    let body = r#"{"initialized":true,"sealed":false,"standby":false,"data":{"keys":[]},
        "auth":{"client_token":"t","lease_duration":3600,"renewable":true}}"#;
    proxy.inject(Fault::Answer(Reply::new(200, "application/json", body)), |_| true);
}

async fn vault(certificate: &Credential) -> Proxy {
    let proxy = Proxy::with_certificate(([127, 0, 0, 1], 9).into(), certificate).await;
    like_vault(&proxy);
    proxy
}

fn port(address: SocketAddr) -> String {
    address.port().to_string()
}

/// Starts a server that connects to its Vault, and returns its log. Whether it accepts the rest of what
/// these say does not matter here.
async fn log_of_start(command: Command) -> String {
    match Server::try_launch(command, Path::new("")).await {
        Ok(server) => server.stderr().so_far().join("\n"),
        Err(finished) => finished.stderr,
    }
}

/// The warnings of a log that have these words.
fn warnings(log: &[String], words: &str) -> usize {
    log.iter().filter(|line| line.contains(" WARN ") && line.contains(words)).count()
}

#[tokio::test]
async fn f01_fields_of_kes_s_guides_that_do_nothing_load_with_a_warning() {
    let approle = "approle.retry";
    let kubernetes = "kubernetes.retry";
    for (vector, from, to, deployment) in [
        ("F01-approle.yaml", "retry: 15s", "retry: 15s", approle),
        ("F01-approle.yaml", "retry: 15s", "retry: 3", approle),
        ("F01-approle.yaml", "retry: 15s", "retry: \"never\"", approle),
        ("F01-kubernetes.yaml", "retry:", "retry:", kubernetes),
        ("F01-kubernetes.yaml", "retry:", "retry: off", kubernetes),
        ("F01-kubernetes.yaml", "retry:", "retry: -1.5", kubernetes),
        ("F01-approle.yaml", "version: v1\n", "version: v1\nenclave: default\n", "enclave"),
    ] {
        let vault = closed().await;
        let setup = Deployment::new(vector).fill("VAULT", &port(vault.address())).fill(from, to);
        let server = setup.start().await;
        server.log_has(&[" WARN ", deployment]).await;
        let log = server.stderr().so_far();
        assert_eq!(warnings(&log, deployment), 1, "{to}: {log:#?}");
        server.stop().await;
    }
}

#[tokio::test]
async fn f02_a_vault_whose_own_certificate_is_tls_ca_is_trusted() {
    let marked = pki::server_marked_ca(&NAMES);
    let unmarked = pki::server_with(&NAMES, |params| params.is_ca = IsCa::ExplicitNoCa);
    let authority = Authority::new();
    let issued = authority.issue_server(&NAMES);
    for (certificate, trusted) in [
        (&issued, authority.pem()),
        (&issued, issued.chain_pem()),
        (&marked, marked.chain_pem()),
        (&unmarked, unmarked.chain_pem()),
    ] {
        let vault = vault(certificate).await;
        let setup =
            Deployment::new("F02-vault-selfsigned.yaml").fill("VAULT", &port(vault.address()));
        setup.write("vault.crt", &trusted);
        let log = log_of_start(setup.command()).await;
        assert!(vault.count(|asked| asked.path == LOGIN) > 0, "{log}");
    }
}

#[tokio::test]
async fn f02_what_is_wrong_with_such_a_certificate_is_still_refused() {
    let like = |names: &[&str], from: i32, until: i32| {
        pki::server_with(names, |params| {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.extended_key_usages.clear();
            params.not_before = date_time_ymd(from, 1, 1);
            params.not_after = date_time_ymd(until, 1, 1);
        })
    };
    let (genuine, forged) = (like(&NAMES, 2000, 4000), like(&NAMES, 2000, 4000));
    let elsewhere = like(&["vault.example.com"], 2000, 4000);
    let expired = like(&NAMES, 2000, 2001);
    let client = pki::server_with(&NAMES, |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    });
    for (shown, trusted) in
        [(&forged, &genuine), (&elsewhere, &elsewhere), (&expired, &expired), (&client, &client)]
    {
        let vault = vault(shown).await;
        let setup =
            Deployment::new("F02-vault-selfsigned.yaml").fill("VAULT", &port(vault.address()));
        setup.write("vault.crt", &trusted.chain_pem());
        let server = setup.start().await;
        server.log_has(&["Vault cannot be used now", "certificate"]).await;
        let log = server.stderr().so_far();
        assert!(!log.iter().any(|line| line.contains("Other(")), "{log:#?}");
        assert_eq!(vault.count(|_| true), 0, "{log:#?}");
        server.stop().await;
    }
}

/// Waits for the warning about a refused client; it says who it was.
async fn warned(server: &Server, words: &str) {
    let is_it = |line: &str| {
        line.contains(" WARN ")
            && line.contains("127.0.0.1")
            && line.to_lowercase().contains(words)
            && !line.contains("Other(")
    };
    let found = server.stderr().find(is_it).await;
    assert!(found.is_some(), "'{words}' is not in the log: {:#?}", server.stderr().so_far());
}

/// Sends a request as a client that is refused, in the handshake or after it.
async fn asks(server: &Server, client: Option<&Credential>) -> Option<u16> {
    let dialer = match client {
        Some(client) => server.dial().show(client),
        None => server.dial(),
    };
    // With TLS 1.3 the client believes that all is well until it reads.
    let mut connection = dialer.connect().await.ok()?;
    connection.try_send(Request::new("GET", "/v1/status")).await.ok().map(|answer| answer.status)
}

#[tokio::test]
async fn f05_clients_that_are_refused_in_the_handshake_are_in_the_default_log() {
    let (authority, other) = (Authority::new(), Authority::new());
    let client = authority.issue();
    let alien = Credential::generate();
    for refused in [Some(&alien), Some(&other.issue()), Some(&authority.issue_until(2001)), None] {
        let setup = Deployment::new("F05-mtls.yaml").fill("CLIENT_ID", client.identity());
        setup.write("ca.crt", &authority.pem());
        let server = setup.start().await;
        assert_eq!(asks(&server, Some(&client)).await, Some(200));
        let log = server.stderr().so_far();
        assert_eq!(warnings(&log, "certificate"), 0, "{log:#?}");
        assert_eq!(asks(&server, refused).await, None);
        warned(&server, "certificate").await;
        server.stop().await;
    }
}

#[tokio::test]
async fn f05_a_ca_s_certificate_in_place_of_a_client_s_is_in_the_default_log() {
    let authority = Authority::new();
    let client = authority.issue();
    let second = client.with_chain(&[client.certificate(), Credential::generate().certificate()]);
    for refused in [
        authority.as_client(&[authority.certificate()]),
        authority.as_client(&[authority.certificate(), client.certificate()]),
        second,
    ] {
        let setup = Deployment::new("F05-noauth.yaml");
        let server = setup.start().await;
        assert_eq!(asks(&server, Some(&refused)).await, Some(400));
        warned(&server, "certificate").await;
        server.stop().await;
    }
}

#[tokio::test]
async fn f06_vault_is_reached_by_the_proxy_of_the_environment() {
    let authority = Authority::new();
    let certificate = authority.issue_server(&NAMES);
    for variable in ["HTTPS_PROXY", "https_proxy"] {
        let vault = vault(&certificate).await;
        let tunnel = Tunnel::to(vault.address()).await;
        let port = port(vault.address());
        let setup = Deployment::new("F06-vault-by-proxy.yaml").fill("VAULT", &port);
        setup.write("ca.crt", &authority.pem());
        let mut command = setup.command();
        command.env(variable, format!("http://{}", tunnel.address()));
        let log = log_of_start(command).await;
        assert!(vault.count(|asked| asked.path == LOGIN) > 0, "{variable}: {log}");
        let name = format!("vault.corp.invalid:{port}");
        let seen = tunnel.seen();
        assert!(!seen.is_empty() && seen.iter().all(|to| *to == name), "{seen:?}");
    }
}

#[tokio::test]
async fn f06_vault_without_tls_is_reached_by_its_own_proxy() {
    let proxy = Proxy::to(([127, 0, 0, 1], 9).into()).await;
    like_vault(&proxy);
    let setup = Deployment::new("F06-vault-by-proxy.yaml")
        .fill("https://vault.corp.invalid:VAULT", "http://vault.corp.invalid:8200")
        .fill("    tls: { ca: ca.crt }\n", "");
    let mut command = setup.command();
    command.env("HTTP_PROXY", proxy.url());
    let log = log_of_start(command).await;
    let asked = proxy.asked();
    let login = asked.iter().find(|asked| asked.path.ends_with(LOGIN));
    let login = login.unwrap_or_else(|| panic!("not asked: {log}"));
    assert_eq!(login.header("host"), "vault.corp.invalid:8200");
    let warning = log.lines().find(|line| line.contains("keystore.vault.endpoint: is plain HTTP"));
    let warning = warning.unwrap_or_else(|| panic!("not warned about: {log}"));
    assert!(warning.contains("WARN") && warning.contains("write https://"), "{warning}");
}

#[tokio::test]
async fn f06_no_proxy_is_obeyed() {
    let authority = Authority::new();
    for variable in ["NO_PROXY", "no_proxy"] {
        for exception in ["vault.corp.invalid", ".corp.invalid", "*"] {
            let tunnel = Tunnel::to(([127, 0, 0, 1], 9).into()).await;
            let setup = Deployment::new("F06-vault-by-proxy.yaml").fill("VAULT", "8200");
            setup.write("ca.crt", &authority.pem());
            let url = format!("http://{}", tunnel.address());
            let variables = [("HTTPS_PROXY", url.as_str()), (variable, exception)];
            let server = setup.start_with(&variables).await;
            server.log_has(&["Vault cannot be used now"]).await;
            assert_eq!(tunnel.seen(), [""; 0], "{variable}={exception}");
            server.stop().await;
        }
    }
}

/// Runs `kes` in an empty folder, as a script does.
async fn run(arguments: &[&str]) -> (Finished, TempDir) {
    let folder = TempDir::new().expect("a temporary folder can be made");
    let finished = finish(kes().command().args(arguments).current_dir(folder.path())).await;
    (finished, folder)
}

/// The line below a heading and an empty line, without its three blanks; an empty line follows.
fn below<'a>(shown: &'a str, heading: &str) -> &'a str {
    let lines: Vec<&str> = shown.lines().collect();
    let at = lines.iter().position(|line| *line == heading);
    let at = at.unwrap_or_else(|| panic!("no '{heading}': {shown}"));
    assert_eq!((lines[at + 1], lines[at + 3]), ("", ""), "{shown}");
    let value = lines[at + 2].strip_prefix("   ").unwrap_or_else(|| panic!("no blanks: {shown}"));
    assert!(!value.starts_with(' '), "{shown}");
    value
}

#[tokio::test]
async fn f08_scripts_find_the_api_key_and_the_identity() {
    let files = ["identity", "new", "--force", "--key", "n.key", "--cert", "n.crt", "n"];
    let names = ["identity", "new", "--key", "n.key", "--cert", "n.crt", "--dns", "a.example.com"];
    for arguments in [&files[..], &names, &["identity", "new"], &["identity", "new", "minio"]] {
        let (finished, folder) = run(arguments).await;
        let shown = finished.ok();
        let key = below(&shown, "Your API key:");
        assert!(key.starts_with("kes:v1:"), "{shown}");
        // What `awk '/kes:v1:/{print $1}' | head -1` finds.
        let first = shown.lines().find(|line| line.contains("kes:v1:"));
        assert_eq!(first.and_then(|line| line.split_whitespace().next()), Some(key));
        let identity = below(&shown, "Your Identity:");
        assert_eq!(identity, Credential::from_api_key(key).identity());
        let last = shown.lines().rfind(|line| !line.is_empty()).expect("a line");
        assert!(last.starts_with("    ") && last.contains("kes identity of "), "{shown}");
        if arguments.contains(&"--cert") {
            let file = folder.path().join("n.crt").display().to_string();
            assert_eq!(kes().run(&["identity", "of", &file]).await.ok(), identity);
        }
    }
}

#[tokio::test]
async fn f11_short_forms_that_kes_has() {
    let version = run(&["--version"]).await.0.ok();
    assert!(!version.is_empty());
    assert_eq!(run(&["-v"]).await.0.ok(), version);
    for command in [&["server"][..], &["key", "ls"], &["identity", "new"]] {
        let help = run(&[command, &["--help"]].concat()).await.0.ok();
        assert_eq!(run(&[&["help"], command].concat()).await.0.ok(), help, "{command:?}");
    }
}
