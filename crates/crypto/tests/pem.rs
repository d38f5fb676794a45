//! Tests with PEM files that OpenSSL wrote; see `fixtures/README.md`.

#![expect(clippy::unwrap_used, reason = "what helps a test may fail it")]

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kes_crypto::pem::{self, EncryptError, PemError, PrivateKeyKind};
use kes_crypto::{ApiKey, SystemRandom};
use kes_types::{Random, RandomFailed, Secret};

fn fixture(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    std::fs::read(folder.join(format!("{name}.pem"))).unwrap()
}

fn password() -> Secret {
    Secret::from("correct horse".to_owned())
}

const ENCRYPTED: [(&str, &str, PrivateKeyKind); 10] = [
    ("ed25519-pbkdf2-sha1-aes128", "ed25519", PrivateKeyKind::Pkcs8),
    ("ed25519-pbkdf2-sha256-aes256", "ed25519", PrivateKeyKind::Pkcs8),
    ("ed25519-pbkdf2-sha512-aes192", "ed25519", PrivateKeyKind::Pkcs8),
    ("ed25519-scrypt-aes256", "ed25519", PrivateKeyKind::Pkcs8),
    ("rsa-legacy-aes128", "rsa", PrivateKeyKind::Pkcs1),
    ("rsa-legacy-aes192", "rsa", PrivateKeyKind::Pkcs1),
    ("rsa-legacy-aes256", "rsa", PrivateKeyKind::Pkcs1),
    ("ec-legacy-aes256", "ec", PrivateKeyKind::Sec1),
    ("ed25519-pbkdf2-des3", "ed25519", PrivateKeyKind::Pkcs8),
    ("rsa-legacy-des3", "rsa", PrivateKeyKind::Pkcs1),
];

#[test]
fn encrypted_keys_decrypt_to_the_plain_ones() {
    for (encrypted, plain, kind) in ENCRYPTED {
        let plain = pem::private_key(&fixture(plain), None).unwrap();
        let key = pem::private_key(&fixture(encrypted), Some(&password())).unwrap();
        assert_eq!((key.kind(), plain.kind()), (kind, kind), "{encrypted}");
        assert!(key.der() == plain.der(), "{encrypted}");
    }
}

#[test]
fn encrypted_keys_need_their_password() {
    for (encrypted, ..) in ENCRYPTED {
        let pem = fixture(encrypted);
        let needed = pem::private_key(&pem, None).unwrap_err();
        assert_eq!(needed, PemError::PasswordNeeded, "{encrypted}");
    }
}

#[test]
fn a_wrong_password_is_reported_from_a_right_one_even_where_the_padding_fits() {
    // Some of 600 wrong passwords give well-formed padding.
    for encrypted in ["rsa-legacy-aes128", "ec-legacy-aes256"] {
        let pem = fixture(encrypted);
        for wrong in 0..600 {
            let wrong = Secret::from(format!("wrong {wrong}"));
            let error = pem::private_key(&pem, Some(&wrong)).unwrap_err();
            assert_eq!(error, PemError::WrongPassword);
        }
    }
    for (encrypted, ..) in ENCRYPTED {
        let wrong = Secret::from("wrong horse".to_owned());
        let error = pem::private_key(&fixture(encrypted), Some(&wrong)).unwrap_err();
        assert_eq!(error, PemError::WrongPassword, "{encrypted}");
    }
}

#[test]
fn other_encryption_is_named_and_refused() {
    let error = pem::private_key(&fixture("ed25519-pbes1"), Some(&password())).unwrap_err();
    assert_eq!(error, PemError::Unsupported("1.2.840.113549.1.12.1.3".to_owned()));
}

#[test]
fn glued_sections_and_a_byte_order_mark_do_not_matter() {
    let key = String::from_utf8(fixture("ed25519")).unwrap();
    let certificate = "-----BEGIN CERTIFICATE-----\nAAEC\n-----END CERTIFICATE-----";
    let glued = format!("\u{feff}{certificate}{certificate}{key}");
    assert_eq!(pem::certificates(glued.as_bytes()).unwrap(), [[0, 1, 2], [0, 1, 2]]);
    assert!(pem::private_key(glued.as_bytes(), None).is_ok());
}

#[test]
fn blank_lines_and_wrong_labels_do_not_matter() {
    for (name, kind) in [
        ("rsa", PrivateKeyKind::Pkcs1),
        ("ec", PrivateKeyKind::Sec1),
        ("ed25519", PrivateKeyKind::Pkcs8),
        ("rsa-legacy-aes256", PrivateKeyKind::Pkcs1),
    ] {
        let text = String::from_utf8(fixture(name)).unwrap();
        let plain = pem::private_key(text.as_bytes(), Some(&password())).unwrap();
        let (body, end) = text.split_once("-----END").unwrap();
        let spaced = format!("{body}\n\n-----END{end}");
        let spaced = pem::private_key(spaced.replace('\n', "\r\n").as_bytes(), Some(&password()));
        assert_eq!(spaced.unwrap().der().expose(), plain.der().expose(), "{name}");

        let labels = ["RSA PRIVATE KEY", "EC PRIVATE KEY", "PRIVATE KEY"];
        let own = labels.iter().find(|label| text.contains(&format!("BEGIN {label}"))).unwrap();
        for label in labels {
            let relabelled = text.replace(own, label);
            let key = pem::private_key(relabelled.as_bytes(), Some(&password())).unwrap();
            assert_eq!((key.kind(), key.der().expose()), (kind, plain.der().expose()), "{label}");
        }
    }
}

#[test]
fn a_3des_iv_of_another_length_is_refused() {
    let text = String::from_utf8(fixture("ed25519-pbkdf2-des3")).unwrap();
    let base64: String = text.lines().filter(|line| !line.starts_with("-----")).collect();
    let der = STANDARD.decode(base64).unwrap();
    let oid = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x03, 0x07];
    let at = der.windows(oid.len()).position(|part| part == oid).unwrap() + oid.len();
    for length in 0..8 {
        let mut der = der.clone();
        der[at + 1] = length;
        let pem = format!(
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\n{}\n-----END ENCRYPTED PRIVATE KEY-----\n",
            STANDARD.encode(&der)
        );
        let error = pem::private_key(pem.as_bytes(), Some(&password())).unwrap_err();
        assert_eq!(error, PemError::Parameters);
    }
}

#[test]
fn a_password_that_is_not_needed_is_not_used() {
    assert!(pem::private_key(&fixture("ed25519"), Some(&password())).is_ok());
}

#[test]
fn a_file_must_hold_exactly_one_key() {
    let (ed25519, rsa) = (fixture("ed25519"), fixture("rsa"));
    let both = [&ed25519[..], &rsa].concat();
    assert_eq!(pem::private_key(&both, None).unwrap_err(), PemError::SeveralKeys);
    assert_eq!(pem::private_key(b"", None).unwrap_err(), PemError::NoKey);
    assert_eq!(pem::certificates(&ed25519).unwrap_err(), PemError::NoCertificate);
    let broken = ed25519.iter().map(|byte| if *byte == b'M' { b'*' } else { *byte });
    let broken: Vec<u8> = broken.collect();
    assert_eq!(pem::private_key(&broken, None).unwrap_err(), PemError::Malformed);
}

#[test]
fn legacy_headers_that_cannot_be_read_are_errors() {
    let pem = String::from_utf8(fixture("rsa-legacy-aes128")).unwrap();
    let iv = pem.split_once("CBC,").unwrap().1.split_once('\n').unwrap().0;
    for (from, to) in [(iv, "00"), (iv, "zz"), ("AES-128-CBC,", ""), ("DEK-Info", "DEK")] {
        let error = pem::private_key(pem.replace(from, to).as_bytes(), Some(&password()));
        assert_eq!(error.unwrap_err(), PemError::Parameters, "{from}");
    }
}

#[test]
fn a_key_encrypts_and_decrypts_again() {
    let random = SystemRandom::new();
    let key = pem::private_key(&fixture("ed25519"), None).unwrap();
    let encrypted = pem::encrypt(&key, &password(), &random).unwrap();
    let text = std::str::from_utf8(encrypted.expose()).unwrap();
    assert!(text.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----\n"));
    let again = pem::private_key(encrypted.expose(), Some(&password())).unwrap();
    assert!(again.der() == key.der());
    let rsa = pem::private_key(&fixture("rsa"), None).unwrap();
    assert_eq!(pem::encrypt(&rsa, &password(), &random).unwrap_err(), EncryptError::NotPkcs8);
}

#[test]
fn a_key_encrypts_in_the_legacy_form_and_decrypts_again() {
    let random = SystemRandom::new();
    for (name, label) in
        [("ed25519", "PRIVATE KEY"), ("rsa", "RSA PRIVATE KEY"), ("ec", "EC PRIVATE KEY")]
    {
        let key = pem::private_key(&fixture(name), None).unwrap();
        let encrypted = pem::encrypt_legacy(&key, &password(), &random).unwrap();
        let lines: Vec<_> = std::str::from_utf8(encrypted.expose()).unwrap().lines().collect();
        assert_eq!(lines[0], format!("-----BEGIN {label}-----"));
        assert_eq!(lines[1], "Proc-Type: 4,ENCRYPTED");
        let iv = lines[2].strip_prefix("DEK-Info: AES-256-CBC,").unwrap();
        assert_eq!(iv.len(), 32, "{iv}");
        assert!(iv.bytes().all(|byte| byte.is_ascii_digit() || (b'A'..=b'F').contains(&byte)));
        assert_eq!(lines[3], "");

        let again = pem::private_key(encrypted.expose(), Some(&password())).unwrap();
        assert!(again.der() == key.der() && again.kind() == key.kind(), "{name}");
        let other = Secret::from("wrong horse".to_owned());
        let wrong = pem::private_key(encrypted.expose(), Some(&other)).unwrap_err();
        assert_eq!(wrong, PemError::WrongPassword, "{name}");
        let anew = pem::encrypt_legacy(&key, &password(), &random).unwrap();
        assert!(anew != encrypted, "the IV of {name} is not random");
    }
}

/// A source of fixed bytes.
#[derive(Debug)]
struct Fixed(Vec<u8>);

impl Random for Fixed {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), RandomFailed> {
        buffer.copy_from_slice(&self.0);
        Ok(())
    }
}

/// `openssl ec -in ec.pem -aes256 -passout 'pass:correct horse'` with the same IV: the key derivation,
/// padding and order of headers are OpenSSL's.
#[test]
fn the_legacy_form_is_that_of_openssl() {
    let theirs = String::from_utf8(fixture("ec-legacy-aes256")).unwrap();
    let iv = theirs.split_once("CBC,").unwrap().1.lines().next().unwrap();
    let iv = (0..16).map(|at| u8::from_str_radix(&iv[2 * at..2 * at + 2], 16).unwrap()).collect();
    let key = pem::private_key(&fixture("ec"), None).unwrap();
    let ours = pem::encrypt_legacy(&key, &password(), &Fixed(iv)).unwrap();
    assert_eq!(std::str::from_utf8(ours.expose()).unwrap(), theirs);
}

#[test]
fn a_key_written_as_pem_reads_as_the_file_it_came_from() {
    for name in ["ed25519", "rsa"] {
        let pem = fixture(name);
        assert_eq!(pem::private_key(&pem, None).unwrap().to_pem().expose(), pem, "{name}");
    }
}

#[test]
fn an_api_key_is_the_seed_of_the_openssl_key() {
    let key = pem::private_key(&fixture("ed25519"), None).unwrap();
    let seed = &key.der().expose()[16..];
    let api_key = ApiKey::from_seed(seed).unwrap();
    let issued = api_key.client_certificate(&SystemRandom::new(), std::time::UNIX_EPOCH).unwrap();
    assert_eq!(issued.private_key_pem().expose(), fixture("ed25519"));
}

#[test]
fn certificates_are_read_in_files_with_keys_of_every_form() {
    let key = ApiKey::generate(&SystemRandom::new()).unwrap();
    let now = std::time::SystemTime::UNIX_EPOCH;
    let issued = key.client_certificate(&SystemRandom::new(), now).unwrap();
    let certificate = issued.certificate_pem().into_bytes();
    let forms = ENCRYPTED.iter().flat_map(|(encrypted, plain, _)| [*encrypted, *plain]);
    for form in forms {
        let key = fixture(form);
        for file in
            [[certificate.clone(), key.clone()].concat(), [key, certificate.clone()].concat()]
        {
            let certificates = pem::certificates(&file);
            assert_eq!(certificates, Ok(vec![issued.certificate_der().to_vec()]), "{form}");
        }
        assert_eq!(pem::certificates(&fixture(form)), Err(PemError::NoCertificate), "{form}");
    }
}
