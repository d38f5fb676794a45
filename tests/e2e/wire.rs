//! `wire.jsonl` with keys in files.

use kes_tests::{Proto, Setup, WAYS, suite};

#[tokio::test]
async fn every_exchange_is_answered_over_http_1_1() {
    for way in WAYS.into_iter().filter(|(proto, _)| *proto == Proto::H1) {
        suite::every_exchange_is_answered(Setup::new(), way).await;
    }
}

#[tokio::test]
async fn every_exchange_is_answered_over_h2() {
    for way in WAYS.into_iter().filter(|(proto, _)| *proto == Proto::H2) {
        suite::every_exchange_is_answered(Setup::new(), way).await;
    }
}
