//! The recorded traffic of a real `MinIO`, with keys in files.

use kes_tests::{Setup, WAYS, suite, vectors};

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
    for way in WAYS {
        suite::each_recorded_request_gets_its_recorded_status(&with_recorded_keys(), way).await;
    }
}

#[tokio::test]
async fn each_recorded_ciphertext_opens_to_its_recorded_data_key() {
    let setup = with_recorded_keys();
    suite::each_recorded_ciphertext_opens_to_its_recorded_data_key(&setup).await;
}
