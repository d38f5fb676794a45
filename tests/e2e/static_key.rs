//! Data of a `MinIO` with a built-in single key is taken over.

use kes_harness::vectors;
use kes_harness::{PROTOCOLS, Setup};
use serde_json::json;

#[tokio::test]
async fn row_52_an_imported_static_key_opens_what_minio_sealed() {
    let vectors = vectors::static_key();
    let (name, key) = vectors.minio_kms_secret_key.split_once(':').expect("name:key");
    for cipher in ["AES256", "AES256-GCM_SHA256"] {
        let setup = Setup::new();
        let server = setup.start().await;
        for protocol in PROTOCOLS {
            let mut admin = server.connect_over(setup.admin(), protocol).await;
            let import = json!({ "key": key, "cipher": cipher }).to_string();
            let answer = admin.post(&format!("/v1/key/import/{name}"), &import).await;
            assert!(answer.status == 200 || answer.error() == "key already exists");
            for row in &vectors.ciphertexts {
                let body = json!({ "ciphertext": row.ciphertext, "context": row.context });
                let path = format!("/v1/key/decrypt/{name}");
                let answer = admin.post(&path, &body.to_string()).await.ok();
                assert_eq!(answer.json(), json!({ "plaintext": row.plaintext }), "{row:?}");
            }
        }
    }
}
