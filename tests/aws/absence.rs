//! A key is reported missing only if AWS says so definitely: lost entries, lagging reads, pending deletions.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kes_harness::aws::error;
use kes_harness::caller::generate;
use kes_harness::proxy::Fault;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::fixture::{Fixture, action, action_on, create, delete, names, stored};

fn answer(reply: kes_harness::proxy::Reply) -> Fault {
    Fault::Answer(reply)
}

#[tokio::test]
async fn a_key_that_is_not_there_does_not_exist() {
    let Some(fixture) = Fixture::new().await else { return };
    let server = fixture.setup.start().await;
    let mut admin = fixture.admin(&server).await;
    generate(&mut admin, "my-key").await.refused(404, "key does not exist");
    delete(&mut admin, "my-key").await.refused(404, "key does not exist");
    // AWS would have said that it is deleted: it is not asked to.
    assert_eq!(fixture.proxy.count(action("DeleteSecret")), 0);
    create(&mut admin, "my-key").await.ok_empty();
    delete(&mut admin, "my-key").await.ok_empty();
    generate(&mut admin, "my-key").await.refused(404, "key does not exist");
    delete(&mut admin, "my-key").await.refused(404, "key does not exist");
    create(&mut admin, "my-key").await.ok_empty();
    generate(&mut admin, "my-key").await.ok();
    server.stop().await;
}

#[tokio::test]
async fn what_says_not_found_of_a_secret_that_exists_is_not_believed() {
    let Some(fixture) = Fixture::new().await else { return };
    let server = fixture.setup.start().await;
    let mut admin = fixture.admin(&server).await;
    for name in ["my-late", "my-hollow", "my-dark", "my-throttled"] {
        fixture.api().put(name, &stored()).await;
    }
    // For a moment, as with a new secret.
    let read = |name| action_on("GetSecretValue", name);
    fixture.proxy.inject_times(2, answer(error::not_found()), read("my-late"));
    generate(&mut admin, "my-late").await.ok();

    // For ever, as with a secret without a current value.
    fixture.proxy.inject(answer(error::not_found()), read("my-hollow"));
    generate(&mut admin, "my-hollow").await.refused(502, "failed to read key");
    server.log_has(&["my-hollow", "exists, but has no current value (AWSCURRENT)"]).await;
    delete(&mut admin, "my-hollow").await.ok_empty();

    // It is unknown whether there is one.
    for (name, fault) in [("my-dark", Fault::Reset), ("my-throttled", answer(error::throttling()))]
    {
        fixture.proxy.inject(answer(error::not_found()), read(name));
        fixture.proxy.inject(fault, action_on("DescribeSecret", name));
        generate(&mut admin, name).await.refused(502, "failed to read key");
        delete(&mut admin, name).await.refused(502, "failed to delete key");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_key_that_was_just_created_elsewhere_is_found_although_aws_lags_behind() {
    let Some(fixture) = Fixture::new().await else { return };
    let server = fixture.setup.start().await;
    let mut admin = fixture.admin(&server).await;
    let lags_behind = |name: &'static str, answer_of: kes_harness::proxy::Reply| {
        fixture.proxy.inject_times(
            1,
            answer(error::not_found()),
            action_on("GetSecretValue", name),
        );
        fixture.proxy.inject_times(1, answer(answer_of), action_on("DescribeSecret", name));
    };
    for (name, answer_of) in
        [("my-fresh", error::not_found()), ("my-dark", error::denied("DescribeSecret"))]
    {
        fixture.api().put(name, &stored()).await;
        lags_behind(name, answer_of);
        generate(&mut admin, name).await.ok();
    }
    fixture.proxy.inject_times(
        1,
        answer(error::not_found()),
        action_on("DescribeSecret", "my-fresh"),
    );
    delete(&mut admin, "my-fresh").await.ok_empty();
    assert_eq!(fixture.api().describe("my-fresh").await, None);
    lags_behind("my-dark", error::denied("DescribeSecret"));
    delete(&mut admin, "my-dark").await.ok_empty();
    assert_eq!(fixture.api().describe("my-dark").await, None);
    server.stop().await;
}

#[tokio::test]
async fn where_a_look_is_denied_aws_s_own_word_counts() {
    let Some(fixture) = Fixture::new().await else { return };
    fixture.proxy.inject(answer(error::denied("DescribeSecret")), action("DescribeSecret"));
    let server = fixture.setup.start().await;
    let mut admin = fixture.admin(&server).await;
    create(&mut admin, "my-key").await.ok_empty();
    generate(&mut admin, "my-key").await.ok();
    create(&mut admin, "my-key").await.refused(400, "key already exists");
    generate(&mut admin, "my-other").await.refused(404, "key does not exist");
    delete(&mut admin, "my-other").await.refused(404, "key does not exist");
    fixture.proxy.inject_times(1, Fault::Lost, action_on("CreateSecret", "my-lost"));
    create(&mut admin, "my-lost").await.ok_empty();
    fixture.api().schedule_deletion("my-lost").await;
    generate(&mut admin, "my-lost").await.refused(502, "failed to read key");
    for name in ["my-key", "my-lost"] {
        delete(&mut admin, name).await.ok_empty();
        assert_eq!(fixture.api().describe(name).await, None, "{name}");
    }
    server.log_has(&["WARN", "without secretsmanager:DescribeSecret"]).await;
    server.stop().await;
}

#[tokio::test]
async fn a_key_that_is_scheduled_for_deletion_is_an_error_that_says_what_to_do() {
    let Some(fixture) = Fixture::new().await else { return };
    let server = fixture.setup.start().await;
    let mut admin = fixture.admin(&server).await;
    create(&mut admin, "my-key").await.ok_empty();
    let before = fixture.api().value("my-key").await;
    fixture.api().schedule_deletion("my-key").await;
    let found = fixture.api().describe("my-key").await.expect("it is there");
    assert!(!found["DeletedDate"].is_null());
    generate(&mut admin, "my-key").await.refused(502, "failed to read key");
    create(&mut admin, "my-key").await.refused(502, "failed to create key");
    let words = ["is scheduled for deletion (20", "restore-secret", "recovery window"];
    for message in ["failed to read key", "failed to create key"] {
        server.log_has(&[&[message, "my-key"], &words[..]].concat()).await;
    }
    // It is not listed: it cannot be used.
    assert_eq!(names(&mut admin, "").await, Vec::<String>::new());
    // Brought back, it is the same key.
    let id = json!({ "SecretId": "my-key" });
    fixture.api().secrets("RestoreSecret", id).await;
    generate(&mut admin, "my-key").await.ok();
    assert_eq!(fixture.api().value("my-key").await, before);
    // Deleting it gives the name free.
    fixture.api().schedule_deletion("my-key").await;
    delete(&mut admin, "my-key").await.ok_empty();
    assert_eq!(fixture.api().describe("my-key").await, None);
    create(&mut admin, "my-key").await.ok_empty();
    server.stop().await;
}

#[tokio::test]
async fn invalid_requests_are_no_deletions_unless_aws_says_so() {
    let Some(fixture) = Fixture::new().await else { return };
    let server = fixture.setup.start().await;
    let mut admin = fixture.admin(&server).await;
    let invalid = "You can't perform this operation on a replica secret.";
    let invalid = || answer(error::error(400, "InvalidRequestException", invalid));
    fixture.api().put("my-key", &stored()).await;
    for action in ["GetSecretValue", "DeleteSecret"] {
        fixture.proxy.inject(invalid(), action_on(action, "my-key"));
    }
    generate(&mut admin, "my-key").await.refused(502, "failed to read key");
    delete(&mut admin, "my-key").await.refused(502, "failed to delete key");
    for message in ["failed to read key", "failed to delete key"] {
        server.log_has(&[message, "InvalidRequestException", "on a replica secret"]).await;
    }
    let log = server.stderr().so_far().join("\n");
    assert!(!log.contains("scheduled"), "{log}");
    server.stop().await;
}

#[tokio::test]
async fn a_deletion_that_aws_has_not_finished_delays_no_client() {
    let Some(fixture) = Fixture::new().await else { return };
    let server = fixture.setup.start().await;
    let mut clients = JoinSet::new();
    for (name, reply) in [
        ("my-taken", error::exists("my-taken")),
        ("my-scheduled", error::scheduled("CreateSecret")),
    ] {
        let mut admin = fixture.admin(&server).await;
        create(&mut admin, name).await.ok_empty();
        let old = fixture.api().value(name).await;
        delete(&mut admin, name).await.ok_empty();
        // The next two creations get the answer of a moment ago.
        fixture.proxy.inject_times(2, answer(reply), action_on("CreateSecret", name));
        clients.spawn(async move {
            create(&mut admin, name).await.ok_empty();
            generate(&mut admin, name).await.ok();
            (name, old)
        });
    }
    for (name, old) in clients.join_all().await {
        assert_ne!(fixture.api().value(name).await, old, "{name}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_delete_is_answered_when_the_deletion_shows() {
    let Some(fixture) = Fixture::new().await else { return };
    let server = fixture.setup.start().await;
    let mut admin = fixture.admin(&server).await;
    create(&mut admin, "my-key").await.ok_empty();
    let api = fixture.api();
    let known = api.describe("my-key").await.expect("it is there").to_string();
    let value = api.secrets("GetSecretValue", json!({ "SecretId": "my-key" })).await.to_string();
    // AWS's reads are stale for two more lookups after it is deleted.
    let lookups = Arc::new(AtomicUsize::new(0));
    for (action, body) in [("DescribeSecret", known), ("GetSecretValue", value)] {
        let lookups = Arc::clone(&lookups);
        let is_it = action_on(action, "my-key");
        let reply = kes_harness::proxy::Reply::new(200, "application/x-amz-json-1.1", body);
        fixture.proxy.inject(answer(reply), move |asked| {
            is_it(asked) && lookups.fetch_add(1, Ordering::Relaxed) < 3
        });
    }
    delete(&mut admin, "my-key").await.ok_empty();
    generate(&mut admin, "my-key").await.refused(404, "key does not exist");
    assert!(lookups.load(Ordering::Relaxed) >= 3);
    server.stop().await;
}

#[tokio::test]
async fn a_delete_whose_answer_is_lost_is_done_and_one_of_another_s_key_is_not() {
    let Some(fixture) = Fixture::new().await else { return };
    let server = fixture.setup.start().await;
    let mut admin = fixture.admin(&server).await;
    fixture.api().put("my-lost", &stored()).await;
    fixture.proxy.inject_times(1, Fault::Lost, action_on("DeleteSecret", "my-lost"));
    delete(&mut admin, "my-lost").await.ok_empty();
    assert_eq!(fixture.api().describe("my-lost").await, None);
    // By its ARN: a secret that gets the name meanwhile is left alone.
    let asked = fixture.proxy.seen(action("DeleteSecret")).await;
    let body: Value = serde_json::from_slice(&asked.body).expect("JSON");
    assert!(body["SecretId"].as_str().is_some_and(|id| id.starts_with("arn:aws:secretsmanager:")));
    assert_eq!(body["ForceDeleteWithoutRecovery"], true);
    server.stop().await;
}
