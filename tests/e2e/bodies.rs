//! Request bodies, contexts and ciphertexts.

use kes_harness::{Answer, Connection, PROTOCOLS, Payload, Request, Server, Setup, b64, unb64};
use serde_json::json;

const NOT_AUTHENTIC: &str = "decryption failed: ciphertext is not authentic";
const METHODS: [&str; 2] = ["POST", "PUT"];

async fn with_key() -> (Setup, Server) {
    let setup = Setup::new();
    let server = setup.start_with_key("k").await;
    (setup, server)
}

async fn decrypt(connection: &mut Connection, ciphertext: &str, context: Option<&str>) -> Answer {
    let mut body = json!({ "ciphertext": ciphertext });
    if let Some(context) = context {
        body["context"] = context.into();
    }
    connection.post("/v1/key/decrypt/k", &body.to_string()).await
}

#[tokio::test]
async fn row_9_bodies_without_a_length_are_read_and_the_context_counts() {
    let (setup, server) = with_key().await;
    for protocol in PROTOCOLS {
        let mut admin = server.connect_over(setup.admin(), protocol).await;
        let made = admin.post("/v1/key/generate/k", r#"{"context":"Y29udGV4dA=="}"#).await.ok();
        let ciphertext = made.text("ciphertext");
        let opened = decrypt(&mut admin, &ciphertext, Some("Y29udGV4dA==")).await.ok();
        assert_eq!(opened.text("plaintext"), made.text("plaintext"));
        decrypt(&mut admin, &ciphertext, None).await.refused(400, NOT_AUTHENTIC);

        let (feed, payload) = Payload::fed();
        let request = Request::new("POST", "/v1/key/generate/k").payload(payload);
        let pending = admin.start(request).await.expect("a connection");
        for piece in ["{\"con", "text\":\"Y29u", "dGV4dA==\"}"] {
            feed.send(piece);
        }
        drop(feed);
        let ciphertext = pending.answer().await.ok().text("ciphertext");
        decrypt(&mut admin, &ciphertext, Some("Y29udGV4dA==")).await.ok();
        decrypt(&mut admin, &ciphertext, Some("")).await.refused(400, NOT_AUTHENTIC);
    }
}

#[tokio::test]
async fn row_10_an_empty_body_is_never_no_context() {
    let (setup, server) = with_key().await;
    for protocol in PROTOCOLS {
        let mut admin = server.connect_over(setup.admin(), protocol).await;
        for operation in ["generate/k", "decrypt/k", "encrypt/k", "hmac/k", "import/new"] {
            for method in METHODS {
                for payload in [Payload::none(), Payload::chunked(""), Payload::sized("")] {
                    let path = format!("/v1/key/{operation}");
                    let request = Request::new(method, &path).payload(payload);
                    admin.send(request).await.refused(400, "request body is empty");
                }
            }
        }
    }
    let mut admin = server.connect(setup.admin()).await;
    admin.get("/v1/key/describe/new").await.refused(404, "key does not exist");
}

#[tokio::test]
async fn row_11_post_and_put_are_both_accepted() {
    let setup = Setup::new();
    let server = setup.start().await;
    for (round, protocol) in PROTOCOLS.into_iter().enumerate() {
        let mut admin = server.connect_over(setup.admin(), protocol).await;
        for method in METHODS {
            let key = format!("{method}-{round}");
            let path = |operation: &str| format!("/v1/key/{operation}/{key}");
            admin.call(method, &path("create")).await.ok_empty();
            let mut ciphertext = String::new();
            for operation in ["generate", "encrypt", "decrypt", "hmac"] {
                let body = json!({ "ciphertext": ciphertext, "plaintext": "", "message": "" });
                let request = Request::new(method, &path(operation)).json(body.to_string());
                let answer = admin.send(request).await.ok();
                if operation == "encrypt" {
                    ciphertext = answer.text("ciphertext");
                }
            }
            let body = json!({ "key": b64([1; 32]), "cipher": "AES256" }).to_string();
            let path = format!("/v1/key/import/imported-{key}");
            admin.send(Request::new(method, &path).json(body)).await.ok_empty();
        }
    }
}

#[tokio::test]
async fn row_12_a_data_key_has_32_bytes_and_a_ciphertext() {
    let (setup, server) = with_key().await;
    let mut admin = server.connect(setup.admin()).await;
    let first = admin.post("/v1/key/generate/k", "{}").await.ok();
    let second = admin.post("/v1/key/generate/k", "{}").await.ok();
    for answer in [&first, &second] {
        assert_eq!(answer.header("content-type"), "application/json");
        assert_eq!(unb64(&answer.text("plaintext")).len(), 32);
        // 16 bytes of tag, 16 of IV, 12 of nonce.
        assert_eq!(unb64(&answer.text("ciphertext")).len(), 32 + 44);
    }
    assert_ne!(first.text("plaintext"), second.text("plaintext"));
    assert_ne!(first.text("ciphertext"), second.text("ciphertext"));
}

#[tokio::test]
async fn row_13_any_other_context_key_or_bit_is_not_authentic() {
    let (setup, server) = with_key().await;
    let mut admin = server.connect(setup.admin()).await;
    admin.call("POST", "/v1/key/create/other").await.ok_empty();
    let long = b64([9; 300]);
    for context in ["", "e30=", "Y3R4", long.as_str()] {
        let body = json!({ "context": context }).to_string();
        let made = admin.post("/v1/key/generate/k", &body).await.ok();
        let ciphertext = made.text("ciphertext");
        let opened = decrypt(&mut admin, &ciphertext, Some(context)).await.ok();
        assert_eq!(opened.text("plaintext"), made.text("plaintext"));

        let mut other = unb64(context);
        other.push(b' ');
        decrypt(&mut admin, &ciphertext, Some(&b64(&other))).await.refused(400, NOT_AUTHENTIC);
        let body = json!({ "ciphertext": ciphertext, "context": context }).to_string();
        admin.post("/v1/key/decrypt/other", &body).await.refused(400, NOT_AUTHENTIC);
        let bytes = unb64(&ciphertext);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let answer = decrypt(&mut admin, &b64(&flipped), Some(context)).await;
            answer.refused(400, NOT_AUTHENTIC);
        }
        for length in 0..bytes.len() {
            let answer = decrypt(&mut admin, &b64(&bytes[..length]), Some(context)).await;
            answer.refused(400, NOT_AUTHENTIC);
        }
        let longer = [&bytes[..], b"x"].concat();
        decrypt(&mut admin, &b64(longer), Some(context)).await.refused(400, NOT_AUTHENTIC);
    }
    for garbage in [&b"{"[..], b"{}", br#"{"aead":"AES-256-GCM-HMAC-SHA-256"}"#, &[0x95], &[0; 76]]
    {
        decrypt(&mut admin, &b64(garbage), None).await.refused(400, NOT_AUTHENTIC);
    }
}

#[tokio::test]
async fn row_14_a_context_is_opaque_and_an_absent_one_is_empty() {
    let (setup, server) = with_key().await;
    let mut admin = server.connect(setup.admin()).await;
    let braces = admin.post("/v1/key/generate/k", r#"{"context":"e30="}"#).await.ok();
    let braces = braces.text("ciphertext");
    decrypt(&mut admin, &braces, None).await.refused(400, NOT_AUTHENTIC);
    decrypt(&mut admin, &braces, Some("")).await.refused(400, NOT_AUTHENTIC);
    decrypt(&mut admin, &braces, Some("e30=")).await.ok();

    let absent = admin.post("/v1/key/generate/k", "{}").await.ok().text("ciphertext");
    decrypt(&mut admin, &absent, None).await.ok();
    decrypt(&mut admin, &absent, Some("")).await.ok();
    decrypt(&mut admin, &absent, Some("e30=")).await.refused(400, NOT_AUTHENTIC);

    // Neither JSON nor text, and nothing is normalised.
    let spaced = b64(b"{ \"a\" : 1 }");
    let binary = b64((0..=255).collect::<Vec<u8>>());
    for context in [spaced.as_str(), &binary] {
        let body = json!({ "context": context }).to_string();
        let made = admin.post("/v1/key/generate/k", &body).await.ok().text("ciphertext");
        decrypt(&mut admin, &made, Some(context)).await.ok();
        decrypt(&mut admin, &made, Some(&b64(b"{\"a\":1}"))).await.refused(400, NOT_AUTHENTIC);
    }
}

#[tokio::test]
async fn row_28_a_body_of_990_000_bytes_is_read_and_one_of_2_mb_is_413() {
    let (setup, server) = with_key().await;
    for protocol in PROTOCOLS {
        let mut admin = server.connect_over(setup.admin(), protocol).await;
        let context = "QUFB".repeat((990_000 - 14) / 4);
        let body = format!(r#"{{"context":"{context}"}}"#);
        let made = admin.post("/v1/key/generate/k", &body).await.ok();
        decrypt(&mut admin, &made.text("ciphertext"), Some(&context)).await.ok();

        let body = format!(r#"{{"context":"{}"}}"#, "QUFB".repeat(500_000));
        for payload in [Payload::chunked(body.clone()), Payload::sized(body)] {
            let mut admin = server.connect_over(setup.admin(), protocol).await;
            let request = Request::new("POST", "/v1/key/generate/k").payload(payload);
            let answer = admin.send(request).await;
            assert_eq!(answer.status, 413, "{protocol:?}: {answer:?}");
            answer.error();
        }
    }
}

#[tokio::test]
async fn row_29_answers_stay_below_what_clients_read() {
    const MIB: usize = 1 << 20;
    let (setup, server) = with_key().await;
    let mut admin = server.connect(setup.admin()).await;
    assert!(admin.get("/version").await.ok().body.len() <= 1024);
    let body = json!({ "message": b64(vec![5; 700_000]) }).to_string();
    assert!(admin.post("/v1/key/hmac/k", &body).await.ok().body.len() <= 1000);
    for path in ["/v1/status", "/v1/api", "/v1/metrics", "/v1/key/list/", "/v1/key/describe/k"] {
        assert!(admin.get(path).await.ok().body.len() <= MIB, "{path}");
    }
    let body = json!({ "plaintext": b64(vec![5; 740_000]) }).to_string();
    assert!(admin.post("/v1/key/encrypt/k", &body).await.ok().body.len() <= MIB);
}

#[tokio::test]
async fn row_46_unknown_fields_are_passed_over() {
    let (setup, server) = with_key().await;
    let mut admin = server.connect(setup.admin()).await;
    for version in ["", "v1"] {
        let body = json!({ "context": "Yw==", "version": version, "more": { "x": [1, null] } });
        let made = admin.post("/v1/key/generate/k", &body.to_string()).await.ok();
        let body = json!({
            "ciphertext": made.text("ciphertext"),
            "context": "Yw==",
            "version": version,
            "more": 1,
        });
        let opened = admin.post("/v1/key/decrypt/k", &body.to_string()).await.ok();
        assert_eq!(opened.text("plaintext"), made.text("plaintext"));
    }
}
