//! Suite: the recorded traffic of a real `MinIO` is replayed.

use serde_json::{Value, json};

use crate::vectors::{self, Recorded};
use crate::{Answer, Connection, Payload, Proto, Request, Setup, Tls};

/// Sends the recorded requests, in order, to a server of this setup, whose store is to hold the
/// recorded keys.
///
/// # Panics
/// If an answer has not its recorded status.
pub async fn each_recorded_request_gets_its_recorded_status(setup: &Setup, protocol: (Proto, Tls)) {
    let (_, traffic) = vectors::traffic();
    let server = setup.start().await;
    let mut connection = server.connect_over(setup.admin(), protocol).await;
    for (at, recorded) in traffic.iter().enumerate() {
        let answer = replay(&mut connection, recorded).await;
        let listing = recorded.path == "/v1/key/list";
        let status = if listing { 200 } else { recorded.status };
        assert_eq!(answer.status, status, "{protocol:?}, request {at}: {recorded:?}\n{answer:?}");
        if answer.status >= 400 || recorded.path.contains("/decrypt/") {
            let want: Value = serde_json::from_str(&recorded.answer).expect("recorded JSON");
            assert_eq!(answer.json(), want, "{protocol:?}, request {at}");
        }
    }
}

/// Opens every recorded ciphertext whose key the store is to hold.
///
/// # Panics
/// If one does not open to its recorded data key.
pub async fn each_recorded_ciphertext_opens_to_its_recorded_data_key(setup: &Setup) {
    let (keys, traffic) = vectors::traffic();
    let server = setup.start().await;
    let mut connection = server.connect(setup.admin()).await;
    let mut opened = 0;
    for recorded in traffic.iter().filter(|it| it.path.contains("/generate/") && it.status == 200) {
        let body: Value = serde_json::from_str(&recorded.body).expect("recorded JSON");
        let made: Value = serde_json::from_str(&recorded.answer).expect("recorded JSON");
        let name = recorded.path.rsplit('/').next().expect("a path has segments");
        if !keys.contains_key(name) {
            continue;
        }
        let request = json!({ "ciphertext": made["ciphertext"], "context": body["context"] });
        let path = format!("/v1/key/decrypt/{name}");
        let answer = connection.post(&path, &request.to_string()).await.ok();
        assert_eq!(answer.json(), json!({ "plaintext": made["plaintext"] }), "{recorded:?}");
        opened += 1;
    }
    assert!(opened > 70, "only {opened} ciphertexts were recorded");
}

async fn replay(connection: &mut Connection, recorded: &Recorded) -> Answer {
    let mut request = Request::new(&recorded.method, &recorded.path);
    for (name, values) in &recorded.headers {
        for value in values {
            request = request.header(name, value);
        }
    }
    let body = recorded.body.clone();
    let payload = match recorded.content_length {
        -1 => Payload::chunked(body),
        _ if recorded.method == "GET" => Payload::none(),
        _ => Payload::sized(body),
    };
    connection.send(request.payload(payload)).await
}
