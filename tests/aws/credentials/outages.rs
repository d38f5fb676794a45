//! Outages of the sources of credentials.

use std::sync::Arc;
use std::time::Duration;

use kes_harness::aws::Moto;
use kes_harness::aws::identity::{Behavior, Source};
use kes_harness::caller::{Load, decrypt, generate, until_ready};
use kes_harness::{Connection, Server};
use tokio::task::JoinSet;

use super::fixture::{Fixture, Proof, emulator};
use crate::fixture::create;

/// Every call is an error, and none of them says that a key does not exist.
pub(super) async fn assert_key_routes_fail(admin: &mut Connection) {
    generate(admin, "my-key").await.refused(502, "failed to read key");
    admin.get("/v1/key/describe/my-absent").await.refused(502, "failed to read key");
    create(admin, "my-other").await.refused(502, "failed to create key");
    admin.call("DELETE", "/v1/key/delete/my-key").await.refused(502, "failed to delete key");
    admin.get("/v1/key/list/").await.refused(502, "failed to list keys");
    admin.get("/v1/ready").await.refused(504, "key store is not reachable");
}

async fn outlasts_an_outage(fixture: Fixture, source: Source, fault: Behavior) {
    source.live(Duration::from_secs(16));
    let server = fixture.setup.start().await;
    let name = format!("my-key-{}", server.pid());
    create(&mut fixture.admin(&server).await, &name).await.ok();
    let load = Load::start(&server, fixture.setup.admin(), &name).await;
    source.set_behavior(fault);
    server.log_has(&["the AWS credentials cannot be refreshed", "left_seconds="]).await;
    let is_ready = fixture.admin(&server).await.get("/v1/ready").await;
    is_ready.ok();
    source.set_behavior(Behavior::Serve);
    server.log_has(&["the AWS credentials can be refreshed again"]).await;
    source.until(|ledger| ledger.issued.len() >= 2).await;
    fixture.until_used(&source.issued()[1]).await;
    load.all_succeeded(8).await;
    fixture.was_asked_well();
    server.stop().await;
}

#[tokio::test]
async fn a_source_that_is_away_is_a_warning_as_long_as_credentials_are_valid() {
    let Some(moto) = emulator().await else { return };
    let (instance, web) = (Source::imds().await, Source::sts().await);
    let fixtures = [
        Fixture::with(&moto, &instance, None).await,
        Fixture::with(&moto, &web, Some(&Proof::WEB)).await,
    ];
    let [of_instance, of_web] = fixtures;
    tokio::join!(
        outlasts_an_outage(of_instance, instance, Behavior::Cut),
        outlasts_an_outage(of_web, web, Behavior::Fail(400)),
    );
}

#[tokio::test]
async fn credentials_that_end_while_their_source_is_away_are_an_error_until_it_is_back() {
    let Some(moto) = emulator().await else { return };
    let source = Source::imds().await;
    source.live(Duration::from_secs(4));
    let fixture = Fixture::with(&moto, &source, None).await;
    let server = fixture.setup.start().await;
    let mut admin = fixture.admin(&server).await;
    create(&mut admin, "my-key").await.ok();
    let made = generate(&mut admin, "my-key").await.ok();
    source.set_behavior(Behavior::Cut);
    let mut asked = 0;
    while generate(&mut admin, "my-key").await.status == 200 {
        asked += 1;
        assert!(asked < 1_000_000, "they do not end");
    }
    assert_key_routes_fail(&mut admin).await;
    // Nothing is sent with what has expired, or without a signature.
    fixture.was_asked_well();
    // However many want to know, the source is left in peace.
    let before = source.asked();
    for _ in 0..1000 {
        generate(&mut admin, "my-key").await.refused(502, "failed to read key");
    }
    let asked = source.asked() - before;
    assert!(asked < 100, "the source was asked {asked} times");
    server.log_has(&["failed to read key", "there are no AWS credentials", "IMDS"]).await;
    source.set_behavior(Behavior::Serve);
    until_ready(&mut admin).await;
    decrypt(&mut admin, "my-key", &made).await.ok();
    server.stop().await;
}

async fn starts_late(moto: Arc<Moto>, source: Source, proof: Option<Proof>, fault: Behavior) {
    let fixture = Fixture::with(&moto, &source, proof.as_ref()).await;
    source.set_behavior(fault);
    let server = fixture.setup.start().await;
    is_warned(&server).await;
    let mut admin = fixture.admin(&server).await;
    assert_key_routes_fail(&mut admin).await;
    assert!(fixture.proxy.asked().is_empty(), "AWS was asked without credentials");
    source.set_behavior(Behavior::Serve);
    // Without any request for a key.
    source.until(|ledger| !ledger.issued.is_empty()).await;
    until_ready(&mut admin).await;
    let name = format!("my-key-{}", server.pid());
    create(&mut admin, &name).await.ok();
    generate(&mut admin, &name).await.ok();
    fixture.was_asked_well();
    server.stop().await;
}

async fn is_warned(server: &Server) {
    server.log_has(&["AWS cannot be used now; the server starts all the same"]).await;
}

#[tokio::test]
async fn a_source_that_is_away_at_the_start_is_a_warning_and_recovers() {
    let Some(moto) = emulator().await else { return };
    let moto = Arc::new(moto);
    let mut servers = JoinSet::new();
    let (instance, pod, web) =
        (Source::imds().await, Source::container().await, Source::sts().await);
    servers.spawn(starts_late(Arc::clone(&moto), instance, None, Behavior::Cut));
    servers.spawn(starts_late(Arc::clone(&moto), pod, Some(Proof::POD), Behavior::Fail(503)));
    servers.spawn(starts_late(Arc::clone(&moto), web, Some(Proof::WEB), Behavior::Fail(400)));
    let web = Source::sts().await;
    servers.spawn(starts_late(moto, web, Some(Proof::WEB), Behavior::Hang));
    servers.join_all().await;
}
