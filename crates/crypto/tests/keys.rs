//! Tests of keys, stored records and API keys.

#![expect(clippy::unwrap_used, reason = "what helps a test may fail it")]

use std::cell::Cell;
use std::sync::Mutex;

use kes_crypto::{
    ApiKey, CiphertextForm, ImportError, InvalidApiKey, Key, NotAuthentic, RecordError, SealError,
    SystemRandom, ciphertext_form, preferred_algorithm, record,
};
use kes_types::{Algorithm, Random, RandomFailed, Secret, Timestamp};

const BOTH: [Algorithm; 2] = [Algorithm::Aes256, Algorithm::ChaCha20];

/// A source of bytes that count upwards; it records the length of each request.
#[derive(Debug, Default)]
struct Counting(Mutex<(u8, Vec<usize>)>);

impl Random for Counting {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), RandomFailed> {
        let mut state = self.0.lock().map_err(|_| RandomFailed)?;
        state.1.push(bytes.len());
        for byte in bytes {
            *byte = state.0;
            state.0 = state.0.wrapping_add(1);
        }
        Ok(())
    }
}

/// A source that always fails.
#[derive(Debug)]
struct Broken;

impl Random for Broken {
    fn fill(&self, _: &mut [u8]) -> Result<(), RandomFailed> {
        Err(RandomFailed)
    }
}

fn key(algorithm: Algorithm) -> Key {
    Key::generate(algorithm, Timestamp::ZERO, "", &SystemRandom::new()).unwrap()
}

#[test]
fn a_data_key_takes_all_its_randomness_at_once() {
    for algorithm in BOTH {
        let (key, random) = (key(algorithm), Counting::default());
        let data_key = key.generate_data_key(b"context", &random).unwrap();
        assert_eq!(random.0.lock().unwrap().1, [60]);
        let counted: Vec<u8> = (0..60).collect();
        assert_eq!(data_key.plaintext.expose(), &counted[..32]);
        assert_eq!(data_key.ciphertext[48..], counted[32..]);
        assert!(key.open(&data_key.ciphertext, b"context").unwrap() == data_key.plaintext);
    }
}

#[test]
fn sealing_twice_gives_two_ciphertexts_44_bytes_longer() {
    for algorithm in BOTH {
        let (key, random) = (key(algorithm), SystemRandom::new());
        let (first, second) =
            (key.seal(b"same", b"", &random).unwrap(), key.seal(b"same", b"", &random).unwrap());
        assert_eq!(first.len(), 4 + 44);
        assert!(first[20..36] != second[20..36], "IV");
        assert!(first[36..] != second[36..], "nonce");
    }
}

#[test]
fn a_ciphertext_is_bound_to_its_key_and_context() {
    let random = SystemRandom::new();
    for algorithm in BOTH {
        let key = key(algorithm);
        let sealed = key.seal(b"plaintext", b"{}", &random).unwrap();
        assert_eq!(key.open(&sealed, b"").unwrap_err(), NotAuthentic);
        for other in BOTH {
            let other = Key::generate(other, Timestamp::ZERO, "", &random).unwrap();
            assert_eq!(other.open(&sealed, b"{}").unwrap_err(), NotAuthentic);
        }
    }
}

#[test]
fn an_empty_plaintext_is_44_bytes_and_28_are_never_authentic() {
    for algorithm in BOTH {
        let key = key(algorithm);
        let sealed = key.seal(b"", b"", &SystemRandom::new()).unwrap();
        assert_eq!(key.open(&sealed, b"").unwrap().expose(), b"");
        for len in 0..sealed.len() {
            assert_eq!(key.open(&sealed[..len], b"").unwrap_err(), NotAuthentic, "{len}");
        }
    }
}

#[test]
fn a_ciphertext_that_looks_like_an_older_one_by_chance_opens() {
    let (key, random) = (key(Algorithm::Aes256), SystemRandom::new());
    for first in [b'{', 0x95] {
        let by_chance = Cell::new(None);
        for _ in 0..20_000 {
            let sealed = key.seal(b"plaintext", b"", &random).unwrap();
            if sealed[0] == first {
                by_chance.set(Some(sealed));
                break;
            }
        }
        let sealed = by_chance.take().unwrap();
        assert_eq!(ciphertext_form(&sealed), CiphertextForm::Current);
        assert_eq!(key.open(&sealed, b"").unwrap().expose(), b"plaintext");
    }
}

#[test]
fn without_randomness_there_is_nothing() {
    let key = key(Algorithm::Aes256);
    assert_eq!(key.seal(b"", b"", &Broken).unwrap_err(), SealError::Random(RandomFailed));
    assert!(key.generate_data_key(b"", &Broken).is_err());
    assert!(Key::generate(Algorithm::Aes256, Timestamp::ZERO, "", &Broken).is_err());
    let material = Secret::new(vec![7; 32]);
    let imported = Key::import(&material, Algorithm::Aes256, Timestamp::ZERO, "", &Broken);
    assert_eq!(imported.unwrap_err(), ImportError::Random(RandomFailed));
    assert!(ApiKey::generate(&Broken).is_err());
}

#[test]
fn imported_material_is_32_bytes() {
    for len in [0, 16, 31, 33, 64] {
        let material = Secret::new(vec![7; len]);
        let imported =
            Key::import(&material, Algorithm::Aes256, Timestamp::ZERO, "", &SystemRandom::new());
        assert_eq!(imported.unwrap_err(), ImportError::Size, "{len}");
    }
}

#[test]
fn the_same_material_is_reported_from_any_other() {
    let random = SystemRandom::new();
    let material = Secret::new(vec![7; 32]);
    let import =
        |algorithm| Key::import(&material, algorithm, Timestamp::ZERO, "", &random).unwrap();
    let key = import(Algorithm::Aes256);
    let again = record::decode(record::encode(&key).expose()).unwrap();
    assert!(key.same_material(&again));
    assert!(!key.same_material(&import(Algorithm::Aes256)), "another HMAC key");
    let json = |material: u8, algorithm: &str| {
        let bytes =
            base64::Engine::encode(&base64::engine::general_purpose::STANDARD, [material; 32]);
        let json = format!(r#"{{"bytes":"{bytes}","algorithm":"{algorithm}"}}"#);
        record::decode(json.as_bytes()).unwrap()
    };
    assert!(!key.same_material(&json(7, "AES256")), "no HMAC key");
    assert!(json(7, "AES256").same_material(&json(7, "AES256")));
    assert!(!json(7, "AES256").same_material(&json(8, "AES256")), "another key");
    assert!(!json(7, "AES256").same_material(&json(7, "ChaCha20")), "another algorithm");
}

#[test]
fn a_new_key_survives_its_record() {
    let created_at = Timestamp::from_unix(1_700_000_000, 5).unwrap();
    for algorithm in BOTH {
        let key = Key::generate(algorithm, created_at, "creator", &SystemRandom::new()).unwrap();
        let again = record::decode(record::encode(&key).expose()).unwrap();
        assert!(again.same_material(&key));
        assert_eq!(again.algorithm(), algorithm);
        assert_eq!(again.created_at(), created_at);
        assert_eq!(again.created_by(), Some("creator"));
        assert_eq!(again.hmac(b"message"), key.hmac(b"message"));
    }
}

#[test]
fn a_cipher_key_and_its_hmac_key_differ() {
    let random = SystemRandom::new();
    let material = Secret::new(vec![7; 32]);
    let import = || Key::import(&material, Algorithm::Aes256, Timestamp::ZERO, "", &random);
    assert_ne!(import().unwrap().hmac(b""), import().unwrap().hmac(b""));
}

#[test]
fn records_say_what_is_wrong_with_them() {
    let stored = |message: &[u8]| {
        base64::Engine::encode(&base64::engine::general_purpose::STANDARD, message)
    };
    let typed = |len: u8, kind: u8| {
        let mut key = vec![0x0a, len];
        key.resize(2 + usize::from(len), 7);
        key.extend([0x10, kind]);
        key
    };
    let message = |field: u8, message: &[u8]| {
        let mut whole = vec![field << 3 | 2, u8::try_from(message.len()).unwrap()];
        whole.extend(message);
        whole
    };
    let good = message(1, &typed(32, 1));
    let with = |more: Vec<u8>| stored(&[&good[..], &more].concat());
    let year_10000 = [0x08, 0x80, 0xdc, 0xed, 0xb8, 0x80, 0x99, 0x80, 0x80, 0x80, 0x01];
    for (value, message) in [
        (String::new(), "the value is empty"),
        ("{}".to_owned(), "the value holds no key"),
        (r#"{"bytes":"AAAA"}"#.to_owned(), "the key is 3 bytes long instead of 32"),
        (r#"{"bytes":7}"#.to_owned(), "the value is JSON but not a key: line 1, column 10"),
        ("123".to_owned(), "the value is JSON but not a key: line 1, column 3"),
        (r#"{"bytes":"*"}"#.to_owned(), "the value is not standard base64 with padding"),
        ("not base64".to_owned(), "the value is not standard base64 with padding"),
        (stored(b"\0"), "the value is not a protobuf message"),
        (stored(b"\x22\x01a"), "the value holds no key"),
        (stored(&message(1, &typed(31, 1))), "the key is 31 bytes long instead of 32"),
        (stored(&message(1, &typed(32, 9))), "the key's type 9 is not supported"),
        (with(message(2, &typed(32, 9))), "the HMAC key's hash 9 is not supported"),
        (with(message(2, &typed(33, 1))), "the HMAC key is 33 bytes long instead of 32"),
        (with(message(3, &year_10000)), "the creation time cannot be read"),
        ("A".repeat(record::VALUE_LEN_MAX + 1), "the value is longer than 1 MiB"),
    ] {
        let error = record::decode(value.as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), message);
    }
    let without_hmac = record::decode(with(Vec::new()).as_bytes()).unwrap();
    assert!(without_hmac.hmac(b"").is_err());
    assert_eq!(without_hmac.created_at(), Timestamp::ZERO);
    assert_eq!(without_hmac.created_by(), None);
}

#[test]
fn json_keys_that_fail_are_not_quoted() {
    let value =
        br#"{"bytes":{"cRPN1dwjTyskHWKGM8P6gWMy":1},"algorithm":"cRPN1dwjTyskHWKGM8P6gWMy"}"#;
    let error = record::decode(value).unwrap_err();
    assert!(matches!(error, RecordError::Json { .. }));
    assert!(!format!("{error} {error:?}").contains("cRPN"));
}

#[test]
fn debug_is_mute() {
    let key = Key::import(
        &Secret::new(b"0123456789abcdef0123456789abcdef".to_vec()),
        Algorithm::Aes256,
        Timestamp::ZERO,
        "",
        &SystemRandom::new(),
    );
    assert_eq!(format!("{:?}", key.unwrap()), "Key { algorithm: Aes256, .. }");
    let api_key = ApiKey::from_seed(&[0; 32]).unwrap();
    assert_eq!(
        format!("{api_key:?}"),
        "ApiKey { identity: 339e2ff917630507b6a423b5ce084e285d1fa65d93b3e27a6195d3bbebc9ae23, .. }"
    );
}

#[test]
fn texts_that_are_no_api_keys_are_refused() {
    for (text, error) in [
        ("", InvalidApiKey::Length),
        ("kes:v1:", InvalidApiKey::Length),
        ("kes:v1:AAAA", InvalidApiKey::Length),
        ("kes:v1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", InvalidApiKey::Length),
        ("kes:v1:AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", InvalidApiKey::Type),
        ("kes:v2:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", InvalidApiKey::Encoding),
        ("kes:v1:ADsGCjJoWziQ82wPUG6oHbqhhlbkajaRGP-3-JSfx5Wq", InvalidApiKey::Encoding),
        ("kes:v1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n", InvalidApiKey::Encoding),
    ] {
        assert_eq!(text.parse::<ApiKey>().unwrap_err(), error, "{text}");
    }
}

#[test]
fn new_keys_are_for_aes_where_the_cpu_has_it() {
    if cfg!(target_os = "linux") && cfg!(target_arch = "x86_64") {
        let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap();
        let has = |flag| cpu.split_whitespace().any(|word| word == flag);
        let is_aes = preferred_algorithm() == Algorithm::Aes256;
        assert_eq!(is_aes, has("aes") && has("pclmulqdq"));
    }
}
