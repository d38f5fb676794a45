//! Credentials that AWS refuses early, sources that refuse to give credentials, and no source at all.

use std::sync::Arc;
use std::time::Duration;

use kes_harness::aws::Moto;
use kes_harness::aws::identity::Source;
use kes_harness::aws::{Signer, error};
use kes_harness::caller::{generate, until_ready};
use kes_harness::proxy::Fault;
use tokio::task::JoinSet;

use super::fixture::{Fixture, Proof, emulator};
use super::outages::assert_key_routes_fail;
use crate::fixture::{REGION, create};

#[tokio::test]
async fn requests_that_meet_revoked_credentials_cause_one_refresh_and_succeed() {
    let Some(moto) = emulator().await else { return };
    let source = Source::imds().await;
    let fixture = Fixture::with(&moto, &source, None).await;
    let server = fixture.setup.start().await;
    let mut admin = fixture.admin(&server).await;
    // Each uses a key of its own, since those who use the same one share a read.
    let names: Vec<String> = (0..32).map(|number| format!("my-key-{number}")).collect();
    for name in &names {
        create(&mut admin, name).await.ok();
    }
    for round in 1..=2 {
        fixture.revoke(&source.issued()[round - 1]);
        let mut clients = JoinSet::new();
        for name in names.clone() {
            let mut connection = fixture.admin(&server).await;
            clients.spawn(async move { generate(&mut connection, &name).await.status });
        }
        assert_eq!(clients.join_all().await, [200; 32]);
        assert_eq!(source.issued().len(), round + 1);
    }
    fixture.was_asked_well();
    server.stop().await;
}

#[tokio::test]
async fn a_source_that_gives_revoked_credentials_again_is_not_asked_by_every_request() {
    let Some(moto) = emulator().await else { return };
    let source = Source::imds().await;
    source.keep(Duration::from_mins(1));
    let fixture = Fixture::with(&moto, &source, None).await;
    let server = fixture.setup.start().await;
    let mut admin = fixture.admin(&server).await;
    create(&mut admin, "my-key").await.ok();
    fixture.revoke(&source.issued()[0]);
    let before = source.asked();
    let mut clients = JoinSet::new();
    for number in 0..32 {
        let mut connection = fixture.admin(&server).await;
        clients.spawn(async move { generate(&mut connection, &format!("my-{number}")).await });
    }
    for answer in clients.join_all().await {
        answer.refused(502, "failed to read key");
    }
    // Once or twice, with three requests each time.
    let asked = source.asked() - before;
    assert!(asked <= 9, "the source was asked {asked} times");
    server.log_has(&["failed to read key", "ExpiredTokenException"]).await;
    // As good as used up: now there are others.
    source.keep(Duration::from_hours(2));
    generate(&mut admin, "my-key").await.ok();
    assert_eq!(source.issued().len(), 2);
    server.stop().await;
}

async fn succeeds(moto: Arc<Moto>, method: &'static str, path: &'static str) {
    let source = Source::imds().await;
    let fixture = Fixture::with(&moto, &source, None).await;
    let server = fixture.setup.start().await;
    let mut admin = fixture.admin(&server).await;
    let name = format!("my-key-{}", server.pid());
    if !path.contains("create") {
        create(&mut admin, &name).await.ok();
    }
    fixture.revoke(&source.issued()[0]);
    admin.call(method, &path.replace("NAME", &name)).await.ok();
    assert_eq!(source.issued().len(), 2, "{method} {path}");
    fixture.was_asked_well();
    server.stop().await;
}

#[tokio::test]
async fn every_operation_that_meets_revoked_credentials_succeeds_after_one_refresh() {
    let Some(moto) = emulator().await else { return };
    let moto = Arc::new(moto);
    let mut servers = JoinSet::new();
    for (method, path) in [
        ("PUT", "/v1/key/create/NAME"),
        ("GET", "/v1/key/describe/NAME"),
        ("GET", "/v1/key/list/"),
        ("DELETE", "/v1/key/delete/NAME"),
    ] {
        servers.spawn(succeeds(Arc::clone(&moto), method, path));
    }
    servers.join_all().await;
}

#[tokio::test]
async fn an_access_key_that_was_replaced_in_its_file_is_read_again() {
    let Some(moto) = emulator().await else { return };
    let fixture = Fixture::new(&moto).await;
    let signer = |key_id: &str| Signer {
        key_id: key_id.to_owned(),
        secret: "of-the-file".to_owned(),
        token: None,
        region: REGION.to_owned(),
    };
    let write = |key_id: &str| {
        let pair = format!("aws_access_key_id = {key_id}\naws_secret_access_key = of-the-file\n");
        fixture.file(".aws/credentials", &format!("[default]\n{pair}"));
        fixture.demand(signer(key_id));
    };
    write("AKIAFIRST");
    let server = fixture.setup.start().await;
    let mut admin = fixture.admin(&server).await;
    create(&mut admin, "my-key").await.ok();
    write("AKIASECOND");
    generate(&mut admin, "my-key").await.ok();
    let failures = fixture.proxy.failures();
    assert_eq!(failures, ["signed by AKIAFIRST instead of AKIASECOND"]);
    server.stop().await;
}

#[tokio::test]
async fn credentials_that_aws_refuses_whatever_is_done_are_an_error_and_never_a_missing_key() {
    let Some(moto) = emulator().await else { return };
    let source = Source::imds().await;
    let fixture = Fixture::with(&moto, &source, None).await;
    fixture.proxy.inject(Fault::Answer(error::unknown_key()), |_| true);
    let server = fixture.setup.start().await;
    server.log_has(&["AWS cannot be used now", "UnrecognizedClientException"]).await;
    let mut admin = fixture.admin(&server).await;
    assert_key_routes_fail(&mut admin).await;
    fixture.was_asked_well();
    fixture.proxy.heal();
    until_ready(&mut admin).await;
    create(&mut admin, "my-key").await.ok();
    server.stop().await;
}

#[tokio::test]
async fn a_source_that_refuses_for_ever_is_named_in_the_log() {
    let Some(moto) = emulator().await else { return };
    let source = Source::sts().await;
    let fixture = Fixture::with(&moto, &source, Some(&Proof::WEB)).await;
    source.accept("header.another.signature");
    let server = fixture.setup.start().await;
    server.log_has(&["AWS cannot be used now", "InvalidIdentityToken"]).await;
    assert_key_routes_fail(&mut fixture.admin(&server).await).await;
    assert!(fixture.proxy.asked().is_empty());
    server.stop().await;
}

#[tokio::test]
async fn without_any_source_the_log_says_where_it_was_looked_for() {
    let Some(moto) = emulator().await else { return };
    let fixture = Fixture::new(&moto).await;
    let server = fixture.setup.start().await;
    let places = [
        "AWS cannot be used now; the server starts all the same",
        "there are no AWS credentials",
        "Environment",
        "Profile",
        "WebIdentityToken",
        "EcsContainer",
        "Ec2InstanceMetadata",
        "AWS_EC2_METADATA_DISABLED",
    ];
    server.log_has(&places).await;
    assert_key_routes_fail(&mut fixture.admin(&server).await).await;
    assert!(fixture.proxy.asked().is_empty());
    server.stop().await;
}
