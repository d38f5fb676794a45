//! Tests version 2 of the K/V engine against nodes that return different responses.

use kes_config::KvVersion;

use super::*;
use crate::fake::{self, FakeResponse, Server};

const KEY: &str = "GET /v1/kv/data/key?version=1";

fn absent() -> FakeResponse {
    fake::json(404, "", r#"{"errors":[]}"#)
}

fn mount_of_version_2() -> FakeResponse {
    let mount = r#"{"data":{"path":"kv/","type":"kv","options":{"version":"2"}}}"#;
    fake::json(200, "", mount)
}

/// Starts a node without keys, whose leader response is `leader`.
async fn node(leader: String) -> (Server, Kv2) {
    let server = Server::start(move |line, _| match line {
        "PUT /v1/auth/approle/login" => fake::token(),
        "GET /v1/sys/leader" => fake::json(200, "", &leader),
        line if line.contains("/kv/") && !line.contains("/mounts/") => absent(),
        _ => mount_of_version_2(),
    })
    .await;
    let session = Arc::new(server.session());
    session.refresher.attempt().await.unwrap();
    let mount = Mount::new(session, "kv".to_owned(), KvVersion::V2, String::new());
    (server, Kv2::new(Arc::new(mount)))
}

fn standby_of(active: &Server) -> String {
    let port = active.address.port();
    format!(r#"{{"ha_enabled":true,"is_self":false,"leader_address":"http://localhost:{port}/"}}"#)
}

async fn read(kv: &Kv2) -> Result<Option<Secret>, VaultError> {
    kv.read(&KeyName::parse("key").unwrap(), crate::http::deadline()).await
}

#[tokio::test]
async fn a_standby_s_word_that_a_key_is_not_there_is_checked_with_the_active_node() {
    let active = Server::start(|line, _| match line {
        KEY => fake::json(200, "", r#"{"data":{"data":{"key":"v"},"metadata":{"version":1}}}"#),
        _ => absent(),
    })
    .await;
    let (_standby, kv) = node(standby_of(&active)).await;
    assert_eq!(read(&kv).await.unwrap().unwrap().expose(), b"v");

    let empty = Server::start(|_, _| absent()).await;
    let (_standby, kv) = node(standby_of(&empty)).await;
    assert!(read(&kv).await.unwrap().is_none());
    assert!(empty.seen().iter().any(|request| request[0] == KEY));
}

#[tokio::test]
async fn without_an_active_node_to_ask_nothing_is_said_to_be_absent() {
    for leader in [
        r#"{"ha_enabled":true,"is_self":false,"leader_address":""}"#,
        r#"{"ha_enabled":true,"is_self":false,"leader_address":"http://127.0.0.1:1"}"#,
    ] {
        let (_standby, kv) = node(leader.to_owned()).await;
        assert!(read(&kv).await.unwrap_err().is_transient(), "{leader}");
    }
    for leader in [r#"{"ha_enabled":false}"#, r#"{"ha_enabled":true,"is_self":true}"#] {
        let (_single, kv) = node(leader.to_owned()).await;
        assert!(read(&kv).await.unwrap().is_none(), "{leader}");
    }
}
