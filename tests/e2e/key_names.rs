//! Names of keys in paths: how they are decoded, and which are refused.

use kes_harness::{PROTOCOLS, Proto, Setup, Tls};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

#[tokio::test]
async fn row_26_names_are_decoded_once_and_may_have_80_characters() {
    let setup = Setup::new();
    let server = setup.start().await;
    for (round, protocol) in PROTOCOLS.into_iter().enumerate() {
        let mut admin = server.connect_over(setup.admin(), protocol).await;
        let long = format!("{round}{}", "aZ0_-".repeat(16)).split_at(80).0.replace('-', "_");
        for (sent, name) in [
            (format!("my%2D{round}"), format!("my-{round}")),
            (format!("%6D%79_{round}"), format!("my_{round}")),
            (format!("minio-default-key{round}"), format!("minio-default-key{round}")),
            (long.clone(), long),
        ] {
            admin.call("POST", &format!("/v1/key/create/{sent}")).await.ok_empty();
            let answer = admin.get(&format!("/v1/key/describe/{name}")).await.ok();
            assert_eq!(answer.text("name"), name);
        }
        let twice = admin.call("POST", "/v1/key/create/my%252Dx").await;
        twice.refused(400, "key name 'my%2Dx' is empty, too long or contains invalid characters");
    }
}

#[tokio::test]
async fn row_27_names_that_cannot_be_are_a_clean_4xx() {
    let setup = Setup::new();
    let server = setup.start().await;
    for protocol in PROTOCOLS {
        let mut admin = server.connect_over(setup.admin(), protocol).await;
        for (path, status) in [
            ("/v1/key", 404),
            ("/v1/key/", 404),
            ("/v1/key/create", 404),
            ("/v1/key/create/", 400),
            ("/v1/key/create/a%2Fb", 400),
            ("/v1/key/create/a/b", 400),
            ("/v1/key/create/a:b", 400),
            ("/v1/key/create/arn:aws:kms:k", 400),
            ("/v1/key/create/%C3%A4%E2%82%AC", 400),
            ("/v1/key/create/%20", 400),
            ("/v1/key/create/a%00b", 400),
            ("/v1/key/create/a%0Ab", 400),
            ("/v1/key/create/a%5Cb", 400),
            ("/v1/key/create/_", 400),
            ("/v1/key/create/a-", 400),
            ("/v1/key/create/%2A", 400),
            ("/v1/key/create/.", 404),
            ("/v1/key/create/..", 404),
            ("/v1/key/create/%2E%2E", 404),
            ("/v1/key/create/..%2F..%2Fetc%2Fpasswd", 404),
            ("/v1/key/create/../create/k", 404),
            ("//v1/key/create/k", 404),
            ("/v1/key//create/k", 404),
            ("/v1/./key/create/k", 404),
            ("/v1/key/create/%", 400),
            ("/v1/key/create/%2", 400),
            ("/v1/key/create/%zz", 400),
            ("/v1/key/create/%FF", 400),
        ] {
            let answer = admin.call("POST", path).await;
            assert_eq!(answer.status, status, "{protocol:?} {path}: {answer:?}");
            answer.error();
            assert_eq!(answer.header("location"), "");
        }
        let long = format!("/v1/key/create/{}", "k".repeat(5000));
        let answer = admin.call("POST", &long).await;
        assert_eq!(answer.status, 400, "{answer:?}");
        assert_eq!(admin.get("/v1/key/list/").await.ok().json()["names"], serde_json::json!([]));
    }
}

#[tokio::test]
async fn row_27_what_is_not_http_is_answered_or_dropped_and_the_server_lives() {
    let setup = Setup::new();
    let server = setup.start().await;
    for target in ["/v1/key/create/a b", "/v1/\u{1}", "*", "http://x:y@z/v1/status", "/v1/\u{e4}"] {
        let protocol = (Proto::H1, Tls::V13);
        let mut stream = server.dial().show(setup.admin()).over(protocol).tls().await.expect("TLS");
        let head = format!(
            "POST {target} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.expect("a request is sent");
        let mut answer = Vec::new();
        // It may be dropped without a close notification.
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let fine = answer.is_empty() || answer.starts_with("HTTP/1.1 4");
        assert!(fine, "{target}: {answer}");
    }
    server.connect(setup.admin()).await.get("/v1/status").await.ok();
}
