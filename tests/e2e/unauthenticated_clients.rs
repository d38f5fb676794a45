//! Unauthenticated clients, and identities without a policy, cannot lock other clients out.

use kes_harness::{
    Credential, PROTOCOLS, Proto, Request, Server, Setup, Tls, kes, raise_open_files,
};
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;

/// More than a quarter of the 10,000 connections that the server takes by default.
const UNAUTHENTICATED: usize = 2600;
/// Files that this process and the server need for that.
const FILES: u64 = 6000;

#[tokio::test]
async fn connections_that_never_finish_a_handshake_do_not_lock_a_known_client_out() {
    raise_open_files(FILES);
    let client = Credential::generate();
    let setup = Setup::new().minio(&[&client]);
    let server = setup.start().await;
    let mut before = server.connect(&client).await;
    before.get("/v1/status").await.ok();
    let dialer = server.dial();
    let mut connections = Vec::new();
    for _ in 0..UNAUTHENTICATED {
        connections.push(dialer.tcp().await.expect("a TCP connection"));
        if connections.len() % 500 == 0 {
            before.get("/v1/status").await.ok();
        }
    }
    for protocol in PROTOCOLS {
        server.connect_over(&client, protocol).await.get("/v1/status").await.ok();
    }
    before.get("/v1/status").await.ok();
    // The oldest unauthenticated connection was closed for newer ones.
    let mut oldest = connections.swap_remove(0);
    let read = oldest.read(&mut [0; 64]).await;
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    let words = ["WARN connection closed", "peer=127.0.0.1", "clients without a policy"];
    server.log_has(&words).await;
}

#[tokio::test]
async fn few_file_descriptors_bound_connections_instead_of_locking_clients_out() {
    let setup = Setup::new();
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 512; exec \"$@\"", "sh"]).arg(kes().path());
    command.args(["server", "--addr", "127.0.0.1:0", "--config"]).arg(setup.config_file());
    let server = Server::launch(command, &setup.certificate_file()).await;
    let logged = server.stderr().find(|line| line.contains("connections are limited to 256")).await;
    assert!(logged.is_some(), "the limit of connections is not in the log");

    let dialer = server.dial();
    let mut connections = Vec::new();
    for _ in 0..600 {
        connections.push(dialer.tcp().await.expect("a TCP connection"));
    }
    for protocol in PROTOCOLS {
        let mut admin = server.connect_over(setup.admin(), protocol).await;
        admin.call("POST", "/v1/key/create/k").await;
        admin.post("/v1/key/generate/k", "{}").await.ok();
    }
}

#[tokio::test]
async fn identities_without_a_policy_do_not_lock_a_known_client_out() {
    raise_open_files(FILES);
    let (client, unknown) = (Credential::generate(), Credential::generate());
    let setup = Setup::new().minio(&[&client]);
    let server = setup.start().await;
    let mut before = server.connect(&client).await;
    before.get("/v1/status").await.ok();
    let mut connections = Vec::new();
    for _ in 0..UNAUTHENTICATED {
        let dialer = server.dial().show(&unknown);
        // Some are closed while others connect.
        if let Ok(connection) = dialer.connect().await {
            connections.push(connection);
        }
    }
    for protocol in PROTOCOLS {
        server.connect_over(&client, protocol).await.get("/v1/status").await.ok();
    }
    before.get("/v1/status").await.ok();
}

#[tokio::test]
async fn an_idle_connection_without_a_policy_is_closed_and_an_idle_client_s_is_not() {
    let (client, unknown) = (Credential::generate(), Credential::generate());
    let setup = Setup::new().minio(&[&client]);
    let server = setup.start().await;
    for proto in [Proto::H1, Proto::H2] {
        let mut known = server.connect_over(&client, (proto, Tls::V13)).await;
        known.get("/v1/status").await.ok();
        let mut idle = server.connect_over(&unknown, (proto, Tls::V13)).await;
        assert_eq!(idle.get("/v1/status").await.status, 403);
        // How it is closed does not matter; that it is does.
        let _ = idle.ended().await;
        assert!(idle.try_send(Request::new("GET", "/version")).await.is_err());
        known.get("/v1/status").await.ok();
    }
}
