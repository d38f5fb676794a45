//! The format of secrets: those of other writers are read, and ours have the same format.

use kes_harness::caller::{decrypt, generate};
use kes_harness::{Request, vectors};
use serde_json::json;

use crate::fixture::{Fixture, action, action_on, create, delete, names, stored};

#[tokio::test]
async fn a_key_that_was_created_has_the_shape_of_kes_s() {
    let Some(fixture) = Fixture::new().await else { return };
    let server = fixture.setup.start().await;
    create(&mut fixture.admin(&server).await, "my-key").await.ok_empty();
    let value = fixture.api().value("my-key").await.expect("a text");
    assert!(value.starts_with("Ci"), "{value}");
    let found = fixture.api().describe("my-key").await.expect("it is there");
    assert!(found["KmsKeyId"].is_null(), "{found}");
    let tags = found["Tags"].as_array().map_or(0, Vec::len);
    assert_eq!(tags, 0, "{found}");
    assert!(found["Description"].as_str().unwrap_or_default().is_empty(), "{found}");
    server.stop().await;
}

#[tokio::test]
async fn the_recorded_secret_of_kes_is_served_as_text_and_as_bytes() {
    let Some(fixture) = Fixture::new().await else { return };
    let recorded = vectors::aws_secret();
    fixture.api().put(&recorded.secret_id, &recorded.value).await;
    fixture.api().put_binary("my-binary", recorded.value.as_bytes()).await;
    let server = fixture.setup.start().await;
    let mut admin = fixture.admin(&server).await;
    assert_eq!(names(&mut admin, "").await, ["my-a", "my-binary"]);
    for name in ["my-a", "my-binary"] {
        let described = admin.get(&format!("/v1/key/describe/{name}")).await.ok();
        assert_eq!(described.text("algorithm"), "AES256");
        let made = generate(&mut admin, name).await.ok();
        for opener in ["my-a", "my-binary"] {
            decrypt(&mut admin, opener, &made).await.ok();
        }
    }
    delete(&mut admin, "my-binary").await.ok_empty();
    server.stop().await;
}

#[tokio::test]
async fn a_secret_that_is_no_key_is_an_error_and_says_nothing_of_what_is_in_it() {
    let Some(fixture) = Fixture::new().await else { return };
    let server = fixture.setup.start().await;
    let mut admin = fixture.admin(&server).await;
    fixture.api().put("my-text", "hunter2 is no key").await;
    fixture.api().put_binary("my-bytes", b"\xff\xfehunter2").await;
    // Made without a value.
    fixture.api().secrets("CreateSecret", json!({ "Name": "my-hollow" })).await;
    for name in ["my-text", "my-bytes", "my-hollow"] {
        generate(&mut admin, name).await.refused(502, "failed to read key");
        server.log_has(&["failed to read key", name]).await;
        create(&mut admin, name).await.refused(400, "key already exists");
    }
    let log = server.stderr().so_far().join("\n");
    assert!(!log.contains("hunter2"), "{log}");
    for name in ["my-text", "my-bytes", "my-hollow"] {
        delete(&mut admin, name).await.ok_empty();
    }
    server.stop().await;
}

#[tokio::test]
async fn a_secret_with_two_versions_is_read_and_warned_of_once() {
    let Some(fixture) = Fixture::new().await else { return };
    let server = fixture.setup.start().await;
    let mut admin = fixture.admin(&server).await;
    create(&mut admin, "my-key").await.ok_empty();
    fixture.api().put("my-two", "something else").await;
    fixture.api().put_version("my-two", &stored()).await;
    for _ in 0..5 {
        generate(&mut admin, "my-two").await.ok();
        generate(&mut admin, "my-key").await.ok();
    }
    server.log_has(&["WARN", "secret 'my-two' has 2 versions"]).await;
    fixture.proxy.seen(action_on("DescribeSecret", "my-key")).await;
    for name in ["my-two", "my-key"] {
        generate(&mut admin, name).await.ok();
    }
    server.signal(rustix::process::Signal::TERM);
    let log = server.stderr().all().await;
    assert_eq!(log.matches("versions").count(), 1, "{log}");
    assert_eq!(fixture.proxy.count(action_on("DescribeSecret", "my-two")), 1);
}

#[tokio::test]
async fn tags_and_the_kms_key_go_with_what_is_created() {
    let Some(fixture) = Fixture::new().await else { return };
    let (key, arn) = fixture.api().make_key("ENCRYPT_DECRYPT", "SYMMETRIC_DEFAULT").await;
    fixture.api().kms("CreateAlias", json!({ "AliasName": "alias/kes", "TargetKeyId": key })).await;
    let version = kes_harness::kes().run(&["--version"]).await.ok();
    let version = version.split_whitespace().nth(1).expect("a version").to_owned();
    for (number, (more, tags)) in [
        (json!({ "kmskey": key }), json!(null)),
        (
            json!({ "kmskey": "alias/kes", "tags": {} }),
            json!({ "kes:created-by": "kes", "kes:version": version }),
        ),
        (
            json!({ "kmskey": arn, "tags": { "team": "storage", "kes:created-by": "us" } }),
            json!({ "kes:created-by": "us", "kes:version": version, "team": "storage" }),
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let setup = fixture.another(more.clone());
        let server = setup.start().await;
        let name = format!("my-key-{number}");
        create(&mut server.connect(setup.admin()).await, &name).await.ok_empty();
        let asked = fixture.proxy.seen(action_on("CreateSecret", &name)).await;
        let body: serde_json::Value = serde_json::from_slice(&asked.body).expect("JSON");
        assert_eq!(body["KmsKeyId"], more["kmskey"]);
        let found = fixture.api().describe(&name).await.expect("it is there");
        let listed = found["Tags"].as_array().cloned().unwrap_or_default();
        let pairs = listed.iter().map(|tag| (tag["Key"].to_string(), tag["Value"].clone()));
        let of_aws: serde_json::Map<_, _> =
            pairs.map(|(key, value)| (key.trim_matches('"').to_owned(), value)).collect();
        assert_eq!(json!(of_aws), if tags.is_null() { json!({}) } else { tags }, "{found}");
        server.stop().await;
    }
}

#[tokio::test]
async fn a_name_that_aws_takes_for_an_arn_is_one() {
    let Some(fixture) = Fixture::new().await else { return };
    let server = fixture.setup.start().await;
    let mut admin = fixture.admin(&server).await;
    // AWS takes a name that ends in a hyphen and six characters for one with AWS's own suffix.
    for name in ["my-key", "my-key-AbCdEf"] {
        create(&mut admin, name).await.ok_empty();
    }
    let made = generate(&mut admin, "my-key").await.ok();
    decrypt(&mut admin, "my-key-AbCdEf", &made)
        .await
        .refused(400, "decryption failed: ciphertext is not authentic");
    delete(&mut admin, "my-key-AbCdEf").await.ok_empty();
    decrypt(&mut admin, "my-key", &made).await.ok();
    server.stop().await;
}

#[tokio::test]
async fn what_was_imported_is_kept_and_read() {
    let Some(fixture) = Fixture::new().await else { return };
    let server = fixture.setup.start().await;
    let mut admin = fixture.admin(&server).await;
    let body = json!({ "key": kes_harness::b64([7; 32]), "cipher": "AES256" }).to_string();
    let import =
        |name: &str| Request::new("PUT", &format!("/v1/key/import/{name}")).json(body.clone());
    for name in ["my-one", "my-two"] {
        admin.send(import(name)).await.ok_empty();
    }
    admin.send(import("my-one")).await.refused(400, "key already exists");
    let made = generate(&mut admin, "my-one").await.ok();
    decrypt(&mut admin, "my-two", &made).await.ok();
    assert_eq!(fixture.proxy.count(action("CreateSecret")), 3);
    server.stop().await;
}
