//! What is said of files with key material that is of no use as it is.

#![expect(clippy::unwrap_used, reason = "a test ends where something cannot be done")]

mod folder;

use std::path::Path;

use folder::Folder;

const FIT: &str = "it wants RSA of 2048 to 8192 bits, EC on P-256, P-384 or P-521, or Ed25519, like \
                   `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out NEW`";

/// The lines for a server with that key and that certificate, of the test's `pem` folder.
fn said(key: &str, cert: &str) -> Vec<String> {
    let text = format!(
        "admin: {{ identity: disabled }}\ntls:\n  key: pem/{key}\n  cert: pem/{cert}\n\
         keystore: {{ fs: {{ path: ./keys }} }}\n"
    );
    match kes_config::parse(&text, Path::new("kes.yaml"), &Folder::enter().environment()) {
        Ok(config) => {
            assert!(config.warnings.is_empty(), "{key} {cert}: {:?}", config.warnings);
            Vec::new()
        }
        Err(errors) => {
            let here = std::env::current_dir().unwrap();
            errors.lines().map(|line| line.replace(here.to_str().unwrap(), "/etc/kes")).collect()
        }
    }
}

#[test]
fn keys_that_tls_takes_are_taken() {
    for name in ["rsa", "p256", "p384", "p521", "ed25519"] {
        assert_eq!(said(&format!("{name}.key"), &format!("{name}.cert")), [""; 0], "{name}");
    }
    for (key, cert) in [("p521-pkcs8", "p521"), ("rsa-pkcs8", "rsa"), ("p256-pkcs8", "p256")] {
        assert_eq!(said(&format!("{key}.key"), &format!("{cert}.cert")), [""; 0], "{key}");
    }
}

#[test]
fn keys_that_tls_does_not_take_are_reported_with_their_algorithm() {
    for (key, algorithm) in [
        ("rsa-1024.key", "RSA of 1024 bits"),
        ("rsa-1024-pkcs8.key", "RSA of 1024 bits"),
        ("rsa-pss.key", "RSA restricted to PSS"),
        ("ed448.key", "Ed448"),
        ("x25519.key", "X25519, which cannot sign"),
        ("x448.key", "X448, which cannot sign"),
        ("dsa-pkcs8.key", "DSA"),
        ("secp256k1.key", "EC on the curve secp256k1"),
        ("secp256k1-pkcs8.key", "EC on the curve secp256k1"),
        ("secp224r1.key", "EC on the curve P-224"),
        ("p256-explicit.key", "EC on a curve that is not named"),
        ("brainpoolP256r1.key", "EC on the curve brainpoolP256r1"),
    ] {
        let want = format!(
            "kes.yaml:3: tls.key: 'pem/{key}' (relative to /etc/kes) holds a key that TLS does not \
             take: {algorithm}; {FIT}"
        );
        // Whether or not the certificate is the key's own: that is not said too.
        assert_eq!(said(key, "p256.cert"), [want], "{key}");
    }
}

#[test]
fn certificates_of_such_keys_are_reported_once() {
    for (name, algorithm) in [
        ("rsa-1024", "RSA of 1024 bits"),
        ("rsa-pss", "RSA restricted to PSS"),
        ("ed448", "Ed448"),
        ("secp256k1", "EC on the curve secp256k1"),
        ("p256-explicit", "EC on a curve that is not named"),
    ] {
        let (key, cert) = (format!("{name}.key"), format!("{name}.cert"));
        let of_key = said(&key, &cert);
        assert!(of_key.len() == 1 && of_key[0].starts_with("kes.yaml:3: tls.key: "), "{of_key:?}");
        let want = format!(
            "kes.yaml:4: tls.cert: the certificate of 'pem/{cert}' (relative to /etc/kes) is of a \
             key that TLS does not take: {algorithm}; {FIT}"
        );
        assert_eq!(said("p256.key", &cert).join("\n"), want, "{name}");
        // A key that is not there says nothing about the certificate's.
        let both = said("no-such.key", &cert);
        assert!(both.len() == 2 && both[1] == want, "{both:?}");
    }
}

#[test]
fn other_forms_of_private_keys_are_named() {
    let convert = |command: &str| format!("PEM is wanted: `{command}`");
    let der = |file| convert(&format!("openssl pkey -inform der -in pem/{file} -out NEW"));
    let p12 = |file| convert(&format!("openssl pkcs12 -in pem/{file} -nocerts -nodes -out NEW"));
    let goes_with = "it wants the private key that goes with it, in PEM".to_owned();
    for (file, holds, advice) in [
        ("p256-key.der", "a private key in DER", der("p256-key.der")),
        ("p256-sec1.der", "a private key in DER", der("p256-sec1.der")),
        ("rsa-pkcs1.der", "a private key in DER", der("rsa-pkcs1.der")),
        ("p256-encrypted.der", "an encrypted private key in DER", der("p256-encrypted.der")),
        ("p256.p12", "a PKCS#12 archive", p12("p256.p12")),
        ("p256-legacy.p12", "a PKCS#12 archive", p12("p256-legacy.p12")),
        (
            "openssh.key",
            "a private key in the form of OpenSSH",
            convert("ssh-keygen -p -m PKCS8 -f pem/openssh.key"),
        ),
        ("dsa.key", "a DSA key", FIT.to_owned()),
        ("p256.pub", "a public key", goes_with.clone()),
        ("p256-pub.der", "a public key", goes_with.clone()),
        ("p256.csr", "a certificate request (CSR)", goes_with.clone()),
        ("p256-cert.der", "a certificate in DER", goes_with),
        (
            "p256-utf16.key",
            "text in UTF-16",
            convert("iconv -f UTF-16 -t UTF-8 pem/p256-utf16.key > NEW"),
        ),
    ] {
        let want = format!(
            "kes.yaml:3: tls.key: 'pem/{file}' (relative to /etc/kes) holds {holds}; {advice}"
        );
        assert_eq!(said(file, "p256.cert"), [want], "{file}");
    }
}

#[test]
fn other_forms_of_certificates_are_named() {
    let convert = |command: &str| format!("PEM is wanted: `openssl {command} -out NEW`");
    let goes_with = "it wants the certificate that goes with it, in PEM".to_owned();
    let of_ca = "it wants the certificate that a CA makes of it".to_owned();
    for (file, holds, advice) in [
        (
            "p256-cert.der",
            "a certificate in DER",
            convert("x509 -inform der -in pem/p256-cert.der"),
        ),
        ("p256.p12", "a PKCS#12 archive", convert("pkcs12 -in pem/p256.p12 -nokeys")),
        ("p256.p7b", "certificates in PKCS#7", convert("pkcs7 -print_certs -in pem/p256.p7b")),
        (
            "p256-der.p7b",
            "certificates in PKCS#7",
            convert("pkcs7 -inform der -print_certs -in pem/p256-der.p7b"),
        ),
        (
            "p256-trusted.cert",
            "a certificate in OpenSSL's own form",
            convert("x509 -in pem/p256-trusted.cert"),
        ),
        ("p256.csr", "a certificate request (CSR)", of_ca.clone()),
        ("p256-csr.der", "a certificate request (CSR)", of_ca),
        ("p256.pub", "a public key", goes_with.clone()),
        ("p256-key.der", "a private key in DER", goes_with),
    ] {
        let want = format!(
            "kes.yaml:4: tls.cert: 'pem/{file}' (relative to /etc/kes) holds {holds}; {advice}"
        );
        assert_eq!(said("p256.key", file), [want], "{file}");
    }
}
