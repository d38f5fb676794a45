//! What is asked of a server with keys in files, asked of one with keys in AWS.

use kes_harness::{Proto, Setup, Tls, WAYS, suite, vectors};
use serde_json::json;

use crate::site::{Site, keystore};

fn setup(site: &Site, prefix: &str) -> Setup {
    Setup::new().aws(keystore(&site.proxy, json!({ "prefix": prefix })))
}

#[tokio::test]
async fn every_exchange_is_answered() {
    let Some(site) = Site::new().await else { return };
    for (number, way) in WAYS.into_iter().enumerate() {
        let setup = setup(&site, &format!("wire/{number}"));
        suite::every_exchange_is_answered(setup, way).await;
    }
    assert_eq!(site.proxy.failures(), Vec::<String>::new());
}

#[tokio::test]
async fn the_recorded_traffic_of_a_real_minio_is_served() {
    let Some(site) = Site::new().await else { return };
    let (keys, _) = vectors::traffic();
    for (number, proto) in [Proto::H1, Proto::H2].into_iter().enumerate() {
        let prefix = format!("minio/{number}");
        for (name, stored) in &keys {
            site.api().put(&format!("{prefix}/{name}"), stored).await;
        }
        let setup = setup(&site, &prefix);
        suite::each_recorded_ciphertext_opens_to_its_recorded_data_key(&setup).await;
        suite::each_recorded_request_gets_its_recorded_status(&setup, (proto, Tls::V13)).await;
    }
    assert_eq!(site.proxy.failures(), Vec::<String>::new());
}
