//! Tests with recorded vectors of stored keys, ciphertexts and API keys.

#![expect(clippy::unwrap_used, reason = "what helps a test may fail it")]

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kes_crypto::{
    ApiKey, CiphertextForm, Key, NoHmacKey, ProtoError, RecordError, SystemRandom,
    certificate_identity, ciphertext_form, pem, record,
};
use kes_harness::vectors::PUBLISHED_API_KEYS;
use kes_types::{Algorithm, Identity, Secret, Timestamp};
use serde_json::Value;

const FORMATS: &str = include_str!("../../../tests/vectors/formats.json");
const STATIC_KEY: &str = include_str!("../../../tests/vectors/minio-static-key.json");
const TRAFFIC: &str = include_str!("../../../tests/vectors/minio-traffic.jsonl");
const STORE_ENTRIES: &str = include_str!("../../../tests/vectors/store-entries.json");

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn rows<'a>(vectors: &'a Value, field: &str) -> &'a Vec<Value> {
    vectors[field].as_array().unwrap()
}

fn text<'a>(row: &'a Value, field: &str) -> &'a str {
    row[field].as_str().unwrap_or_else(|| panic!("no {field} in {row}"))
}

fn bytes(row: &Value, field: &str) -> Vec<u8> {
    STANDARD.decode(text(row, field)).unwrap()
}

fn keys(vectors: &Value) -> BTreeMap<String, Key> {
    let decoded = rows(vectors, "keys").iter().map(|row| {
        let key = record::decode(text(row, "stored").as_bytes());
        (text(row, "name").to_owned(), key.unwrap_or_else(|error| panic!("{row}: {error}")))
    });
    decoded.collect()
}

#[test]
fn stored_keys_are_read_as_described() {
    let vectors = parsed(FORMATS);
    let keys = keys(&vectors);
    assert_eq!(keys.len(), 13);
    for row in rows(&vectors, "keys") {
        let (key, describe) = (&keys[text(row, "name")], &row["describe"]);
        assert_eq!(key.algorithm().as_str(), text(describe, "algorithm"), "{row}");
        assert_eq!(key.algorithm().as_str(), text(row, "algorithm"), "{row}");
        assert_eq!(key.created_at().to_string(), text(describe, "created_at"), "{row}");
        assert_eq!(key.created_by(), describe["created_by"].as_str(), "{row}");
        assert_eq!(key.hmac(b"").is_err(), row.get("hmac_answer").is_some(), "{row}");
        if let Some(material) = row.get("key").and_then(Value::as_str) {
            let material = Secret::new(STANDARD.decode(material).unwrap());
            let random = SystemRandom::new();
            let imported =
                Key::import(&material, key.algorithm(), Timestamp::ZERO, "", &random).unwrap();
            let sealed = imported.seal(b"plaintext", b"", &random).unwrap();
            assert_eq!(key.open(&sealed, b"").unwrap().expose(), b"plaintext", "{row}");
        }
    }
}

#[test]
fn stored_keys_of_the_second_generation_are_written_byte_for_byte() {
    let mut count = 0;
    for row in rows(&parsed(FORMATS), "keys").iter().filter(|row| row["generation"] == 2) {
        let stored = text(row, "stored");
        let key = record::decode(stored.as_bytes()).unwrap();
        assert_eq!(record::encode(&key).expose(), stored.trim_end().as_bytes(), "{row}");
        count += 1;
    }
    assert_eq!(count, 4);
}

#[test]
fn stored_keys_of_the_first_generation_become_the_second_and_stay_the_same() {
    for (name, key) in keys(&parsed(FORMATS)) {
        let again = record::decode(record::encode(&key).expose()).unwrap();
        assert!(again.same_material(&key), "{name}");
        assert_eq!(again.algorithm(), key.algorithm(), "{name}");
        assert_eq!(again.created_at(), key.created_at(), "{name}");
        assert_eq!(again.created_by(), key.created_by(), "{name}");
        assert_eq!(again.hmac(b"message"), key.hmac(b"message"), "{name}");
    }
}

#[test]
fn ciphertexts_of_every_form_open() {
    let vectors = parsed(FORMATS);
    let keys = keys(&vectors);
    assert_eq!(rows(&vectors, "ciphertexts").len(), 148);
    for row in rows(&vectors, "ciphertexts") {
        let (key, ciphertext) = (&keys[text(row, "key")], bytes(row, "ciphertext"));
        let context = bytes(row, "context");
        let opened = key.open(&ciphertext, &context);
        let opened = opened.unwrap_or_else(|error| panic!("{row}: {error}"));
        assert_eq!(opened.expose(), bytes(row, "plaintext"), "{row}");

        let form = match text(row, "form") {
            "current" => CiphertextForm::Current,
            "json" | "json-id" => CiphertextForm::Json,
            _ => CiphertextForm::MessagePack,
        };
        assert_eq!(ciphertext_form(&ciphertext), form, "{row}");
        assert!(key.open(&ciphertext, &[&context[..], b"x"].concat()).is_err(), "{row}");
        let cut = &ciphertext[..ciphertext.len() - 1];
        assert!(key.open(cut, &context).is_err(), "{row}");
    }
}

#[test]
fn hmacs_are_equal() {
    let vectors = parsed(FORMATS);
    let keys = keys(&vectors);
    assert_eq!(rows(&vectors, "hmacs").len(), 6);
    for row in rows(&vectors, "hmacs") {
        let tag = keys[text(row, "key")].hmac(&bytes(row, "message")).unwrap();
        assert_eq!(tag.expose(), bytes(row, "hmac"), "{row}");
    }
    assert_eq!(keys["v-j-min"].hmac(b"message"), Err(NoHmacKey));
}

#[test]
fn identities_of_api_keys_and_certificates_are_equal() {
    let vectors = parsed(FORMATS);
    assert_eq!(rows(&vectors, "identities").len(), 11);
    for row in rows(&vectors, "identities") {
        let expected: Identity = text(row, "identity").parse().unwrap();
        if let Some(api_key) = row.get("api_key").and_then(Value::as_str) {
            assert_api_key(api_key, expected);
        } else {
            let certificates = pem::certificates(text(row, "certificate").as_bytes()).unwrap();
            let found = certificate_identity(&certificates[0]).unwrap();
            assert_eq!(found.identity, expected, "{row}");
            assert!(found.is_ca, "{row}");
        }
    }
}

#[test]
fn published_api_keys_have_their_published_identities() {
    for (api_key, identity) in PUBLISHED_API_KEYS {
        assert_api_key(api_key, identity.parse().unwrap());
    }
}

fn assert_api_key(text: &str, identity: Identity) {
    let key: ApiKey = text.parse().unwrap();
    assert_eq!(key.identity(), identity, "{text}");
    assert_eq!(key.text().expose(), text.as_bytes());
    let bare: ApiKey = text.strip_prefix("kes:v1:").unwrap().parse().unwrap();
    assert_eq!(bare.identity(), identity, "{text}");
}

#[test]
fn values_that_are_no_keys_are_refused() {
    let vectors = parsed(FORMATS);
    assert_eq!(rows(&vectors, "refused_stored").len(), 12);
    for row in rows(&vectors, "refused_stored") {
        let error = record::decode(&bytes(row, "stored_b64")).unwrap_err();
        let expected = match text(row, "name") {
            "v-b-empty" => RecordError::Empty,
            "v-b-json-short" => RecordError::KeySize(3),
            "v-b-json-nobytes" => RecordError::NoKey,
            "v-b-json-alg" => RecordError::Algorithm,
            "v-b-nul" | "v-b-notb64" | "v-b-json-trailing" | "v-b-raw32" => RecordError::Base64,
            "v-b-type9" => RecordError::Type(9),
            "v-b-truncated" => RecordError::Proto(ProtoError::Truncated),
            _ => {
                assert!(matches!(error, RecordError::Proto(_)), "{row}: {error:?}");
                continue;
            }
        };
        assert_eq!(error, expected, "{row}");
    }
}

#[test]
fn ciphertexts_that_are_not_authentic_are_refused() {
    let vectors = parsed(FORMATS);
    let keys = keys(&vectors);
    for row in rows(&vectors, "refused_ciphertexts") {
        let opened = keys[text(row, "key")].open(&bytes(row, "ciphertext"), &bytes(row, "context"));
        assert!(opened.is_err(), "{row}");
    }
}

#[test]
fn ciphertexts_of_the_built_in_single_key_open_once_it_is_imported() {
    let vectors = parsed(STATIC_KEY);
    let (_, material) = text(&vectors, "minio_kms_secret_key").split_once(':').unwrap();
    let material = Secret::new(STANDARD.decode(material).unwrap());
    let random = SystemRandom::new();
    let key = Key::import(&material, Algorithm::Aes256, Timestamp::ZERO, "", &random).unwrap();
    assert!(!rows(&vectors, "ciphertexts").is_empty());
    for row in rows(&vectors, "ciphertexts") {
        let opened = key.open(&bytes(row, "ciphertext"), &bytes(row, "context")).unwrap();
        assert_eq!(opened.expose(), bytes(row, "plaintext"), "{row}");
    }
}

#[test]
fn ciphertexts_of_real_traffic_open_to_the_recorded_data_keys() {
    let mut lines = TRAFFIC.lines();
    let head = parsed(lines.next().unwrap());
    let keys: BTreeMap<&str, Key> = head["keys"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, stored)| {
            (name.as_str(), record::decode(stored.as_str().unwrap().as_bytes()).unwrap())
        })
        .collect();
    let mut counts = [0; 2];
    for line in lines.map(parsed).filter(|line| line["status"] == 200) {
        let path = text(&line, "path");
        let (body, answer) = (&line["body"], &line["answer"]);
        let json = |value: &Value| value.as_str().map(parsed).unwrap_or_default();
        let (ciphertext, plaintext, name) =
            if let Some(name) = path.strip_prefix("/v1/key/generate/") {
                counts[0] += 1;
                let answer = json(answer);
                (bytes(&answer, "ciphertext"), bytes(&answer, "plaintext"), name)
            } else if let Some(name) = path.strip_prefix("/v1/key/decrypt/") {
                counts[1] += 1;
                (bytes(&json(body), "ciphertext"), bytes(&json(answer), "plaintext"), name)
            } else {
                continue;
            };
        let context = json(body)
            .get("context")
            .map_or_else(Vec::new, |context| STANDARD.decode(context.as_str().unwrap()).unwrap());
        assert_eq!(keys[name].open(&ciphertext, &context).unwrap().expose(), plaintext, "{line}");
    }
    assert!(counts.iter().all(|count| *count > 10), "{counts:?}");
}

#[test]
fn values_in_other_key_stores_are_stored_keys() {
    let mut count = 0;
    for (name, entry) in parsed(STORE_ENTRIES).as_object().unwrap() {
        let value = match &entry["data"] {
            Value::Object(data) => data.values().next(),
            _ => entry.get("SecretString"),
        };
        let Some(value) = value.and_then(Value::as_str) else { continue };
        if entry["config"].get("transit").is_some() {
            assert!(record::decode(value.as_bytes()).is_err(), "{name}");
            continue;
        }
        let key = record::decode(value.as_bytes()).unwrap();
        assert_eq!(record::encode(&key).expose(), value.as_bytes(), "{name}");
        count += 1;
        if let Some(material) = entry.get("key").and_then(Value::as_str) {
            let material = Secret::new(STANDARD.decode(material).unwrap());
            let algorithm = Algorithm::parse(text(entry, "cipher")).unwrap();
            let random = SystemRandom::new();
            let same = Key::import(&material, algorithm, Timestamp::ZERO, "", &random).unwrap();
            let sealed = same.seal(b"plaintext", b"", &random).unwrap();
            assert_eq!(key.open(&sealed, b"").unwrap().expose(), b"plaintext", "{name}");
        }
    }
    assert_eq!(count, 5);
}
