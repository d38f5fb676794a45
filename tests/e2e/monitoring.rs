//! `docs/monitoring.md`: what it says about policies that were written for KES.

use kes_harness::guide::Document;
use kes_harness::{Connection, Credential, Setup};

/// The requests that `MinIO` makes every 10 s, and how many of them were counted as refused.
async fn refused(allow: &[&str]) -> (u16, String) {
    let minio = Credential::generate();
    let setup = Setup::new().policy("minio", allow, &[], &[&minio]);
    let server = setup.start().await;
    let mut admin = server.connect(setup.admin()).await;
    admin.call("PUT", "/v1/key/create/minio-default-key").await.ok();
    let mut connection = server.connect(&minio).await;
    let status = connection.get("/v1/key/describe/minio-default-key").await.status;
    let errors = counted(&mut admin).await;
    server.stop().await;
    (status, errors)
}

async fn counted(admin: &mut Connection) -> String {
    let metrics = admin.get("/v1/metrics").await.ok();
    let text = String::from_utf8_lossy(&metrics.body).into_owned();
    let line = text.lines().find(|line| line.starts_with("kes_http_request_error{code=\"403\"}"));
    line.and_then(|line| line.rsplit(' ').next()).unwrap_or("0").to_owned()
}

#[tokio::test]
async fn the_last_line_of_the_policy_ends_the_refusals_that_are_counted() {
    let document = Document::read("docs/monitoring.md").section("## What differs from KES");
    let [policy] = document.blocks("yaml")[..] else { panic!("one policy") };
    let patterns = policy.lines().filter_map(|line| line.trim().strip_prefix("- "));
    let patterns: Vec<&str> = patterns.collect();
    let (last, old) = patterns.split_last().expect("a line to add");
    assert!(last.starts_with("/v1/key/describe/"), "{last}");
    assert_eq!(refused(old).await, (403, "1".to_owned()));
    assert_eq!(refused(&patterns).await, (200, "0".to_owned()));
}
