//! The sequence of calls that a starting `MinIO` makes.

use kes_harness::{Answer, Connection, Credential, PROTOCOLS, Request, Setup, b64};
use serde_json::json;

const KEY: &str = "my-minio";
const MISSING: (u16, &str) = (404, "key does not exist");
const EXISTS: (u16, &str) = (400, "key already exists");
const DENIED: (u16, &str) = (403, "not authorized: insufficient permissions");

/// How a start ends.
#[derive(Debug, PartialEq, Eq)]
enum Boot {
    /// With the key that was there.
    Found,
    /// With a key that this node made.
    Created,
    /// With a key that another node made meanwhile.
    Raced,
    /// Without a key: creating is denied.
    CreateDenied,
    /// Without a key: generating is denied.
    GenerateDenied,
    /// Not at all.
    Exit(u16),
}

/// The self test of `MinIO`: generate; only if there is no such key, create. Statuses and messages
/// are compared as its client does.
async fn boot(connection: &mut Connection) -> Boot {
    let path = format!("/v1/key/generate/{KEY}");
    let answer = connection.post(&path, r#"{"context":"e30="}"#).await;
    match outcome(&answer) {
        None => return Boot::Found,
        Some((status, message)) if (status, message.as_str()) == DENIED => {
            return Boot::GenerateDenied;
        }
        Some((status, message)) if (status, message.as_str()) == MISSING => {}
        Some(_) => return Boot::Exit(answer.status),
    }
    let answer = connection.call("POST", &format!("/v1/key/create/{KEY}")).await;
    match outcome(&answer) {
        None => Boot::Created,
        Some((status, message)) if (status, message.as_str()) == EXISTS => Boot::Raced,
        Some((status, message)) if (status, message.as_str()) == DENIED => Boot::CreateDenied,
        Some(_) => Boot::Exit(answer.status),
    }
}

fn outcome(answer: &Answer) -> Option<(u16, String)> {
    (answer.status != 200).then(|| (answer.status, answer.error()))
}

/// What follows: configuration and IAM are sealed, read again, the key is described.
async fn run(connection: &mut Connection) {
    for context in [
        r#"{".minio.sys":".minio.sys/config/config.json"}"#,
        r#"{".minio.sys":".minio.sys/config/iam/format.json"}"#,
        r#"{"bucket":"bucket","bucket-targets.json":"bucket-targets.json"}"#,
        r#"{"bucket":"bucket/object\u003c\u0026"}"#,
    ] {
        let context = b64(context);
        let body = json!({ "context": context }).to_string();
        let made = connection.post(&format!("/v1/key/generate/{KEY}"), &body).await.ok();
        let body = json!({ "ciphertext": made.text("ciphertext"), "context": context });
        let path = format!("/v1/key/decrypt/{KEY}");
        let opened = connection.post(&path, &body.to_string()).await.ok();
        assert_eq!(opened.text("plaintext"), made.text("plaintext"));
    }
    for _ in 0..3 {
        connection.get(&format!("/v1/key/describe/{KEY}")).await.ok();
    }
    let probe = r#"{"context":"eyJoZWFsdGhjaGVjayI6IiJ9"}"#;
    connection.post(&format!("/v1/key/generate/{KEY}"), probe).await.ok();
}

#[tokio::test]
async fn row_53_a_first_start_makes_the_key_and_later_ones_find_it() {
    let minio = Credential::generate();
    for protocol in PROTOCOLS {
        let setup = Setup::new().minio(&[&minio]);
        let server = setup.start().await;
        let mut connection = server.connect_over(&minio, protocol).await;
        assert_eq!(boot(&mut connection).await, Boot::Created);
        run(&mut connection).await;
        let mut connection = server.connect_over(&minio, protocol).await;
        assert_eq!(boot(&mut connection).await, Boot::Found);
        server.stop().await;
        let server = setup.start().await;
        let mut connection = server.connect_over(&minio, protocol).await;
        assert_eq!(boot(&mut connection).await, Boot::Found);
        run(&mut connection).await;
    }
}

#[tokio::test]
async fn row_53_a_key_that_the_configuration_names_is_there_from_the_start() {
    let minio = Credential::generate();
    let setup = Setup::new().minio(&[&minio]).with(json!({ "keys": [{ "name": KEY }] }));
    for _ in 0..2 {
        let server = setup.start().await;
        let mut connection = server.connect(&minio).await;
        assert_eq!(boot(&mut connection).await, Boot::Found);
        run(&mut connection).await;
        server.stop().await;
    }
}

#[tokio::test]
async fn row_53_a_node_that_may_not_create_or_generate_starts_all_the_same() {
    let (no_create, nothing) = (Credential::generate(), Credential::generate());
    let generate = format!("/v1/key/generate/{KEY}");
    let setup = Setup::new().policy("no-create", &[&generate], &[], &[&no_create]).policy(
        "nothing",
        &["/v1/status"],
        &[],
        &[&nothing],
    );
    let server = setup.start().await;
    let mut connection = server.connect(&no_create).await;
    assert_eq!(boot(&mut connection).await, Boot::CreateDenied);
    assert_eq!(boot(&mut server.connect(&nothing).await).await, Boot::GenerateDenied);
    server
        .connect(setup.admin())
        .await
        .call("POST", &format!("/v1/key/create/{KEY}"))
        .await
        .ok_empty();
    assert_eq!(boot(&mut connection).await, Boot::Found);
}

#[tokio::test]
async fn row_53_a_store_that_is_away_makes_minio_exit_and_not_create() {
    let setup = Setup::new();
    let server = setup.start().await;
    std::fs::rename(setup.keys(), setup.folder().join("away")).expect("the folder is ours");
    let mut connection = server.connect(setup.admin()).await;
    assert_eq!(boot(&mut connection).await, Boot::Exit(502));
    assert!(!setup.keys().exists());
}

#[tokio::test]
async fn row_53_a_server_that_is_down_refuses_connections() {
    let setup = Setup::new();
    let server = setup.start().await;
    let dialer = server.dial().show(setup.admin());
    dialer.connect().await.expect("it is up");
    server.stop().await;
    assert!(dialer.connect().await.is_err());
}

#[tokio::test]
async fn row_53_three_nodes_that_start_at_once_end_up_with_one_key() {
    let minio = Credential::generate();
    let setup = Setup::new().minio(&[&minio]);
    let servers = [setup.start().await, setup.start().await, setup.start().await];
    let mut nodes = Vec::new();
    for server in &servers {
        nodes.push(server.connect(&minio).await);
    }
    // All three get the answer that there is no key, then all three create it.
    for node in &mut nodes {
        let answer = node.post(&format!("/v1/key/generate/{KEY}"), r#"{"context":"e30="}"#).await;
        answer.refused(MISSING.0, MISSING.1);
    }
    let mut pending = Vec::new();
    for node in &mut nodes {
        let request = Request::new("POST", &format!("/v1/key/create/{KEY}"));
        pending.push(node.start(request).await.expect("a connection"));
    }
    let mut created = 0;
    for pending in pending {
        let answer = pending.answer().await;
        match outcome(&answer) {
            None => created += 1,
            Some((status, message)) => assert_eq!((status, message.as_str()), EXISTS),
        }
    }
    assert_eq!(created, 1);
    let body = r#"{"context":"e30="}"#;
    let made = nodes[0].post(&format!("/v1/key/generate/{KEY}"), body).await.ok();
    for node in &mut nodes {
        run(node).await;
        let body = json!({ "ciphertext": made.text("ciphertext"), "context": "e30=" }).to_string();
        node.post(&format!("/v1/key/decrypt/{KEY}"), &body).await.ok();
    }
}

#[tokio::test]
async fn row_54_a_second_try_with_the_right_context_opens_what_the_first_did_not() {
    let minio = Credential::generate();
    let setup = Setup::new().minio(&[&minio]);
    let server = setup.start().await;
    assert_eq!(boot(&mut server.connect(&minio).await).await, Boot::Created);
    let old = b64(r#"{".minio.sys":"config/iam/users/u/identity.json"}"#);
    let new = b64(r#"{".minio.sys":".minio.sys/config/iam/users/u/identity.json"}"#);
    for protocol in PROTOCOLS {
        let mut connection = server.connect_over(&minio, protocol).await;
        let body = json!({ "context": old }).to_string();
        let made = connection.post(&format!("/v1/key/generate/{KEY}"), &body).await.ok();
        let path = format!("/v1/key/decrypt/{KEY}");
        for _ in 0..50 {
            let body = |context: &str| {
                json!({ "ciphertext": made.text("ciphertext"), "context": context }).to_string()
            };
            let answer = connection.post(&path, &body(&new)).await;
            answer.refused(400, "decryption failed: ciphertext is not authentic");
            let opened = connection.post(&path, &body(&old)).await.ok();
            assert_eq!(opened.text("plaintext"), made.text("plaintext"));
        }
    }
}
