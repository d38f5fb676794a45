//! The recorded exchanges, on a server with its keys in Vault.

use kes_harness::vault::{Engine, Kv};
use kes_harness::{PROTOCOLS, Proto, Setup, Tls, suite, vectors};
use serde_json::json;

use crate::fixture::Fixture;

/// An empty folder of its own in the engine.
fn engine_for(fixture: &Fixture, number: usize) -> Engine {
    fixture.engine.at(&format!("keys/{number}"))
}

#[tokio::test]
async fn every_exchange_is_answered() {
    for kv in [Kv::V1, Kv::V2] {
        let Some(fixture) = Fixture::new(kv, json!({})).await else { return };
        for (number, protocol) in PROTOCOLS.into_iter().enumerate() {
            let engine = engine_for(&fixture, number);
            let setup = Setup::new().vault(engine.keystore());
            suite::every_exchange_is_answered(setup, protocol).await;
        }
    }
}

#[tokio::test]
async fn the_recorded_traffic_of_a_real_minio_is_served() {
    let (keys, _) = vectors::traffic();
    for kv in [Kv::V1, Kv::V2] {
        let Some(fixture) = Fixture::new(kv, json!({})).await else { return };
        for (number, proto) in [Proto::H1, Proto::H2].into_iter().enumerate() {
            let engine = engine_for(&fixture, number);
            for (name, stored) in &keys {
                engine.put(fixture.bao.root(), name, json!({ name: stored })).await;
            }
            let setup = Setup::new().vault(engine.keystore());
            let protocol = (proto, Tls::V13);
            suite::each_recorded_ciphertext_opens_to_its_recorded_data_key(&setup).await;
            suite::each_recorded_request_gets_its_recorded_status(&setup, protocol).await;
        }
    }
}
