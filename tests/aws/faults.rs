//! Faults of AWS and of the network: the answer to the client, and the line in the log. None of them makes a key
//! look missing.

use std::time::Duration;

use bytes::Bytes;
use kes_harness::aws::{Api, error};
use kes_harness::caller::until_ready;
use kes_harness::proxy::{Asked, Fault, Gate, Reply};
use kes_harness::{Connection, Server};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::fixture::{Fixture, REGION, action, action_on, stored};

/// How long an answer may take, whatever AWS does.
const ANSWER_MAX: Duration = Duration::from_secs(15);

/// What the log says of an answer that did not come from AWS.
const NOT_AWS: &str = "HTTP 200 of something that is not AWS";

/// What a client asks for, and what that makes of AWS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    Get,
    Create,
    Delete,
    List,
}

impl Op {
    fn action(self) -> &'static str {
        match self {
            Self::Get => "GetSecretValue",
            Self::Create => "CreateSecret",
            Self::Delete => "DeleteSecret",
            Self::List => "ListSecrets",
        }
    }

    fn message(self) -> &'static str {
        match self {
            Self::Get => "failed to read key",
            Self::Create => "failed to create key",
            Self::Delete => "failed to delete key",
            Self::List => "failed to list keys",
        }
    }

    fn request(self, name: &str) -> (&'static str, String) {
        match self {
            Self::Get => ("GET", format!("/v1/key/describe/{name}")),
            Self::Create => ("PUT", format!("/v1/key/create/{name}")),
            Self::Delete => ("DELETE", format!("/v1/key/delete/{name}")),
            Self::List => ("GET", format!("/v1/key/list/{name}*")),
        }
    }

    fn when(self, name: &str) -> Box<dyn Fn(&Asked) -> bool + Send + Sync> {
        if self != Self::List {
            return Box::new(action_on(self.action(), name));
        }
        let (name, is_list) = (name.to_owned(), action("ListSecrets"));
        Box::new(move |asked| {
            is_list(asked) && String::from_utf8_lossy(&asked.body).contains(&name)
        })
    }
}

/// What goes wrong, and the words for it in the log. `{call}` is the call that failed.
fn faults(op: Op) -> Vec<(&'static str, Fault, &'static str)> {
    let answer = Fault::Answer;
    let mut faults = vec![
        ("throttling", answer(error::throttling()), "{call} failed: ThrottlingException"),
        ("internal", answer(error::internal()), "{call} failed: InternalServiceError"),
        ("unavailable", answer(error::unavailable()), "{call} failed: HTTP 503"),
        ("blank", answer(blank()), "the answer to {call} cannot be understood"),
        ("reset", Fault::Reset, "no answer to {call}"),
        ("held", Fault::Held(Gate::new()), "no answer to {call}"),
        ("expired", answer(error::expired_token()), "{call} failed: ExpiredTokenException"),
        ("unknown", answer(error::unknown_key()), "{call} failed: UnrecognizedClientException"),
        ("denied", answer(error::denied(op.action())), "{denied} denied on arn:aws:secretsm"),
    ];
    // AWS executes a write before an intermediary replaces its answer, so these are for reads only.
    if [Op::Get, Op::List].contains(&op) {
        faults.extend([
            ("lost", Fault::Lost, "no answer to {call}"),
            ("cut", Fault::CutBody, "no answer to {call}"),
            ("slow", Fault::SlowBody(Gate::new()), "no answer to {call}"),
            ("garbage", Fault::Garbage(Bytes::from_static(b"<html>")), NOT_AWS),
            ("nothing", Fault::Garbage(Bytes::new()), ""),
        ]);
    }
    faults.extend(kms_faults(op));
    faults
}

/// An empty success from an intermediary: nothing was done.
fn blank() -> Reply {
    Reply::new(200, "application/x-amz-json-1.1", "")
}

/// What KMS can do to Secrets Manager. `{key}` is the key's ARN.
fn kms_faults(op: Op) -> Vec<(&'static str, Fault, &'static str)> {
    let answer = Fault::Answer;
    let state = "arn:aws:kms:eu-central-1:1:key/x is pending deletion.";
    match op {
        Op::Get => vec![
            ("kms-denied", answer(error::kms_denied()), "kms:Decrypt denied on {key}"),
            (
                "kms-not-authorized",
                answer(error::denied("kms:Decrypt")),
                "kms:Decrypt denied on arn:aws:secretsmanager",
            ),
            (
                "decryption",
                answer(error::error(400, "DecryptionFailure", "can't decrypt")),
                "{call} failed with KMS key {key}: DecryptionFailure",
            ),
            (
                "kms-state",
                answer(error::error(400, "KMSInvalidStateException", state)),
                "{call} failed with KMS key {key}: KMSInvalidStateException",
            ),
        ],
        Op::Create => vec![
            ("kms-denied", answer(error::kms_denied()), "kms:GenerateDataKey denied on {key}"),
            (
                "encryption",
                answer(error::error(400, "EncryptionFailure", "can't encrypt")),
                "{call} failed with KMS key {key}: EncryptionFailure",
            ),
        ],
        Op::Delete | Op::List => Vec::new(),
    }
}

/// A call with a name in it, as the log has it.
fn call(op: Op, name: &str) -> String {
    let action = op.action();
    if op == Op::List {
        return format!("secretsmanager:{action} on {name}");
    }
    format!("secretsmanager:{action} on arn:aws:secretsmanager:{REGION}:123456789012:secret:{name}")
}

async fn ask(
    mut connection: Connection,
    op: Op,
    name: String,
) -> (Op, String, kes_harness::Answer) {
    let (method, path) = op.request(&name);
    let answer = timeout(ANSWER_MAX, connection.call(method, &path)).await;
    (op, name.clone(), answer.unwrap_or_else(|_| panic!("{name}: no answer in {ANSWER_MAX:?}")))
}

async fn prepare(api: &Api, op: Op, name: &str, key: &str) {
    if [Op::Get, Op::Delete].contains(&op) {
        let body = json!({ "Name": name, "SecretString": stored(), "KmsKeyId": key });
        api.secrets("CreateSecret", body).await;
    }
}

#[tokio::test]
async fn what_goes_wrong_for_ever_is_an_error_and_the_log_says_which() {
    let Some(fixture) = Fixture::new().await else { return };
    let (_, key) = fixture.api().make_key("ENCRYPT_DECRYPT", "SYMMETRIC_DEFAULT").await;
    // From it the server knows where in AWS it is.
    fixture.api().put("another", &stored()).await;
    let setup = fixture.another(json!({ "kmskey": key }));
    let server = setup.start().await;
    let (mut clients, mut words, mut wrong) = (JoinSet::new(), Vec::new(), Vec::new());
    for op in [Op::Get, Op::Create, Op::Delete, Op::List] {
        for (id, fault, line) in faults(op) {
            let name = format!("my-{}-{id}", op.action());
            prepare(&fixture.api(), op, &name, &key).await;
            fixture.proxy.inject(fault, op.when(&name));
            clients.spawn(ask(server.connect(setup.admin()).await, op, name.clone()));
            let denied = format!("secretsmanager:{}", op.action());
            let line = line.replace("{key}", &key).replace("{denied}", &denied);
            words.push((op, name, line));
        }
    }
    assert!(clients.len() > 35);
    for (op, name, answer) in clients.join_all().await {
        let want = json!({ "message": op.message() });
        if (answer.status, answer.json()) != (502, want) {
            wrong.push(format!("{name}: {answer:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    for (op, name, line) in words {
        let call = if line.contains("{call}") { call(op, &name) } else { String::new() };
        let parts = line.split("{call}").chain([op.message(), &name, &call]);
        server.log_has(&parts.collect::<Vec<_>>()).await;
    }
    // What was not done is not there, and what is there was left alone.
    let left = fixture.api().names().await;
    assert!(!left.iter().any(|name| name.contains("CreateSecret")), "{left:?}");
    assert_eq!(left.iter().filter(|name| name.contains("DeleteSecret")).count(), 9);
    assert_eq!(fixture.proxy.failures(), Vec::<String>::new());
    server.stop().await;
}

#[tokio::test]
async fn what_goes_wrong_once_is_not_seen_at_all() {
    let Some(fixture) = Fixture::new().await else { return };
    let server = fixture.setup.start().await;
    let mut clients = JoinSet::new();
    for op in [Op::Get, Op::Create, Op::Delete, Op::List] {
        for (id, fault) in [
            ("throttling", Fault::Answer(error::throttling())),
            ("internal", Fault::Answer(error::internal())),
            ("unavailable", Fault::Answer(error::unavailable())),
            ("reset", Fault::Reset),
            ("held", Fault::Held(Gate::new())),
            ("lost", Fault::Lost),
            ("cut", Fault::CutBody),
        ] {
            let name = format!("my-{}-{id}", op.action());
            prepare(&fixture.api(), op, &name, "alias/aws/secretsmanager").await;
            fixture.proxy.inject_times(1, fault, op.when(&name));
            clients.spawn(ask(fixture.admin(&server).await, op, name.clone()));
        }
    }
    for (op, name, answer) in clients.join_all().await {
        assert_eq!(answer.status, 200, "{name}: {answer:?}: {:#?}", server.stderr().so_far());
        let is_there = fixture.api().describe(&name).await.is_some();
        assert_eq!(is_there, [Op::Get, Op::Create].contains(&op), "{name}");
    }
    server.stop().await;
}

#[tokio::test]
async fn what_makes_aws_useless_makes_the_server_not_ready_until_it_is_over() {
    let Some(fixture) = Fixture::new().await else { return };
    let server = fixture.setup.start().await;
    let mut admin = fixture.admin(&server).await;
    for (fault, words) in [
        (Fault::Answer(error::throttling()), "ThrottlingException"),
        (Fault::Answer(error::internal()), "InternalServiceError"),
        (Fault::Answer(error::unavailable()), "HTTP 503"),
        (Fault::Reset, "no answer to secretsmanager:ListSecrets"),
        (Fault::Garbage(Bytes::from_static(b"<html>")), NOT_AWS),
        (Fault::Answer(error::expired_token()), "ExpiredTokenException"),
    ] {
        fixture.proxy.inject(fault, |_| true);
        assert_unavailable(&mut admin, &server, "my-key").await;
        admin.get("/v1/ready").await.refused(504, "key store is not reachable");
        let status = admin.get("/v1/status").await.ok().json();
        assert_eq!(status["keystore_unreachable"], json!(true), "{words}: {status}");
        server.log_has(&[words]).await;
        fixture.proxy.heal();
        until_ready(&mut admin).await;
    }
    server.stop().await;
}

/// A call that fails: what was known of AWS is in doubt then.
async fn assert_unavailable(admin: &mut Connection, server: &Server, name: &str) {
    let answer = admin.get(&format!("/v1/key/describe/{name}")).await;
    assert_eq!(answer.status, 502, "{answer:?}: {:#?}", server.stderr().so_far());
}

#[tokio::test]
async fn a_denied_list_is_no_reason_to_be_unready_and_denied_keys_are() {
    let Some(fixture) = Fixture::new().await else { return };
    let denied = |action| Fault::Answer(error::denied(action));
    fixture.proxy.inject(denied("ListSecrets"), action("ListSecrets"));
    let server = fixture.setup.start().await;
    let mut admin = fixture.admin(&server).await;
    server.log_has(&["WARN", "keys cannot be listed", "secretsmanager:ListSecrets denied"]).await;
    assert_eq!(admin.get("/v1/ready").await.status, 200);
    admin.call("PUT", "/v1/key/create/my-key").await.ok();
    admin.get("/v1/key/describe/my-key").await.ok();
    admin.get("/v1/key/list/").await.refused(502, "failed to list keys");
    // What was known is in doubt, and the key is still to be had.
    fixture.proxy.inject_times(3, Fault::Reset, action_on("GetSecretValue", "my-none"));
    assert_unavailable(&mut admin, &server, "my-none").await;
    assert_eq!(admin.get("/v1/ready").await.status, 200);
    fixture.proxy.inject_times(3, Fault::Reset, action_on("GetSecretValue", "my-none"));
    assert_unavailable(&mut admin, &server, "my-none").await;
    fixture.proxy.inject(denied("GetSecretValue"), action("GetSecretValue"));
    admin.get("/v1/ready").await.refused(502, "key store is unavailable");
    server.stop().await;
}
