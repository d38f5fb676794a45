//! Memory of a burst of requests is returned to the system.

use std::time::Duration;

use kes_harness::{
    Connection, Feed, Payload, Pending, Proto, Request, Server, Setup, Tls, b64, measured, skipped,
    status,
};
use rustix::process::geteuid;
use serde_json::json;
use tokio::process::Command;
use tokio::time::timeout;

/// Requests of a burst that are in flight at the same time, each on a connection of its own.
const REQUESTS: usize = 48;

/// What each of them has encrypted, in bytes: with its base64 the body is nearly 1 MiB.
const PLAINTEXT_LEN: usize = 700 << 10;

/// How much more memory than before a burst the server may keep, in percent.
const KEPT_MAX: u64 = 10;

/// How long memory may take to go back; it is waited for no longer than it takes.
const DEADLINE: Duration = Duration::from_mins(1);

#[tokio::test]
async fn memory_goes_back_after_a_burst_when_it_is_locked() {
    for proto in [Proto::H1, Proto::H2] {
        let setup = Setup::new();
        let server = setup.start().await;
        if status(server.pid(), "VmLck") == 0 {
            skipped("memory that is locked: this user may not lock it");
            return server.stop().await;
        }
        goes_back(&setup, server, proto, "locked").await;
    }
}

#[tokio::test]
async fn memory_goes_back_after_a_burst_when_it_is_not_locked() {
    for proto in [Proto::H1, Proto::H2] {
        let setup = Setup::new();
        let server = Server::launch(without_locking(&setup), &setup.certificate_file()).await;
        assert_eq!(status(server.pid(), "VmLck"), 0);
        goes_back(&setup, server, proto, "not locked").await;
    }
}

async fn goes_back(setup: &Setup, server: Server, proto: Proto, how: &str) {
    let mut connection = server.connect(setup.admin()).await;
    connection.call("POST", "/v1/key/create/k").await.ok_empty();
    // What the process keeps is there from a few requests on: code that had not run, stacks of threads.
    Burst::begin(setup, &server, proto, 16).await.end().await;
    let before = resident(&server);

    let burst = Burst::begin(setup, &server, proto, PLAINTEXT_LEN).await;
    let held = u64::try_from(REQUESTS * PLAINTEXT_LEN / 1024).expect("it is small");
    let is_held = becomes(&server, |resident| resident >= before + held).await;
    let top = resident(&server);
    assert!(is_held, "{proto:?}: {before} KiB before a burst, only {top} in it");
    burst.end().await;

    let max = before + before * KEPT_MAX / 100;
    let is_back = becomes(&server, |resident| resident <= max).await;
    let after = resident(&server);
    measured(&format!("memory {how}, {proto:?}: {before} KiB, {top} in a burst, {after} after"));
    assert!(is_back, "{proto:?}: {before} KiB before a burst, {top} in it, {after} after it");
    server.stop().await;
}

/// Requests whose bodies lack their last byte.
struct Burst {
    requests: Vec<(Connection, Feed, Pending)>,
    last: String,
}

impl Burst {
    async fn begin(setup: &Setup, server: &Server, proto: Proto, len: usize) -> Self {
        let body = json!({ "plaintext": b64(vec![7; len]) }).to_string();
        let (most, last) = body.split_at(body.len() - 1);
        let mut requests = Vec::new();
        for _ in 0..REQUESTS {
            let mut connection = server.connect_over(setup.admin(), (proto, Tls::V13)).await;
            let (feed, payload) = Payload::fed();
            let request = Request::new("POST", "/v1/key/encrypt/k").payload(payload);
            let pending = connection.start(request).await.expect("the connection is open");
            feed.send(most.to_owned());
            requests.push((connection, feed, pending));
        }
        Self { requests, last: last.to_owned() }
    }

    /// Has all of them answered, and closes their connections.
    async fn end(self) {
        for (_, feed, _) in &self.requests {
            feed.send(self.last.clone());
        }
        for (connection, feed, pending) in self.requests {
            drop(feed);
            pending.answer().await.ok();
            drop(connection);
        }
    }
}

/// Waits until the server's resident memory is as wanted; false if that takes too long.
async fn becomes(server: &Server, is_wanted: impl Fn(u64) -> bool + Send + Sync) -> bool {
    let wait = async {
        while !is_wanted(resident(server)) {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, wait).await.is_ok()
}

/// In KiB.
fn resident(server: &Server) -> u64 {
    server.figures().resident_kib
}

/// The command of a server that may not lock its memory, whichever user runs the test.
fn without_locking(setup: &Setup) -> Command {
    let inner = setup.command();
    let inner = inner.as_std();
    let mut command = Command::new("sh");
    let give_up = "ulimit -l 0; exec setpriv --inh-caps=-ipc_lock --bounding-set=-ipc_lock \"$@\"";
    let plain = "ulimit -l 0; exec \"$@\"";
    let script = if geteuid().is_root() { give_up } else { plain };
    command.args(["-c", script, "sh"]).arg(inner.get_program()).args(inner.get_args());
    command
}
