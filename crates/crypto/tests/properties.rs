//! Property tests: no input causes a panic, and encrypted texts can be decrypted.

#![expect(clippy::unwrap_used, reason = "what helps a test may fail it")]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kes_crypto::{ApiKey, Key, SystemRandom, certificate_identity, ciphertext_form, pem, record};
use kes_types::{Algorithm, Secret, Timestamp};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::Value;

const FORMATS: &str = include_str!("../../../tests/vectors/formats.json");

fn algorithms() -> impl Strategy<Value = Algorithm> {
    prop_oneof![Just(Algorithm::Aes256), Just(Algorithm::ChaCha20)]
}

fn key(algorithm: Algorithm) -> Key {
    Key::generate(algorithm, Timestamp::ZERO, "me", &SystemRandom::new()).unwrap()
}

/// The recorded stored keys.
fn stored() -> impl Strategy<Value = Vec<u8>> {
    recorded("keys", |row| row["stored"].as_str().unwrap().as_bytes().to_vec())
}

/// The recorded ciphertexts.
fn ciphertexts() -> impl Strategy<Value = Vec<u8>> {
    recorded("ciphertexts", |row| STANDARD.decode(row["ciphertext"].as_str().unwrap()).unwrap())
}

fn recorded(field: &str, read: impl Fn(&Value) -> Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    let vectors: Value = serde_json::from_str(FORMATS).unwrap();
    let rows: Vec<Vec<u8>> = vectors[field].as_array().unwrap().iter().map(read).collect();
    proptest::sample::select(rows)
}

/// Flips the bits of `mask` in one byte, if there is one.
fn flip(bytes: &mut [u8], at: usize, mask: u8) {
    if let Some(byte) = at.checked_rem(bytes.len()).and_then(|at| bytes.get_mut(at)) {
        *byte ^= mask;
    }
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in vec(any::<u8>(), 0..512)) {
        let _ = record::decode(&bytes);
        let _ = record::decode(STANDARD.encode(&bytes).as_bytes());
        let _ = certificate_identity(&bytes);
        let _ = pem::certificates(&bytes);
        let _ = pem::private_key(&bytes, Some(&Secret::new(bytes.clone())));
        let _ = String::from_utf8_lossy(&bytes).parse::<ApiKey>();
        for head in [&b"{"[..], b"\x95", b"\x95\xa6AES256\xa0\xc4\x10", b""] {
            let bytes = [head, &bytes].concat();
            let _ = ciphertext_form(&bytes);
            prop_assert!(key(Algorithm::Aes256).open(&bytes, b"").is_err());
            prop_assert!(key(Algorithm::ChaCha20).open(&bytes, b"").is_err());
        }
    }

    #[test]
    fn damaged_records_never_panic(
        mut value in stored(),
        end in any::<usize>(),
        at in any::<usize>(),
        mask in 1..=u8::MAX,
    ) {
        let cut = end % (value.len() + 1);
        let _ = record::decode(&value[..cut]);
        if let Ok(mut message) = STANDARD.decode(&value) {
            flip(&mut message, at, mask);
            let _ = record::decode(STANDARD.encode(&message).as_bytes());
            let cut = end % (message.len() + 1);
            let _ = record::decode(STANDARD.encode(&message[..cut]).as_bytes());
        }
        flip(&mut value, at, mask);
        let _ = record::decode(&value);
    }

    #[test]
    fn damaged_ciphertexts_never_panic(
        mut ciphertext in ciphertexts(),
        end in any::<usize>(),
        at in any::<usize>(),
        mask in 1..=u8::MAX,
    ) {
        let cut = end % ciphertext.len();
        let _ = ciphertext_form(&ciphertext[..cut]);
        prop_assert!(key(Algorithm::Aes256).open(&ciphertext[..cut], b"").is_err());
        flip(&mut ciphertext, at, mask);
        let _ = ciphertext_form(&ciphertext);
        prop_assert!(key(Algorithm::ChaCha20).open(&ciphertext, b"").is_err());
    }

    #[test]
    fn damaged_certificates_never_panic(at in any::<usize>(), mask in 1..=u8::MAX) {
        let issued = ApiKey::from_seed(&[7; 32])
            .unwrap()
            .client_certificate(&SystemRandom::new(), std::time::UNIX_EPOCH)
            .unwrap();
        let mut der = issued.certificate_der().to_vec();
        flip(&mut der, at, mask);
        let _ = certificate_identity(&der);
    }

    #[test]
    fn damaged_key_files_never_panic(
        name in proptest::sample::select(vec![
            &include_bytes!("fixtures/rsa-legacy-aes256.pem")[..],
            include_bytes!("fixtures/ec.pem"),
            include_bytes!("fixtures/ed25519.pem"),
        ]),
        at in any::<usize>(),
        mask in 1..=u8::MAX,
    ) {
        let mut pem = name.to_vec();
        flip(&mut pem, at, mask);
        let _ = pem::private_key(&pem, Some(&Secret::from("correct horse".to_owned())));
    }

    #[test]
    fn what_is_sealed_opens_and_nothing_else_does(
        algorithm in algorithms(),
        plaintext in vec(any::<u8>(), 0..300),
        context in vec(any::<u8>(), 0..300),
        other in vec(any::<u8>(), 0..300),
        at in any::<usize>(),
        mask in 1..=u8::MAX,
    ) {
        let key = key(algorithm);
        let mut sealed = key.seal(&plaintext, &context, &SystemRandom::new()).unwrap();
        prop_assert_eq!(sealed.len(), plaintext.len() + 44);
        let opened = key.open(&sealed, &context).unwrap();
        prop_assert_eq!(opened.expose(), &plaintext);
        prop_assert!(other == context || key.open(&sealed, &other).is_err());
        flip(&mut sealed, at, mask);
        prop_assert!(key.open(&sealed, &context).is_err());
    }

    #[test]
    fn a_record_keeps_everything(
        algorithm in algorithms(),
        seconds in -62_135_596_800..=253_402_300_799_i64,
        nanos in 0..1_000_000_000_u32,
        created_by in ".{0,100}",
    ) {
        let created_at = Timestamp::from_unix(seconds, nanos).unwrap();
        let random = SystemRandom::new();
        let key = Key::generate(algorithm, created_at, &created_by, &random).unwrap();
        let again = record::decode(record::encode(&key).expose()).unwrap();
        prop_assert!(again.same_material(&key));
        prop_assert_eq!(again.created_at(), created_at);
        prop_assert_eq!(again.created_by().unwrap_or_default(), created_by);
    }
}
