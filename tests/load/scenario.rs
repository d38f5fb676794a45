//! Starts the servers that are compared: the key server in some configuration, and the floor.

use std::env;

use kes_harness::{Credential, Request, Server, Setup};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::background::AuditSubscriber;
use crate::operation::KEY;
use crate::process::Pinning;

/// Number of identities in the policy of a server with all features on.
const IDENTITIES: usize = 100;

/// A key server with all features on: metrics, a policy of 100 identities, and a subscriber of the
/// audit log.
pub(crate) struct FullScenario {
    pub(crate) setup: Setup,
    pub(crate) credential: Credential,
    pub(crate) server: Server,
    subscriber: AuditSubscriber,
}

impl FullScenario {
    pub(crate) async fn start(pinning: Pinning) -> Self {
        let credential = Credential::generate();
        let setup = setup(&credential, IDENTITIES);
        let server = start_kes(pinning, &setup).await;
        let subscriber = AuditSubscriber::of(&server, setup.admin()).await;
        Self { setup, credential, server, subscriber }
    }

    /// Starts a floor with the same certificate.
    pub(crate) async fn floor(&self, pinning: Pinning, in_one_task: bool) -> Server {
        start_floor(pinning, &self.setup, in_one_task).await
    }

    /// Ends the server; asserts that the audit log had a subscriber until now.
    pub(crate) async fn end(self) {
        self.subscriber.assert_subscribed();
        self.server.kill().await;
    }
}

/// A configuration with a policy of this many identities, `credential`'s among them, and a cache
/// whose entries do not expire during a run.
pub(crate) fn setup(credential: &Credential, identities: usize) -> Setup {
    let others: Vec<Credential> = (1..identities).map(|_| Credential::generate()).collect();
    let identities: Vec<&Credential> = others.iter().chain([credential]).collect();
    Setup::new()
        .minio(&identities)
        .with(json!({ "cache": { "expiry": { "any": "1h", "unused": "1h" } } }))
}

/// Starts a pinned key server with the key [`KEY`].
pub(crate) async fn start_kes(pinning: Pinning, setup: &Setup) -> Server {
    start(pinning.pin(setup.command()), setup).await
}

/// Starts a key server by this command; creates the key [`KEY`] if it is not stored yet.
pub(crate) async fn start(command: Command, setup: &Setup) -> Server {
    let server = Server::launch(command, &setup.certificate_file()).await;
    if !setup.keys().join(KEY).exists() {
        let mut admin = server.connect(setup.admin()).await;
        let answer = admin.send(Request::new("PUT", &format!("/v1/key/create/{KEY}"))).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    server
}

/// Starts a pinned floor.
pub(crate) async fn start_floor(pinning: Pinning, setup: &Setup, in_one_task: bool) -> Server {
    let this = env::current_exe().expect("this executable has a path");
    let mut command = Command::new(this);
    command.arg("floor");
    command.arg("--cert").arg(setup.certificate_file());
    command.arg("--key").arg(setup.folder().join("server.key"));
    if in_one_task {
        command.arg("--one-task");
    }
    Server::launch(pinning.pin(command), &setup.certificate_file()).await
}

/// Stores copies of the key [`KEY`] under these names.
pub(crate) fn copy_key(setup: &Setup, names: &[String]) {
    let key = std::fs::read(setup.keys().join(KEY)).expect("the server has stored it");
    for name in names {
        setup.store(name, &key);
    }
}

/// A configuration of policies with identities that no client has.
pub(crate) fn unrelated_policies(policies: usize, identities: usize) -> Value {
    let policy = |number: usize| {
        let of = |index: usize| format!("{:064x}", number * identities + index + 1);
        let members: Vec<String> = (0..identities).map(of).collect();
        json!({ "allow": ["/v1/key/decrypt/other-*"], "identities": members })
    };
    let all = (0..policies).map(|number| (format!("unrelated-{number}"), policy(number)));
    json!({ "policy": Value::Object(all.collect()) })
}
