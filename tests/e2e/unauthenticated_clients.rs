//! Strangers cannot lock known clients out.

use kes_harness::{Credential, Proto, Request, Server, Setup, Tls, WAYS, kes, raise_open_files};
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;

/// More than a quarter of the 10,000 connections that the server takes by default.
const STRANGERS: usize = 2600;
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
    let mut strangers = Vec::new();
    for _ in 0..STRANGERS {
        strangers.push(dialer.tcp().await.expect("a TCP connection"));
        if strangers.len() % 500 == 0 {
            before.get("/v1/status").await.ok();
        }
    }
    for way in WAYS {
        server.connect_over(&client, way).await.get("/v1/status").await.ok();
    }
    before.get("/v1/status").await.ok();
    // Room was made for newcomers: the oldest stranger is gone.
    let mut oldest = strangers.swap_remove(0);
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
    let told = server.stderr().find(|line| line.contains("connections are limited to 256")).await;
    assert!(told.is_some(), "nobody is told that connections are limited, or by what");

    let dialer = server.dial();
    let mut strangers = Vec::new();
    for _ in 0..600 {
        strangers.push(dialer.tcp().await.expect("a TCP connection"));
    }
    for way in WAYS {
        let mut admin = server.connect_over(setup.admin(), way).await;
        admin.call("POST", "/v1/key/create/k").await;
        admin.post("/v1/key/generate/k", "{}").await.ok();
    }
}

#[tokio::test]
async fn identities_without_a_policy_do_not_lock_a_known_client_out() {
    raise_open_files(FILES);
    let (client, stranger) = (Credential::generate(), Credential::generate());
    let setup = Setup::new().minio(&[&client]);
    let server = setup.start().await;
    let mut before = server.connect(&client).await;
    before.get("/v1/status").await.ok();
    let mut strangers = Vec::new();
    for _ in 0..STRANGERS {
        let dialer = server.dial().show(&stranger);
        // Some are shown out while they come.
        if let Ok(connection) = dialer.connect().await {
            strangers.push(connection);
        }
    }
    for way in WAYS {
        server.connect_over(&client, way).await.get("/v1/status").await.ok();
    }
    before.get("/v1/status").await.ok();
}

#[tokio::test]
async fn an_idle_stranger_is_shown_out_and_an_idle_client_is_not() {
    let (client, stranger) = (Credential::generate(), Credential::generate());
    let setup = Setup::new().minio(&[&client]);
    let server = setup.start().await;
    for proto in [Proto::H1, Proto::H2] {
        let mut known = server.connect_over(&client, (proto, Tls::V13)).await;
        known.get("/v1/status").await.ok();
        let mut idle = server.connect_over(&stranger, (proto, Tls::V13)).await;
        assert_eq!(idle.get("/v1/status").await.status, 403);
        // How it is closed does not matter; that it is does.
        let _ = idle.ended().await;
        assert!(idle.try_send(Request::new("GET", "/version")).await.is_err());
        known.get("/v1/status").await.ok();
    }
}
