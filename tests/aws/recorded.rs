//! The recorded exchanges, on a server with its keys in AWS.

use kes_harness::{PROTOCOLS, Proto, Setup, Tls, suite, vectors};
use serde_json::json;

use crate::fixture::{Fixture, keystore};

fn setup(fixture: &Fixture, prefix: &str) -> Setup {
    Setup::new().aws(keystore(&fixture.proxy, json!({ "prefix": prefix })))
}

#[tokio::test]
async fn every_exchange_is_answered() {
    let Some(fixture) = Fixture::new().await else { return };
    for (number, protocol) in PROTOCOLS.into_iter().enumerate() {
        let setup = setup(&fixture, &format!("wire/{number}"));
        suite::every_exchange_is_answered(setup, protocol).await;
    }
    assert_eq!(fixture.proxy.failures(), Vec::<String>::new());
}

#[tokio::test]
async fn the_recorded_traffic_of_a_real_minio_is_served() {
    let Some(fixture) = Fixture::new().await else { return };
    let (keys, _) = vectors::traffic();
    for (number, proto) in [Proto::H1, Proto::H2].into_iter().enumerate() {
        let prefix = format!("minio/{number}");
        for (name, stored) in &keys {
            fixture.api().put(&format!("{prefix}/{name}"), stored).await;
        }
        let setup = setup(&fixture, &prefix);
        suite::each_recorded_ciphertext_opens_to_its_recorded_data_key(&setup).await;
        suite::each_recorded_request_gets_its_recorded_status(&setup, (proto, Tls::V13)).await;
    }
    assert_eq!(fixture.proxy.failures(), Vec::<String>::new());
}
