//! What lies in the engine: what others wrote is read, what we write has the same shape.

use kes_tests::vault::{Bao, Kv, Place, bao};
use kes_tests::{Setup, b64};
use serde_json::json;

#[tokio::test]
async fn a_key_that_was_created_has_the_shape_of_kes_s() {
    let Some(need) = bao() else { return };
    let bao = Bao::start(&need).await;
    for kv in [Kv::V1, Kv::V2] {
        let place = Place::new(&bao, kv.as_str(), kv, json!({})).await;
        let setup = Setup::new().vault(place.keystore());
        let server = setup.start().await;
        let mut admin = server.connect(setup.admin()).await;
        admin.call("PUT", "/v1/key/create/my-key").await.ok();
        let data = place.get(bao.root(), "my-key").await.expect("an entry");
        let fields = data.as_object().expect("fields");
        assert_eq!(fields.len(), 1);
        assert!(fields["my-key"].as_str().is_some_and(|value| value.starts_with("Ci")));
        let body = json!({ "context": b64("c") }).to_string();
        admin.post("/v1/key/generate/my-key", &body).await.ok();
        server.stop().await;
    }
}
