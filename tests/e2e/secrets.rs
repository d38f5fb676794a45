//! What is left of secrets in the server's memory.

use kes_tests::{Credential, Server, WAYS, b64, kes, memory, random, unb64};
use serde_json::json;

#[tokio::test]
async fn nothing_is_left_of_keys_once_they_are_gone() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut command = kes().command();
    // With one worker things happen one after the other: who was answered on a new connection knows
    // that the server has freed what it held of one that ended before.
    command.env("TOKIO_WORKER_THREADS", "1");
    let server = Server::launch_dev(command, folder.path()).await;
    let admin = Credential::from_api_key(&server.dev_api_key().await);
    for way in WAYS {
        let key = random::<32>();
        let mut connection = server.connect_over(&admin, way).await;
        let body = json!({ "key": b64(key), "cipher": "AES256" }).to_string();
        connection.post("/v1/key/import/k", &body).await.ok_empty();
        let answer = connection.post("/v1/key/generate/k", "{}").await.ok();
        let data_key = answer.text("plaintext");
        drop(connection);

        let mut connection = server.connect_over(&admin, way).await;
        connection.get("/v1/status").await.ok();
        let found = |secret: &[u8]| memory::occurrences(server.pid(), secret);
        assert_ne!(found(&key), 0, "{way:?}: a key that is held is found");
        assert_eq!(found(b64(key).as_bytes()), 0, "{way:?}: the body of the import");
        assert_eq!(found(data_key.as_bytes()), 0, "{way:?}: the answer with a data key");
        assert_eq!(found(&unb64(&data_key)), 0, "{way:?}: a data key");
        connection.call("DELETE", "/v1/key/delete/k").await.ok_empty();
        assert_eq!(found(&key), 0, "{way:?}: a key that was deleted");
    }
    server.stop().await;
}
