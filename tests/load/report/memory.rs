//! Resident memory: with keys in the cache, and of connections that do nothing.

use std::time::Duration;

use kes_harness::{Connection, Credential, Proto, Server, Setup, Tls};
use tokio::time::sleep;

use super::Bench;
use super::table::Row;
use crate::figure::real;
use crate::operation::{KEY, generate};
use crate::process::{megabytes, without_locking};
use crate::scene;
use crate::wire::Wire;

/// Keys in the cache.
const KEYS: usize = 1000;

/// Idle connections that count; as many are there before, which take what the start has left.
const CONNECTIONS: usize = 500;

/// How long a server has to come to rest.
const REST: Duration = Duration::from_millis(200);

pub(super) async fn measure(bench: &Bench) -> Vec<Row> {
    let who = Credential::generate();
    let setup = scene::setup(&who, 100);
    // Makes the key.
    scene::ours(bench.places, &setup).await.kill().await;
    let names: Vec<String> = (0..KEYS).map(|number| format!("{KEY}-{number}")).collect();
    scene::copies(&setup, &names);
    let mut rows = Vec::new();
    for is_locked in [false, true] {
        if is_locked && !rustix::process::geteuid().is_root() {
            continue;
        }
        let server = start(bench, &setup, is_locked).await;
        let begin = megabytes(server.pid(), "VmRSS");
        use_all(&server, &who, &names).await;
        let locked = if is_locked { ", memory locked" } else { "" };
        let what = format!("resident with 1,000 keys cached{locked}");
        let row = Row::new(&what, megabytes(server.pid(), "VmRSS"), "MB").at_most(12.0);
        rows.push(row.also(format!("{begin:.1} MB after start")));
        server.kill().await;
    }
    for (what, proto, max) in [
        ("resident per idle h2 connection", Proto::H2, 40.0),
        ("resident per idle HTTP/1.1 connection", Proto::H1, 28.0),
    ] {
        let server = start(bench, &setup, false).await;
        rows.push(Row::new(what, idle(&server, &who, proto).await, "kB").at_most(max));
        server.kill().await;
    }
    rows
}

/// A server whose memory is locked if root may lock it, or as an ordinary user has it.
async fn start(bench: &Bench, setup: &Setup, is_locked: bool) -> Server {
    let command = setup.command();
    let is_root = rustix::process::geteuid().is_root();
    let command = if is_root && !is_locked { without_locking(&command) } else { command };
    scene::started(bench.places.pin(command), setup).await
}

async fn use_all(server: &Server, who: &Credential, names: &[String]) {
    let mut wire = Wire::open(&server.dial().show(who), Proto::H2).await;
    for name in names {
        assert_eq!(wire.send(&generate(name)).await.0, 200, "{name}");
    }
    drop(wire);
    sleep(REST).await;
}

/// In kB.
async fn idle(server: &Server, who: &Credential, proto: Proto) -> f64 {
    let mut open = Vec::new();
    connections(server, who, proto, &mut open).await;
    let before = megabytes(server.pid(), "VmRSS");
    connections(server, who, proto, &mut open).await;
    let after = megabytes(server.pid(), "VmRSS");
    (after - before) * 1000.0 / real(CONNECTIONS as u64)
}

/// Opens connections that have had one answer.
async fn connections(server: &Server, who: &Credential, proto: Proto, open: &mut Vec<Connection>) {
    for _ in 0..CONNECTIONS {
        let mut connection = server.connect_over(who, (proto, Tls::V13)).await;
        assert_eq!(connection.get("/v1/status").await.status, 200);
        open.push(connection);
    }
    sleep(REST).await;
}
