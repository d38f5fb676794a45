//! Command line and configuration of a server, as operators and scripts use them.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;

use kes_harness::pki;
use kes_harness::{
    Connection, Credential, Dialer, PROTOCOLS, Proto, Server, Setup, Tls, dev_file, kes,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tokio::process::Command;

/// Connections that a server without the right to lock memory has to hold.
const CONNECTIONS: usize = 900;

#[tokio::test]
async fn row_48_older_flags_are_taken_with_a_warning_and_ignored() {
    let setup = Setup::new();
    for flags in [
        &["--auth=off"][..],
        &["--auth", "off"],
        &["--auth", "on"],
        &["--key", "/none", "--cert", "/none", "--auth=off"],
    ] {
        let mut command = setup.command();
        command.args(flags);
        let server = Server::launch(command, &setup.certificate_file()).await;
        let flag = flags[0].trim_end_matches("=off");
        let warning = server.stderr().find(|line| line.contains(flag)).await;
        assert!(warning.is_some(), "no warning about {flag}");
        server.connect(setup.admin()).await.get("/v1/status").await.ok();
        // Even --auth=on is ignored: the certificate is self-signed.
        server.stop().await;
    }
}

#[tokio::test]
async fn row_48_the_address_is_the_flag_s_else_the_configuration_s() {
    let setup = Setup::new().with(serde_json::json!({ "address": "127.0.0.1:0" }));
    let mut command = kes().command();
    command.arg("server").arg(format!("--config={}", setup.config_file().display()));
    let server = Server::launch(command, &setup.certificate_file()).await;
    server.connect(setup.admin()).await.get("/v1/status").await.ok();
    let taken = setup.with(serde_json::json!({ "address": server.address().to_string() }));
    let mut command = kes().command();
    command.args(["server", "--config"]).arg(taken.config_file());
    let Err(finished) = Server::try_launch(command, &taken.certificate_file()).await else {
        panic!("two servers on one address");
    };
    assert_eq!(finished.code, Some(1));
    assert!(finished.stderr.contains(&server.address().to_string()), "{finished:?}");
    // The flag wins over the address that is taken.
    taken.start().await.stop().await;
}

#[tokio::test]
async fn row_48_wrong_usage_is_exit_code_2_and_a_wrong_configuration_is_1() {
    for arguments in [&["server"][..], &["server", "--dev", "--config", "x"], &["server", "--no"]] {
        let finished = kes().run(arguments).await;
        assert_eq!(finished.code, Some(2), "{arguments:?}: {finished:?}");
        assert!(finished.stdout.is_empty(), "{finished:?}");
    }
    let finished = kes().run(&["server", "--config", "/nonexistent/config.yaml"]).await;
    assert_eq!(finished.code, Some(1), "{finished:?}");
    assert!(finished.stderr.starts_with("Error: "), "{finished:?}");
    assert!(finished.stderr.contains("/nonexistent/config.yaml"), "{finished:?}");
}

#[tokio::test]
async fn row_48_runs_as_uid_1000_with_little_lockable_memory() {
    let setup = Setup::new();
    let config = setup.config_file();
    // The folder of the build may be closed to others.
    let binary = setup.folder().join("kes");
    fs::copy(kes().path(), &binary).expect("the binary can be copied");
    fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)).expect("it is ours");
    let mut command = Command::new("sh");
    command
        .args(["-c", "ulimit -l 8192; ulimit -n 4096; exec \"$@\"", "sh"])
        .arg(&binary)
        .args(["server", "--addr", "127.0.0.1:0", "--config"])
        .arg(config);
    if rustix::process::geteuid().is_root() {
        give(setup.folder(), 1000);
        command.uid(1000).gid(1000);
    }
    let server = Server::launch(command, &setup.certificate_file()).await;
    let mut connections: Vec<Connection> = Vec::new();
    for _ in 0..CONNECTIONS {
        connections.push(server.connect(setup.admin()).await);
    }
    connections[0].call("POST", "/v1/key/create/k").await.ok_empty();
    for connection in &mut connections {
        connection.post("/v1/key/generate/k", "{}").await.ok();
    }
    let warning =
        server.stderr().find(|line| line.contains("MEMLOCK") || line.contains("IPC_LOCK"));
    assert!(warning.await.is_some(), "no warning that memory is not locked, or not its cure");
    drop(connections);
    server.stop().await;
}

fn give(folder: &Path, to: u32) {
    chown(folder, Some(to), Some(to)).expect("root may give files away");
    for entry in fs::read_dir(folder).expect("the folder is ours") {
        chown(entry.expect("an entry").path(), Some(to), Some(to)).expect("root may");
    }
}

#[tokio::test]
async fn row_49_the_operator_s_configuration_loads() {
    let (minio, other) = (Credential::generate(), Credential::generate());
    for admin in ["_", "disabled", "${KES_ADMIN}"] {
        let setup = Setup::new();
        let at = |name: &str| setup.folder().join(name).display().to_string();
        let text = format!(
            r"version: v1
address: :7373
admin:
  identity: {admin}
tls:
  key: {key}
  cert: {cert}
  proxy:
    identities: []
    header:
      cert: X-Tls-Client-Cert
policy:
  my-policy:
    allow:
      - /v1/api
      - /v1/key/create/*
      - /v1/key/generate/*
      - /v1/key/decrypt/*
      - /v1/key/bulk/decrypt/*
    identities:
      - ${{MINIO_KES_IDENTITY}}
cache:
  expiry:
    any: 5m0s
    unused: 20s
log:
  error: on
  audit: off
keystore:
  fs:
    path: {keys}
",
            key = at("server.key"),
            cert = at("server.crt"),
            keys = at("keys"),
        );
        let setup = setup
            .text(text)
            .variable("MINIO_KES_IDENTITY", minio.identity())
            .variable("KES_ADMIN", other.identity());
        let server = setup.start().await;
        let mut connection = server.connect(&minio).await;
        connection.get("/v1/api").await.ok();
        connection.call("POST", "/v1/key/create/my-minio-key").await.ok_empty();
        connection.post("/v1/key/generate/my-minio-key", "{}").await.ok();
        let answer = server.connect(&other).await.get("/v1/status").await;
        assert_eq!(answer.status, if admin == "${KES_ADMIN}" { 200 } else { 403 });
    }
}

#[tokio::test]
async fn row_49_an_unset_variable_or_an_unknown_field_is_refused_by_name() {
    for (part, expected) in [
        (serde_json::json!({ "admin": { "identity": "${KES_TEST_UNSET}" } }), "KES_TEST_UNSET"),
        (serde_json::json!({ "policy": { "p": { "identites": [] } } }), "identities"),
        // A section that is empty is as good as none.
        (
            serde_json::json!({ "keystore": { "azure": { "keyvault": { "endpoint": "e" } } } }),
            "keystore",
        ),
        (serde_json::json!({ "version": "v2" }), "version"),
    ] {
        let finished = Setup::new().with(part).refused().await;
        assert_eq!(finished.code, Some(1), "{finished:?}");
        assert!(finished.stderr.contains(expected), "{finished:?}");
    }
}

#[tokio::test]
async fn row_51_dev_prints_the_api_key_as_a_third_word_and_shows_its_certificate_to_any_client() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = Server::dev(folder.path()).await;
    let api_key = server.dev_api_key().await;
    assert!(api_key.starts_with("kes:v1:"), "{api_key}");
    let lines = server.stdout().so_far();
    assert_eq!(lines.iter().filter(|line| line.contains("API Key")).count(), 1, "{lines:?}");
    let admin = Credential::from_api_key(&api_key);

    // As `openssl s_client` does: no client certificate, and the chain is not checked.
    let certificate = shown_certificate(&server).await;
    for protocol in PROTOCOLS {
        for name in ["127.0.0.1", "localhost"] {
            let dialer = Dialer::new(server.address(), certificate.clone());
            let connection = dialer.show(&admin).over(protocol).name(name).connect().await;
            let mut connection = connection.expect("its own certificate is its root");
            connection.get("/v1/status").await.ok();
            let answer = connection.post("/v1/key/generate/minio-default-key", "{}").await;
            if answer.status != 200 {
                answer.refused(404, "key does not exist");
                connection.call("POST", "/v1/key/create/minio-default-key").await.ok_empty();
            }
        }
    }
    let written = dev_file(folder.path(), "server.crt");
    let written = CertificateDer::from_pem_file(&written).expect("a certificate");
    assert_eq!(written, certificate);
    let key = dev_file(folder.path(), "admin.key");
    let mode = fs::metadata(&key).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "{}", key.display());
    server.stop().await;
    assert!(!key.exists(), "the files go with the server");
}

/// The certificate that a server shows to a client without a certificate, which does not trust it.
async fn shown_certificate(server: &Server) -> CertificateDer<'static> {
    let untrusted = pki::server(&["localhost"]);
    let dialer = Dialer::new(server.address(), untrusted.certificate().clone());
    dialer.over((Proto::H1, Tls::V12)).shown_certificate().await
}
