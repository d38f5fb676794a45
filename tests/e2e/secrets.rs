//! No secrets are left in the server's memory.

use kes_harness::{Credential, PROTOCOLS, Proto, Server, Tls, b64, kes, memory, random, unb64};
use ring::hmac;
use serde_json::{Value, json};

#[tokio::test]
async fn nothing_is_left_of_keys_once_they_are_gone() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut command = kes().command();
    // With one worker things happen one after the other: who was answered on a new connection knows
    // that the server has freed what it held of one that ended before.
    command.env("TOKIO_WORKER_THREADS", "1");
    let server = Server::launch_dev(command, folder.path()).await;
    let admin = Credential::from_api_key(&server.dev_api_key().await);
    for protocol in PROTOCOLS {
        let key = random::<32>();
        let mut connection = server.connect_over(&admin, protocol).await;
        let body = json!({ "key": b64(key), "cipher": "AES256" }).to_string();
        connection.post("/v1/key/import/k", &body).await.ok_empty();
        let answer = connection.post("/v1/key/generate/k", "{}").await.ok();
        let data_key = answer.text("plaintext");
        drop(connection);

        let mut connection = server.connect_over(&admin, protocol).await;
        connection.get("/v1/status").await.ok();
        let found = |secret: &[u8]| memory::occurrences(server.pid(), secret);
        assert_ne!(found(&key), 0, "{protocol:?}: a key that is held is found");
        assert_eq!(found(b64(key).as_bytes()), 0, "{protocol:?}: the body of the import");
        assert_eq!(found(data_key.as_bytes()), 0, "{protocol:?}: the answer with a data key");
        assert_eq!(found(&unb64(&data_key)), 0, "{protocol:?}: a data key");
        connection.call("DELETE", "/v1/key/delete/k").await.ok_empty();
        assert_eq!(found(&key), 0, "{protocol:?}: a key that was deleted");
    }
    server.stop().await;
}

#[tokio::test]
async fn nothing_is_left_of_what_a_connection_carried_once_it_is_idle() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut command = kes().command();
    // All stacks but one stay as they were at the start.
    command.env("TOKIO_WORKER_THREADS", "1");
    let server = Server::launch_dev(command, folder.path()).await;
    let admin = Credential::from_api_key(&server.dev_api_key().await);
    for (protocol, len) in
        PROTOCOLS.into_iter().flat_map(|protocol| [(protocol, 32), (protocol, 4000)])
    {
        let dial = server.dial().show(&admin).over(protocol);
        // A connection for each request, open and idle while the memory is read.
        let send = async |operation: &str, body: Value| {
            let mut connection = dial.connect().await.expect("a connection");
            let path = format!("/v1/key/{operation}/k");
            let answer = connection.post(&path, &body.to_string()).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            memory::until_at_rest(server.pid()).await;
            (connection, answer)
        };
        let check = |what: &str, secret: &[u8]| {
            let what = format!("{protocol:?}, {len} bytes: {what}");
            is_nowhere(&server, &format!("{what}: raw"), secret, 0);
            is_nowhere(
                &server,
                &format!("{what}: base64"),
                b64(secret).as_bytes(),
                kept_by(protocol),
            );
        };
        let key = random::<32>();
        let (connection, _) = send("import", json!({ "key": b64(key), "cipher": "AES256" })).await;
        is_nowhere(&server, "an imported key", b64(key).as_bytes(), kept_by(protocol));
        drop(connection);

        let (connection, answer) = send("generate", json!({})).await;
        check("a data key", &unb64(&answer.text("plaintext")));
        check("the sub-key of a data key", &sub_key(&key, &unb64(&answer.text("ciphertext"))));
        drop(connection);

        let plaintext = random_vec(len);
        let (connection, sealed) = send("encrypt", json!({ "plaintext": b64(&plaintext) })).await;
        check("a plaintext that was encrypted", &plaintext);
        drop(connection);
        let ciphertext = sealed.text("ciphertext");
        let (connection, answer) = send("decrypt", json!({ "ciphertext": ciphertext })).await;
        assert_eq!(unb64(&answer.text("plaintext")), plaintext);
        check("a plaintext that was decrypted", &plaintext);
        check("the sub-key of a ciphertext", &sub_key(&key, &unb64(&ciphertext)));
        drop(connection);

        let message = random_vec(len);
        let (connection, answer) = send("hmac", json!({ "message": b64(&message) })).await;
        check("a message", &message);
        check("an HMAC", &unb64(&answer.text("hmac")));
        drop(connection);
        let mut connection = dial.connect().await.expect("a connection");
        connection.call("DELETE", "/v1/key/delete/k").await.ok_empty();
    }
    server.stop().await;
}

/// How many copies the buffers of an open connection may hold. Those of the h2 library are wiped when the
/// connection ends.
fn kept_by((proto, _): (Proto, Tls)) -> usize {
    match proto {
        Proto::H1 => 0,
        Proto::H2 => 1,
    }
}

/// Asserts that neither the begin nor the end of a secret is found in the server's memory more than `max`
/// times; a block of a cipher or hash is a part.
#[track_caller]
fn is_nowhere(server: &Server, what: &str, secret: &[u8], max: usize) {
    let part = secret.len().min(40) / 2;
    for (end, needle) in [("begin", &secret[..part]), ("end", &secret[secret.len() - part..])] {
        let found = memory::found(server.pid(), needle);
        assert!(found.len() <= max, "{what}, its {end}, is still in memory: {found:#?}");
    }
}

/// The key of a ciphertext's AEAD: HMAC-SHA-256 of its IV under the named key.
fn sub_key(key: &[u8], ciphertext: &[u8]) -> Vec<u8> {
    let iv = &ciphertext[ciphertext.len() - 28..ciphertext.len() - 12];
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), iv).as_ref().to_vec()
}

fn random_vec(len: usize) -> Vec<u8> {
    std::iter::repeat_with(random::<1>).flatten().take(len).collect()
}
