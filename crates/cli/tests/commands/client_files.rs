//! Tests of the files of a client's private key and certificate, and of trusted certificates.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::{finish, kes_in};

const API_KEY: &str = "kes:v1:AD9E7FSYWrMD+VjhI6q545cYT9YOyFxZb7UnjEepYDRc";
const FIT: &str = "it wants RSA of 2048 to 8192 bits, EC on P-256, P-384 or P-521, or Ed25519";

/// The folder of examples.
fn pem() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/tests/pem")
}

/// The error about a key file and a certificate file.
fn refused(key: &str, cert: &str) -> String {
    let environment = [("MINIO_KES_KEY_FILE", key), ("MINIO_KES_CERT_FILE", cert)];
    let answer = kes_in(&pem(), &environment, &["key", "ls", "-k", "-s", "127.0.0.1:1"]);
    assert_eq!((answer.code, answer.out.as_str()), (Some(1), ""), "{}", answer.err);
    answer.err
}

#[test]
fn files_that_go_together_are_taken() {
    for name in ["rsa", "p256", "p384", "p521", "ed25519"] {
        let error = refused(&format!("{name}.key"), &format!("{name}.cert"));
        assert!(error.contains("\nHint: is the server running?"), "{error}");
    }
}

#[test]
fn keys_that_tls_does_not_take_are_reported_with_those_that_it_takes() {
    for (name, algorithm) in [
        ("rsa-1024", "RSA of 1024 bits"),
        ("ed448", "Ed448"),
        ("rsa-pss", "RSA restricted to PSS"),
        ("secp256k1", "EC on the curve secp256k1"),
    ] {
        let (key, cert) = (format!("{name}.key"), format!("{name}.cert"));
        let taken = format!("that TLS does not take: {algorithm}; {FIT}");
        let error = refused(&key, &cert);
        assert!(error.starts_with(&format!("Error: '{key}' holds a key {taken}")), "{error}");
        let error = refused("p256.key", &cert);
        let expected = format!("Error: the certificate of '{cert}' is of a key {taken}");
        assert!(error.starts_with(&expected), "{error}");
    }
}

#[test]
fn other_forms_are_reported_with_the_command_that_makes_pem_of_them() {
    for (file, holds, command) in [
        ("p256-key.der", "a private key in DER", "openssl pkey -inform der -in FILE -out NEW"),
        ("p256.p12", "a PKCS#12 archive", "openssl pkcs12 -in FILE -nocerts -nodes -out NEW"),
        ("openssh.key", "a private key in the form of OpenSSH", "ssh-keygen -p -m PKCS8 -f FILE"),
    ] {
        let command = command.replace("FILE", file);
        let expected = format!("Error: '{file}' holds {holds}; PEM is wanted: `{command}`\n");
        assert_eq!(refused(file, "p256.cert"), expected);
    }
    for (file, holds, command) in [
        ("p256-cert.der", "a certificate in DER", "openssl x509 -inform der -in FILE -out NEW"),
        ("p256.p12", "a PKCS#12 archive", "openssl pkcs12 -in FILE -nokeys -out NEW"),
        ("p256.p7b", "certificates in PKCS#7", "openssl pkcs7 -print_certs -in FILE -out NEW"),
    ] {
        let command = command.replace("FILE", file);
        let expected = format!("'{file}' holds {holds}; PEM is wanted: `{command}`\n");
        assert_eq!(refused("p256.key", file), format!("Error: {expected}"));
        let environment = [("MINIO_KMS_KES_CAPATH", file), ("MINIO_KES_API_KEY", API_KEY)];
        let trusted = kes_in(&pem(), &environment, &["key", "ls"]);
        assert_eq!(trusted.err, format!("Error: MINIO_KMS_KES_CAPATH: {expected}"));
    }
}

#[test]
fn files_that_are_no_pair_are_reported_with_their_names() {
    for key in ["p256-other.key", "rsa.key", "ed25519.key"] {
        assert_eq!(
            refused(key, "p256.cert"),
            format!(
                "Error: the first certificate of 'p256.cert' is not that of the private key\nHint: \
                 'p256.cert' has to hold first the certificate that was made for the private key in \
                 '{key}'\n"
            )
        );
    }
    assert_eq!(
        refused("p256.cert", "p256.cert"),
        "Error: 'p256.cert' holds no private key, but a certificate; it wants the private key that \
         goes with it, in PEM\n"
    );
    assert_eq!(
        refused("p256.key", "p256.key"),
        "Error: 'p256.key' holds no certificate, but a private key; it wants the certificate that \
         goes with it, in PEM\n"
    );
}

#[test]
fn keys_on_p521_that_are_no_pair_are_reported_with_their_names_too() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("other.key");
    let mut command = Command::new("openssl");
    command.args(["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-521", "-out"]);
    assert!(command.arg(&key).stderr(Stdio::null()).status().unwrap().success());
    let key = key.display().to_string();
    assert_eq!(
        refused(&key, "p521.cert"),
        format!(
            "Error: the first certificate of 'p521.cert' is not that of the private key\nHint: \
             'p521.cert' has to hold first the certificate that was made for the private key in \
             '{key}'\n"
        )
    );
}

#[test]
fn what_is_not_known_is_reported_with_what_pem_looks_like() {
    let error = refused("README.md", "p256.cert");
    assert!(
        error.starts_with("Error: 'README.md': no private key can be taken from it"),
        "{error}"
    );
    assert!(error.contains("-----BEGIN PRIVATE KEY-----"), "{error}");
    let error = refused("p256.key", "README.md");
    assert!(
        error.starts_with("Error: 'README.md': no certificate can be taken from it"),
        "{error}"
    );
    assert!(error.contains("-----BEGIN CERTIFICATE-----"), "{error}");
}

#[test]
fn without_a_terminal_the_variable_of_the_password_is_named() {
    let key = "../../../crypto/tests/fixtures/ed25519-pbkdf2-sha256-aes256.pem";
    // Without a controlling terminal no password can be read; with one this test would wait for input.
    let mut command = Command::new("setsid");
    command.args(["--wait", env!("CARGO_BIN_EXE_kes"), "key", "ls", "-k"]);
    command.current_dir(pem()).env_clear().stdin(Stdio::null());
    command.env("MINIO_KES_KEY_FILE", key).env("MINIO_KES_CERT_FILE", "ed25519.cert");
    let answer = finish(&mut command);
    assert_eq!(answer.code, Some(1));
    let start =
        format!("Error: the private key in '{key}' is encrypted: cannot ask for a password");
    assert!(answer.err.starts_with(&start), "{}", answer.err);
    let hint = "\nHint: a script gives the password in MINIO_KMS_KES_KEY_PASSWORD\n";
    assert!(answer.err.ends_with(hint), "{}", answer.err);
}

#[test]
fn a_server_without_trust_is_answered_with_minio_s_variable_first() {
    let environment = [("MINIO_KES_API_KEY", API_KEY), ("SSL_CERT_FILE", "nothing.crt")];
    let answer = kes_in(&pem(), &environment, &["key", "ls"]);
    assert_eq!(answer.code, Some(1));
    let hint = "\nHint: trust the server's certificate with MINIO_KMS_KES_CAPATH=<file> or \
                SSL_CERT_FILE=<file>, or switch verification off (-k)\n";
    assert!(answer.err.ends_with(hint), "{}", answer.err);
}
