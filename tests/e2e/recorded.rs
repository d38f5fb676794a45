//! Recorded exchanges, with keys in files: the traffic of a real `MinIO`, and `wire.jsonl`.

use kes_harness::{PROTOCOLS, Proto, Setup, suite, vectors};

fn with_recorded_keys() -> Setup {
    let (keys, _) = vectors::traffic();
    let setup = Setup::new();
    for (name, stored) in &keys {
        setup.store(name, stored);
    }
    setup
}

#[tokio::test]
async fn each_recorded_request_gets_its_recorded_status() {
    for protocol in PROTOCOLS {
        suite::each_recorded_request_gets_its_recorded_status(&with_recorded_keys(), protocol)
            .await;
    }
}

#[tokio::test]
async fn each_recorded_ciphertext_opens_to_its_recorded_data_key() {
    let setup = with_recorded_keys();
    suite::each_recorded_ciphertext_opens_to_its_recorded_data_key(&setup).await;
}

#[tokio::test]
async fn every_exchange_is_answered_over_http_1_1() {
    for protocol in PROTOCOLS.into_iter().filter(|(proto, _)| *proto == Proto::H1) {
        suite::every_exchange_is_answered(Setup::new(), protocol).await;
    }
}

#[tokio::test]
async fn every_exchange_is_answered_over_h2() {
    for protocol in PROTOCOLS.into_iter().filter(|(proto, _)| *proto == Proto::H2) {
        suite::every_exchange_is_answered(Setup::new(), protocol).await;
    }
}
