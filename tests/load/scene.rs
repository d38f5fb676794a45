//! The servers that are compared.

use std::env;

use kes_harness::{Credential, Request, Server, Setup};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::beside::Follower;
use crate::operation::KEY;
use crate::process::Places;

/// What decrypts in the policy of a server with everything switched on.
const IDENTITIES: usize = 100;

/// A server of ours with everything switched on: metrics, a policy of 100 identities, and an audit
/// log that somebody follows.
pub(crate) struct Full {
    pub(crate) setup: Setup,
    pub(crate) who: Credential,
    pub(crate) server: Server,
    follower: Follower,
}

impl Full {
    pub(crate) async fn start(places: Places) -> Self {
        let who = Credential::generate();
        let setup = setup(&who, IDENTITIES);
        let server = ours(places, &setup).await;
        let follower = Follower::of(&server, setup.admin()).await;
        Self { setup, who, server, follower }
    }

    /// A floor with the same certificate.
    pub(crate) async fn floor(&self, places: Places, together: bool) -> Server {
        floor(places, &self.setup, together).await
    }

    /// Ends the server, and demands that it was measured as it was meant to be.
    pub(crate) async fn end(self) {
        self.follower.still_follows();
        self.server.kill().await;
    }
}

/// A configuration with a policy of so many identities, of which `who` is one, and without an end
/// to what is cached.
pub(crate) fn setup(who: &Credential, identities: usize) -> Setup {
    let others: Vec<Credential> = (1..identities).map(|_| Credential::generate()).collect();
    let identities: Vec<&Credential> = others.iter().chain([who]).collect();
    Setup::new()
        .minio(&identities)
        .with(json!({ "cache": { "expiry": { "any": "1h", "unused": "1h" } } }))
}

/// Starts a server of ours that has the key.
pub(crate) async fn ours(places: Places, setup: &Setup) -> Server {
    started(places.pin(setup.command()), setup).await
}

/// Starts a server of ours by this command and makes the key.
pub(crate) async fn started(command: Command, setup: &Setup) -> Server {
    let server = Server::launch(command, &setup.certificate_file()).await;
    if !setup.keys().join(KEY).exists() {
        let mut admin = server.connect(setup.admin()).await;
        let answer = admin.send(Request::new("PUT", &format!("/v1/key/create/{KEY}"))).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    server
}

/// Starts a floor.
pub(crate) async fn floor(places: Places, setup: &Setup, together: bool) -> Server {
    let this = env::current_exe().expect("this executable has a path");
    let mut command = Command::new(this);
    command.arg("floor");
    command.arg("--cert").arg(setup.certificate_file());
    command.arg("--key").arg(setup.folder().join("server.key"));
    if together {
        command.arg("--together");
    }
    Server::launch(places.pin(command), &setup.certificate_file()).await
}

/// Has the one key under these names as well.
pub(crate) fn copies(setup: &Setup, names: &[String]) {
    let key = std::fs::read(setup.keys().join(KEY)).expect("the server has stored it");
    for name in names {
        setup.store(name, &key);
    }
}

/// Policies that are there and concern somebody else.
pub(crate) fn strangers(policies: usize, identities: usize) -> Value {
    let policy = |number: usize| {
        let of = |index: usize| format!("{:064x}", number * identities + index + 1);
        let who: Vec<String> = (0..identities).map(of).collect();
        json!({ "allow": ["/v1/key/decrypt/other-*"], "identities": who })
    };
    let all = (0..policies).map(|number| (format!("stranger-{number}"), policy(number)));
    json!({ "policy": Value::Object(all.collect()) })
}
