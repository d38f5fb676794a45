//! `kes identity`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use x509_parser::extensions::GeneralName;
use x509_parser::pem::parse_x509_pem;

use crate::{Answer, kes, kes_in};

const API_KEY: &str = "kes:v1:AD9E7FSYWrMD+VjhI6q545cYT9YOyFxZb7UnjEepYDRc";
const IDENTITY: &str = "3ecfcdf38fcbe141ae26a1030f81e96b753365a46760ae6b578698a97c59fd22";

#[test]
fn the_identity_of_an_api_key_is_bare_when_piped() {
    for key in [API_KEY, &API_KEY["kes:v1:".len()..]] {
        let answer = kes(&["identity", "of", key]);
        let expected = Answer { code: Some(0), out: IDENTITY.to_owned(), err: String::new() };
        assert_eq!(answer, expected);
    }
    let json = kes(&["identity", "of", API_KEY, "--json"]).out;
    assert_eq!(json, format!("{{\"identity\":\"{IDENTITY}\"}}\n"));
}

#[test]
fn what_has_no_identity_is_refused_without_being_shown() {
    for credential in ["kes:v1:c2VjcmV0", "c2VjcmV0", "./no-such-file"] {
        let Answer { code, out, err } = kes(&["identity", "of", credential]);
        assert_eq!((code, out.as_str()), (Some(1), ""));
        assert!(!err.contains("c2VjcmV0"), "{err}");
    }
}

#[test]
fn a_new_api_key_has_the_identity_that_is_told() {
    let Answer { code, out, err } = kes(&["identity", "new"]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let lines: Vec<_> = out.lines().collect();
    let key = lines[0].strip_prefix("API Key:  ").unwrap();
    let identity = lines[1].strip_prefix("Identity: ").unwrap();
    assert_eq!(lines.len(), 2);
    assert!(key.starts_with("kes:v1:"));
    assert_eq!(kes(&["identity", "of", key]).out, identity);

    let again = kes(&["identity", "new"]).out;
    assert_ne!(again, out);

    let json = kes(&["identity", "new", "--json", "--api-key", API_KEY]).out;
    assert_eq!(json, format!("{{\"api_key\":\"{API_KEY}\",\"identity\":\"{IDENTITY}\"}}\n"));
}

#[test]
fn files_of_a_given_api_key_have_its_identity() {
    let folder = tempfile::tempdir().unwrap();
    let kes = |arguments: &[&str]| kes_in(folder.path(), &[], arguments);
    let files = ["identity", "new", "--key", "a.key", "--cert", "a.crt"];
    let answer = kes(&[&files[..], &["--api-key", API_KEY]].concat());
    let out = format!("Private key: a.key\nCertificate: a.crt\nIdentity:    {IDENTITY}\n");
    assert_eq!(answer, Answer { code: Some(0), out, err: String::new() });
    assert_eq!(kes(&["identity", "of", "a.crt"]).out, IDENTITY);
    assert_eq!(mode(&folder.path().join("a.key")), 0o600);

    let certificate = fs::read(folder.path().join("a.crt")).unwrap();
    let pem = parse_x509_pem(&certificate).unwrap().1;
    let certificate = pem.parse_x509().unwrap();
    assert_eq!(certificate.subject().to_string(), format!("CN={IDENTITY}"));
}

#[test]
fn a_new_certificate_says_what_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let kes = |arguments: &[&str]| kes_in(folder.path(), &[], arguments);
    let Answer { code, out, err } = kes(&[
        "identity",
        "new",
        "--key",
        "b.key",
        "--cert",
        "b.crt",
        "--ip",
        "127.0.0.1",
        "--ip",
        "::1",
        "--dns",
        "localhost",
        "--expiry",
        "1h30m",
        "--json",
        "My Server",
    ]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let identity = kes(&["identity", "of", "b.crt"]).out;
    let expected = format!(r#"{{"key":"b.key","cert":"b.crt","identity":"{identity}"}}"#);
    assert_eq!(out.trim_end(), expected);

    let pem = fs::read(folder.path().join("b.crt")).unwrap();
    let pem = parse_x509_pem(&pem).unwrap().1;
    let certificate = pem.parse_x509().unwrap();
    assert_eq!(certificate.subject().to_string(), "CN=My Server");
    let validity = certificate.validity();
    let seconds = validity.not_after.timestamp() - validity.not_before.timestamp();
    assert_eq!(seconds, 90 * 60);
    let usage = certificate.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.client_auth && usage.server_auth);
    let names = &certificate.subject_alternative_name().unwrap().unwrap().value.general_names;
    let local = std::net::Ipv6Addr::LOCALHOST.octets();
    assert!(names.contains(&GeneralName::DNSName("localhost")));
    assert!(names.contains(&GeneralName::IPAddress(&[127, 0, 0, 1])));
    assert!(names.contains(&GeneralName::IPAddress(&local)));
}

#[test]
fn files_are_replaced_only_when_told_to() {
    let folder = tempfile::tempdir().unwrap();
    let (key, cert) = (folder.path().join("c.key"), folder.path().join("c.crt"));
    let new = |more: &[&str]| {
        let files = ["identity", "new", "--key", "c.key", "--cert", "c.crt"];
        kes_in(folder.path(), &[], &[&files, more].concat())
    };
    fs::write(&cert, "precious").unwrap();
    let Answer { code, out, err } = new(&[]);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert_eq!(err, "Error: 'c.crt' already exists\nHint: -f replaces files that exist\n");
    assert_eq!(fs::read_to_string(&cert).unwrap(), "precious");
    assert!(!key.exists());

    assert_eq!(new(&["-f"]).code, Some(0));
    let first = fs::read(&key).unwrap();
    assert_eq!(new(&[]).code, Some(1));
    assert_eq!(fs::read(&key).unwrap(), first);
    assert_eq!(new(&["-f"]).code, Some(0));
    assert_ne!(fs::read(&key).unwrap(), first);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn a_password_is_not_taken_from_anywhere_but_a_terminal() {
    let folder = tempfile::tempdir().unwrap();
    // Without a controlling terminal nobody can be asked; with one this would wait for a person.
    let arguments = ["identity", "new", "--key", "d.key", "--cert", "d.crt", "--encrypt"];
    let setsid = std::process::Command::new("setsid")
        .args(["--wait", env!("CARGO_BIN_EXE_kes")])
        .args(arguments)
        .current_dir(folder.path())
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    assert_eq!(setsid.status.code(), Some(1));
    let err = String::from_utf8(setsid.stderr).unwrap();
    assert!(err.starts_with("Error: cannot ask for a password on the terminal: "), "{err}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}
