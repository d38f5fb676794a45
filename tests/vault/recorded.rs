//! What is asked of a server with keys in files, asked of one with keys in Vault.

use kes_harness::vault::{Kv, Place};
use kes_harness::{Proto, Setup, Tls, WAYS, suite, vectors};
use serde_json::json;

use crate::site::Site;

/// A place of its own in the engine, empty.
fn place_for(site: &Site, number: usize) -> Place {
    site.place.at(&format!("keys/{number}"))
}

#[tokio::test]
async fn every_exchange_is_answered() {
    for kv in [Kv::V1, Kv::V2] {
        let Some(site) = Site::new(kv, json!({})).await else { return };
        for (number, way) in WAYS.into_iter().enumerate() {
            let place = place_for(&site, number);
            let setup = Setup::new().vault(place.keystore());
            suite::every_exchange_is_answered(setup, way).await;
        }
    }
}

#[tokio::test]
async fn the_recorded_traffic_of_a_real_minio_is_served() {
    let (keys, _) = vectors::traffic();
    for kv in [Kv::V1, Kv::V2] {
        let Some(site) = Site::new(kv, json!({})).await else { return };
        for (number, proto) in [Proto::H1, Proto::H2].into_iter().enumerate() {
            let place = place_for(&site, number);
            for (name, stored) in &keys {
                place.put(site.bao.root(), name, json!({ name: stored })).await;
            }
            let setup = Setup::new().vault(place.keystore());
            let way = (proto, Tls::V13);
            suite::each_recorded_ciphertext_opens_to_its_recorded_data_key(&setup).await;
            suite::each_recorded_request_gets_its_recorded_status(&setup, way).await;
        }
    }
}
