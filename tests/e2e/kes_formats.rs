//! Keys and ciphertexts that KES wrote are read.

use std::fs;

use kes_harness::vectors::{self, Formats};
use kes_harness::{Server, Setup, b64, unb64};
use serde_json::json;

async fn with_recorded_keys() -> (Formats, Setup, Server) {
    let formats = vectors::formats();
    let setup = Setup::new();
    for key in &formats.keys {
        setup.store(&key.name, &key.stored);
    }
    for refused in &formats.refused_stored {
        setup.store(&refused.name, unb64(&refused.stored_b64));
    }
    let server = setup.start().await;
    (formats, setup, server)
}

#[tokio::test]
async fn row_52_recorded_keys_are_served_unchanged() {
    let (formats, setup, server) = with_recorded_keys().await;
    let mut admin = server.connect(setup.admin()).await;
    for key in &formats.keys {
        let answer = admin.get(&format!("/v1/key/describe/{}", key.name)).await.ok();
        assert_eq!(answer.json(), key.describe, "{}", key.name);
        let stored = fs::read(setup.keys().join(&key.name)).expect("the file is still there");
        assert_eq!(stored, key.stored.as_bytes(), "{} was rewritten", key.name);
    }
    let names = admin.get("/v1/key/list/*").await.ok().json();
    for key in &formats.keys {
        let listed = names["names"]
            .as_array()
            .is_some_and(|names| names.iter().any(|name| name.as_str() == Some(&key.name)));
        assert!(listed, "{} is not listed", key.name);
    }
}

#[tokio::test]
async fn row_52_recorded_ciphertexts_open() {
    let (formats, setup, server) = with_recorded_keys().await;
    let mut admin = server.connect(setup.admin()).await;
    for row in &formats.ciphertexts {
        let path = format!("/v1/key/decrypt/{}", row.key);
        let body = json!({ "ciphertext": row.ciphertext, "context": row.context });
        let answer = admin.post(&path, &body.to_string()).await.ok();
        assert_eq!(answer.json(), json!({ "plaintext": row.plaintext }), "{row:?}");

        let mut other = unb64(&row.context);
        other.push(0);
        let body = json!({ "ciphertext": row.ciphertext, "context": b64(other) });
        let answer = admin.post(&path, &body.to_string()).await;
        answer.refused(400, "decryption failed: ciphertext is not authentic");
    }
}

#[tokio::test]
async fn row_52_recorded_hmacs_are_the_same() {
    let (formats, setup, server) = with_recorded_keys().await;
    let mut admin = server.connect(setup.admin()).await;
    for row in &formats.hmacs {
        let path = format!("/v1/key/hmac/{}", row.key);
        let answer = admin.post(&path, &json!({ "message": row.message }).to_string()).await.ok();
        assert_eq!(answer.json(), json!({ "hmac": row.hmac }), "{row:?}");
    }
    for key in &formats.keys {
        if let Some((status, message)) = &key.hmac_answer {
            assert_eq!(key.generation, 1);
            let path = format!("/v1/key/hmac/{}", key.name);
            admin.post(&path, r#"{"message":"aGVsbG8="}"#).await.refused(*status, message);
        }
    }
}

#[tokio::test]
async fn row_52_damaged_keys_are_refused_and_never_said_not_to_exist() {
    let (formats, setup, server) = with_recorded_keys().await;
    let mut admin = server.connect(setup.admin()).await;
    for row in &formats.refused_stored {
        let (status, message) = match row.status {
            // KES crashes on these.
            0 => (502, "failed to read key"),
            status => (status, row.message.as_str()),
        };
        let name = &row.name;
        admin.get(&format!("/v1/key/describe/{name}")).await.refused(status, message);
        admin.post(&format!("/v1/key/generate/{name}"), "{}").await.refused(status, message);
        let line = server.stderr().find(|line| line.contains(name.as_str())).await;
        assert!(line.is_some(), "the error log does not say what is wrong with {name}");
    }
}

#[tokio::test]
async fn row_52_what_is_made_here_has_the_recorded_form() {
    let (formats, setup, server) = with_recorded_keys().await;
    let mut admin = server.connect(setup.admin()).await;
    let recorded = formats.keys.iter().find(|key| key.name == "v-created").expect("it is there");
    let recorded = shape(&unb64(&recorded.stored));

    admin.call("POST", "/v1/key/create/made").await.ok_empty();
    let import = json!({ "key": b64([7; 32]), "cipher": "ChaCha20" }).to_string();
    admin.post("/v1/key/import/imported", &import).await.ok_empty();
    for name in ["made", "imported"] {
        let stored = fs::read_to_string(setup.keys().join(name)).expect("the file is there");
        assert_eq!(stored.trim(), stored, "no white space around it");
        assert_eq!(shape(&unb64(&stored)), recorded, "{name}");
    }
}

/// Field numbers and wire types of a protobuf message, in order, with those of the messages within
/// it and the lengths of byte strings (protobuf's *Encoding* page).
fn shape(message: &[u8]) -> Vec<String> {
    let mut shape = Vec::new();
    describe(message, "", &mut shape);
    shape
}

fn describe(mut message: &[u8], path: &str, shape: &mut Vec<String>) {
    while !message.is_empty() {
        let tag = varint(&mut message);
        let path = format!("{path}.{}", tag >> 3);
        match tag & 7 {
            0 => {
                varint(&mut message);
                shape.push(format!("{path} number"));
            }
            2 => {
                let length = usize::try_from(varint(&mut message)).expect("a length");
                let (value, rest) = message.split_at(length);
                message = rest;
                if path.len() == 2 && path != ".4" {
                    describe(value, &path, shape);
                } else {
                    shape.push(format!("{path} {length} bytes"));
                }
            }
            other => panic!("wire type {other} at {path}"),
        }
    }
}

fn varint(message: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = message.split_first().expect("the message is whole");
        *message = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return value;
        }
    }
    panic!("a number of more than 64 bits");
}
