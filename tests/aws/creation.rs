//! Creation of keys under lost answers, races and wrong answers: what was answered 200 exists, once.

use bytes::Bytes;
use kes_harness::aws::error;
use kes_harness::caller::{decrypt, generate};
use kes_harness::proxy::{Fault, Gate};
use kes_harness::{Server, measured};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::fixture::{Fixture, action_on, create, stored};

/// The one version of a secret, and its text.
async fn the_one_version(fixture: &Fixture, name: &str) -> Option<String> {
    let found = fixture.api().describe(name).await?;
    let versions = found["VersionIdsToStages"].as_object().expect("versions");
    assert_eq!(versions.len(), 1, "{found}");
    fixture.api().value(name).await
}

#[tokio::test]
async fn a_creation_whose_answer_is_lost_made_one_key_and_the_client_learns_that_it_did() {
    let Some(fixture) = Fixture::new().await else { return };
    let server = fixture.setup.start().await;
    let mut admin = fixture.admin(&server).await;
    let internal = || Fault::Answer(error::internal());
    for (name, faults, requests) in [
        // Done, and the answer lost: looked at, found, and not sent again.
        ("my-lost", vec![Fault::Lost], 1),
        ("my-cut", vec![Fault::CutBody], 1),
        ("my-garbage", vec![Fault::Garbage(Bytes::from_static(b"<html>"))], 1),
        // Not done: sent again.
        ("my-reset", vec![Fault::Reset], 2),
        ("my-internal", vec![internal()], 2),
        ("my-both", vec![Fault::Reset, internal(), Fault::Lost], 3),
    ] {
        for fault in faults {
            fixture.proxy.inject_times(1, fault, action_on("CreateSecret", name));
        }
        create(&mut admin, name).await.ok_empty();
        let stored = the_one_version(&fixture, name).await.expect("it is there");
        assert!(stored.starts_with("Ci"), "{stored}");
        let made = generate(&mut admin, name).await.ok();
        decrypt(&mut admin, name, &made).await.ok();
        let sent = sent(&fixture, name);
        assert_eq!(sent.len(), requests, "{name}");
        // The same request each time: AWS would know it again.
        assert!(sent.iter().all(|body| *body == sent[0]), "{name}");
        assert!(sent[0]["ClientRequestToken"].as_str().is_some_and(|token| token.len() >= 32));
        create(&mut admin, name).await.refused(400, "key already exists");
    }
    assert_eq!(fixture.proxy.failures(), Vec::<String>::new());
    server.stop().await;
}

#[tokio::test]
async fn a_creation_that_never_gets_through_is_an_error_and_what_is_there_is_whole() {
    let Some(fixture) = Fixture::new().await else { return };
    let server = fixture.setup.start().await;
    let mut clients = JoinSet::new();
    for (name, fault) in [
        ("my-reset", Fault::Reset),
        ("my-held", Fault::Held(Gate::new())),
        ("my-internal", Fault::Answer(error::internal())),
    ] {
        fixture.proxy.inject(fault, action_on("CreateSecret", name));
        let mut admin = fixture.admin(&server).await;
        clients.spawn(async move { create(&mut admin, name).await });
    }
    // The creation happens each time, and no lookup is let through either.
    for action in ["CreateSecret", "DescribeSecret", "GetSecretValue"] {
        fixture.proxy.inject(Fault::Lost, action_on(action, "my-dark"));
    }
    let mut admin = fixture.admin(&server).await;
    clients.spawn(async move { create(&mut admin, "my-dark").await });
    for answer in clients.join_all().await {
        answer.refused(502, "failed to create key");
    }
    fixture.proxy.heal();
    let mut admin = fixture.admin(&server).await;
    for name in ["my-reset", "my-internal", "my-held"] {
        assert_eq!(generate(&mut admin, name).await.status, 404, "{name}");
        create(&mut admin, name).await.ok_empty();
    }
    create(&mut admin, "my-dark").await.refused(400, "key already exists");
    for name in ["my-reset", "my-internal", "my-held", "my-dark"] {
        the_one_version(&fixture, name).await.expect("it is there");
        let made = generate(&mut admin, name).await.ok();
        decrypt(&mut admin, name, &made).await.ok();
    }
    server.stop().await;
}

#[tokio::test]
async fn another_s_key_under_the_name_is_never_taken_for_one_s_own() {
    let Some(fixture) = Fixture::new().await else { return };
    let server = fixture.setup.start().await;
    let mut admin = fixture.admin(&server).await;
    // Another client creates it while our request is in transit; then our connection ends.
    for (name, fault) in [
        ("my-reset", Fault::Reset),
        ("my-lost", Fault::Lost),
        ("my-internal", Fault::Answer(error::internal())),
    ] {
        fixture.proxy.inject_times(1, fault, action_on("CreateSecret", name));
        fixture.api().put(name, &stored()).await;
        create(&mut admin, name).await.refused(400, "key already exists");
        assert_eq!(the_one_version(&fixture, name).await.as_deref(), Some(stored().as_str()));
        assert_eq!(sent(&fixture, name).len(), 1, "{name}");
    }
    server.stop().await;
}

#[tokio::test]
async fn nothing_is_claimed_before_aws_gives_the_bytes_back() {
    let Some(fixture) = Fixture::new().await else { return };
    let server = fixture.setup.start().await;
    let mut admin = fixture.admin(&server).await;
    let not_found = || Fault::Answer(error::not_found());

    // A new secret that AWS's readers do not know for a moment.
    fixture.proxy.inject_times(3, not_found(), action_on("GetSecretValue", "my-late"));
    create(&mut admin, "my-late").await.ok_empty();
    assert_eq!(fixture.proxy.count(action_on("GetSecretValue", "my-late")), 4);
    generate(&mut admin, "my-late").await.ok();

    for (name, fault, words) in [
        ("my-never", not_found(), "was created, but AWS does not give it back yet"),
        ("my-other", other_bytes(), "was changed while it was being created"),
        (
            "my-sealed",
            Fault::Answer(error::kms_denied()),
            "was created, but cannot be read; the name stays taken",
        ),
        ("my-dark", Fault::Reset, "no answer to secretsmanager:GetSecretValue"),
        ("my-denied", Fault::Answer(error::denied("GetSecretValue")), "GetSecretValue denied"),
    ] {
        fixture.proxy.inject(fault, action_on("GetSecretValue", name));
        create(&mut admin, name).await.refused(502, "failed to create key");
        server.log_has(&["failed to create key", name, words]).await;
        assert_eq!(sent(&fixture, name).len(), 1, "{name}");
    }
    fixture.proxy.heal();
    for name in ["my-never", "my-other", "my-sealed", "my-dark", "my-denied"] {
        create(&mut admin, name).await.refused(400, "key already exists");
        let made = generate(&mut admin, name).await.ok();
        decrypt(&mut admin, name, &made).await.ok();
    }
    server.stop().await;
}

/// The bytes of another key.
fn other_bytes() -> Fault {
    Fault::edit(|body| {
        let mut answer: Value = serde_json::from_slice(&body).expect("JSON");
        answer["SecretString"] = json!(stored());
        answer.to_string().into()
    })
}

#[tokio::test]
async fn of_creators_on_two_servers_one_wins_and_all_read_its_key() {
    let Some(fixture) = Fixture::new().await else { return };
    let servers = [fixture.setup.start().await, fixture.setup.start().await];
    for round in 0..3 {
        let name = format!("my-key-{round}");
        // Answers get lost, too.
        fixture.proxy.inject_times(round * 4, Fault::Lost, action_on("CreateSecret", &name));
        let statuses = race(&fixture, &servers, &name).await;
        assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
        the_one_version(&fixture, &name).await.expect("it is there");
        for maker in &servers {
            let made = generate(&mut fixture.admin(maker).await, &name).await.ok();
            for opener in &servers {
                decrypt(&mut fixture.admin(opener).await, &name, &made).await.ok();
            }
        }
    }
    let sent = fixture.proxy.count(|asked| kes_harness::aws::is_action(asked, "CreateSecret"));
    measured(&format!("3 races of 32 creators on AWS sent CreateSecret {sent} times"));
}

/// Creates one name 32 times at once, spread over the servers; gives the statuses.
async fn race(fixture: &Fixture, servers: &[Server], name: &str) -> Vec<u16> {
    let mut creators = JoinSet::new();
    for number in 0..32 {
        let mut connection = fixture.admin(&servers[number % servers.len()]).await;
        let name = name.to_owned();
        creators.spawn(async move {
            let answer = create(&mut connection, &name).await;
            if answer.status != 200 {
                answer.refused(400, "key already exists");
            }
            answer.status
        });
    }
    creators.join_all().await
}

/// What was sent to create a secret.
fn sent(fixture: &Fixture, name: &str) -> Vec<Value> {
    let is_it = action_on("CreateSecret", name);
    let asked = fixture.proxy.asked().into_iter().filter(|asked| is_it(asked));
    asked.map(|asked| serde_json::from_slice(&asked.body).expect("JSON")).collect()
}
