//! Credentials are replaced before they expire, under load.

use std::sync::Arc;
use std::time::Duration;

use kes_harness::aws::Moto;
use kes_harness::aws::identity::{Issued, Source};
use kes_harness::caller::Load;
use tokio::task::JoinSet;

use super::fixture::{Fixture, Proof, emulator};
use super::sources::process;
use crate::fixture::create;

/// Lives long enough for a refresh, at three quarters of it, to be in time on a busy machine.
const LIFETIME: Duration = Duration::from_secs(8);

/// A server whose credentials are replaced twice, with something changed for the first time.
async fn is_refreshed(fixture: Fixture, source: Source, change: impl FnOnce(&Fixture, &Source)) {
    source.live(LIFETIME);
    let server = fixture.setup.start().await;
    let name = format!("my-key-{}", server.pid());
    create(&mut fixture.admin(&server).await, &name).await.ok();
    let load = Load::start(&server, fixture.setup.admin(), &name).await;
    change(&fixture, &source);
    source.until(|ledger| ledger.issued.len() >= 3).await;
    let issued = source.issued();
    for issued in &issued {
        fixture.until_used(issued).await;
    }
    load.all_succeeded(8).await;
    fixture.was_asked_well();
    // In the background, before the end: no request waited for it.
    assert!(is_in_time(&issued), "{issued:?}");
    let log = server.stderr().so_far();
    assert!(!log.iter().any(|line| line.contains("credentials cannot be")), "{log:#?}");
    assert_eq!(source.issued().len(), 3, "they are not asked for more often than needed");
    server.stop().await;
}

/// Whether each of them was handed out before the one before it had expired.
fn is_in_time(issued: &[Issued]) -> bool {
    issued.windows(2).all(|pair| pair[1].made < pair[0].expires)
}

async fn of_instance(moto: Arc<Moto>) {
    let source = Source::imds().await;
    let fixture = Fixture::with(&moto, &source, None).await;
    // Its session tokens end when it is restarted.
    is_refreshed(fixture, source, |_, source| source.forget()).await;
}

async fn of_pod(moto: Arc<Moto>) {
    let source = Source::container().await;
    let fixture = Fixture::with(&moto, &source, Some(&Proof::POD)).await;
    is_refreshed(fixture, source, |fixture, source| {
        fixture.show(source, "header.pod-2.signature");
    })
    .await;
}

async fn of_web_identity(moto: Arc<Moto>) {
    let source = Source::sts().await;
    let fixture = Fixture::with(&moto, &source, Some(&Proof::WEB)).await;
    is_refreshed(fixture, source, |fixture, source| {
        fixture.show(source, "header.claims-2.signature");
    })
    .await;
}

/// What the process of a profile says.
async fn of_process(moto: Arc<Moto>) {
    let fixture = Fixture::new(&moto).await;
    let issued = [Issued::new(LIFETIME), Issued::new(LIFETIME * 600)];
    let all = issued.clone();
    fixture.take(move |key_id| all.iter().find(|issued| issued.access_key == key_id).cloned());
    let said = fixture.file("said", &process(&issued[0]));
    let config = format!("[default]\ncredential_process = cat {}\n", said.display());
    let file = fixture.file("config", &config);
    let fixture = fixture.variable("AWS_CONFIG_FILE", &file.display().to_string());
    let server = fixture.setup.start().await;
    create(&mut fixture.admin(&server).await, "my-key").await.ok();
    fixture.file("said", &process(&issued[1]));
    let load = Load::start(&server, fixture.setup.admin(), "my-key").await;
    fixture.until_used(&issued[1]).await;
    load.all_succeeded(8).await;
    fixture.was_asked_well();
    server.stop().await;
}

#[tokio::test]
async fn credentials_are_replaced_before_they_expire_without_a_failed_request() {
    let Some(moto) = emulator().await else { return };
    let moto = Arc::new(moto);
    let mut servers = JoinSet::new();
    servers.spawn(of_instance(Arc::clone(&moto)));
    servers.spawn(of_pod(Arc::clone(&moto)));
    servers.spawn(of_web_identity(Arc::clone(&moto)));
    servers.spawn(of_process(moto));
    servers.join_all().await;
}

#[tokio::test]
async fn a_source_that_has_no_new_ones_yet_is_asked_again_in_time() {
    let Some(moto) = emulator().await else { return };
    let source = Source::imds().await;
    source.live(LIFETIME * 2);
    // When three quarters are over there are still the old ones.
    source.keep(LIFETIME / 4);
    let fixture = Fixture::with(&moto, &source, None).await;
    let server = fixture.setup.start().await;
    create(&mut fixture.admin(&server).await, "my-key").await.ok();
    let load = Load::start(&server, fixture.setup.admin(), "my-key").await;
    source.until(|ledger| ledger.issued.len() >= 2).await;
    let issued = source.issued();
    fixture.until_used(&issued[1]).await;
    load.all_succeeded(8).await;
    fixture.was_asked_well();
    assert!(is_in_time(&issued), "{issued:?}");
    server.stop().await;
}
