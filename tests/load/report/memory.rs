//! Measures resident memory: with keys in the cache, and of idle connections.

use std::time::Duration;

use kes_harness::{Connection, Credential, Proto, Server, Setup, Tls};
use tokio::time::sleep;

use super::Bench;
use super::table::Row;
use crate::number::float;
use crate::operation::{KEY, generate};
use crate::process::{megabytes, without_memory_locking};
use crate::scenario;
use crate::wire::Wire;

/// Number of keys in the cache.
const KEYS: usize = 1000;

/// Idle connections that are measured. As many are opened before, which use the memory that the
/// start has freed.
const CONNECTIONS: usize = 500;

/// Time that a server has to become idle.
const SETTLE_DELAY: Duration = Duration::from_millis(200);

pub(super) async fn measure(bench: &Bench) -> Vec<Row> {
    let credential = Credential::generate();
    let setup = scenario::setup(&credential, 100);
    // Creates the key.
    scenario::start_kes(bench.pinning, &setup).await.kill().await;
    let names: Vec<String> = (0..KEYS).map(|number| format!("{KEY}-{number}")).collect();
    scenario::copy_key(&setup, &names);
    let mut rows = Vec::new();
    for is_locked in [false, true] {
        if is_locked && !rustix::process::geteuid().is_root() {
            continue;
        }
        let server = start(bench, &setup, is_locked).await;
        let begin = megabytes(server.pid(), "VmRSS");
        use_all(&server, &credential, &names).await;
        let locked = if is_locked { ", memory locked" } else { "" };
        let what = format!("resident with 1,000 keys cached{locked}");
        let row = Row::new(&what, megabytes(server.pid(), "VmRSS"), "MB").at_most(16.0);
        rows.push(row.also(format!("{begin:.1} MB after start")));
        server.kill().await;
    }
    for (what, proto, max) in [
        ("resident per idle h2 connection", Proto::H2, 40.0),
        ("resident per idle HTTP/1.1 connection", Proto::H1, 28.0),
    ] {
        let server = start(bench, &setup, false).await;
        rows.push(Row::new(what, idle(&server, &credential, proto).await, "kB").at_most(max));
        server.kill().await;
    }
    rows
}

/// Starts a server with locked memory, or with the limits of an ordinary user.
async fn start(bench: &Bench, setup: &Setup, is_locked: bool) -> Server {
    let command = setup.command();
    let is_root = rustix::process::geteuid().is_root();
    let command = if is_root && !is_locked { without_memory_locking(&command) } else { command };
    scenario::start(bench.pinning.pin(command), setup).await
}

async fn use_all(server: &Server, credential: &Credential, names: &[String]) {
    let mut wire = Wire::open(&server.dial().show(credential), Proto::H2).await;
    for name in names {
        assert_eq!(wire.send(&generate(name)).await.0, 200, "{name}");
    }
    drop(wire);
    sleep(SETTLE_DELAY).await;
}

/// Measures the memory of an idle connection, in kB.
async fn idle(server: &Server, credential: &Credential, proto: Proto) -> f64 {
    let mut open = Vec::new();
    connections(server, credential, proto, &mut open).await;
    let before = megabytes(server.pid(), "VmRSS");
    connections(server, credential, proto, &mut open).await;
    let after = megabytes(server.pid(), "VmRSS");
    (after - before) * 1000.0 / float(CONNECTIONS as u64)
}

/// Opens connections and sends one request over each.
async fn connections(
    server: &Server,
    credential: &Credential,
    proto: Proto,
    open: &mut Vec<Connection>,
) {
    for _ in 0..CONNECTIONS {
        let mut connection = server.connect_over(credential, (proto, Tls::V13)).await;
        assert_eq!(connection.get("/v1/status").await.status, 200);
        open.push(connection);
    }
    sleep(SETTLE_DELAY).await;
}
