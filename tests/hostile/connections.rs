//! One client's connections do not use up the connection limit of others.

use std::net::{IpAddr, Ipv4Addr};

use kes_harness::{Server, Setup, kes, measured};
use serde_json::json;
use tokio::process::Command;

use crate::client::newcomers;
use crate::load::hold;
use crate::process::{Fixture, MIB, exclusive};

/// Where the hostile client comes from.
const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 3));

/// Connections at a time, with 512 descriptors.
const PLACES: usize = 256;

/// Starts a server that has so few descriptors that it takes 256 connections.
async fn start_small(setup: &Setup) -> Server {
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 512; exec \"$@\"", "sh"]).arg(kes().path());
    command.args(["server", "--addr", "127.0.0.1:0", "--config"]).arg(setup.config_file());
    Server::launch(command, &setup.certificate_file()).await
}

/// One client opens `held` connections and keeps what it gets; another one, the admin and a client
/// without a policy get in, and stay.
async fn held(fixture: Fixture, held: usize) {
    let hostile = fixture.server.dial().show(&fixture.hostile);
    let name = format!("{held} connections of one client");
    let load = hold::start(&hostile, ELSEWHERE, held);
    load.counters().reached("tried", 5 * held).await;
    measured(&format!("{name}: {}", load.counters()));

    let dialer = fixture.server.dial().show(&fixture.client);
    newcomers(&dialer, 20, &name).await;
    // As many at a time as one client may have, and none of them is evicted.
    let mut connections = Vec::new();
    for _ in 0..PLACES / 4 {
        connections.push(dialer.connect().await.expect("a connection"));
    }
    let mut admin = fixture.server.connect(fixture.setup.admin()).await;
    let mut unknown = fixture.server.connect(&fixture.unknown).await;
    assert_eq!(unknown.get("/v1/status").await.status, 403);
    for connection in &mut connections {
        connection.get("/v1/status").await.ok();
    }
    admin.get("/v1/status").await.ok();
    // A quarter is the hostile client's, and as many are ours.
    fixture.descriptors_return(PLACES / 4 + connections.len() + 2, &name).await;
    drop((connections, admin, unknown));
    load.stop();
    fixture.descriptors_return(0, &name).await;
    fixture.memory_returns(16 * MIB, &name).await;
    fixture.stop("no load").await;
}

#[tokio::test]
async fn one_client_with_all_connections_but_one_locks_no_client_out() {
    let _turn = exclusive().await;
    held(Fixture::with(Setup::new(), start_small).await, PLACES - 1).await;
}

#[tokio::test]
async fn one_client_that_opens_more_connections_than_there_are_locks_no_client_out() {
    let _turn = exclusive().await;
    held(Fixture::with(Setup::new(), start_small).await, PLACES + 20).await;
}

#[tokio::test]
async fn one_client_with_all_configured_connections_but_one_locks_no_client_out() {
    let _turn = exclusive().await;
    let setup = Setup::new().with(json!({ "limits": { "connections": PLACES } }));
    held(Fixture::new(setup).await, PLACES - 1).await;
}

/// A whole cluster may be one identity: an operator can let it have everything.
#[tokio::test]
async fn one_client_may_be_allowed_all_connections() {
    let _turn = exclusive().await;
    let limits = json!({ "connections": PLACES, "connections_per_identity": 200 });
    let fixture = Fixture::new(Setup::new().with(json!({ "limits": limits }))).await;
    let load = hold::start(&fixture.server.dial().show(&fixture.hostile), ELSEWHERE, 200);
    load.counters().reached("held", 200).await;
    newcomers(&fixture.server.dial().show(&fixture.client), 20, "200 connections of one client")
        .await;
    assert_eq!(load.counters().of("ended"), 0, "{}", load.counters());
    load.stop();
    fixture.stop("no load").await;
}
