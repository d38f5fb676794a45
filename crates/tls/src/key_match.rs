//! Checks whether a private key belongs to a certificate.

use kes_types::Secret;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::PrivateKeyDer;

/// Returns whether a private key (PKCS#8, PKCS#1 or SEC1, DER) is that of a certificate (DER); none
/// where the TLS library cannot use the key, or the certificate cannot be read.
///
/// This is what `CertifiedKey::keys_match` of rustls compares. The public key of the certificate is
/// read by the reader that computes identities too.
pub fn keys_match(key: &Secret, certificate: &[u8]) -> Option<bool> {
    let key = PrivateKeyDer::try_from(key.expose()).ok()?;
    let key = any_supported_type(&key).ok()?;
    Some(key.public_key()?.as_ref() == kes_crypto::certificate_public_key(certificate).ok()?)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use kes_crypto::pem;

    use super::*;

    fn pem(name: &str) -> Vec<u8> {
        std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/tests/pem").join(name))
            .unwrap()
    }

    fn match_of(key: &str, certificate: &str) -> Option<bool> {
        let key = pem::private_key(&pem(&format!("{key}.key")), None).unwrap();
        let chain = pem::certificates(&pem(&format!("{certificate}.cert"))).unwrap();
        keys_match(key.der(), &chain[0])
    }

    #[test]
    fn a_key_of_any_form_matches_its_certificate_and_no_other() {
        let families = [
            ("rsa", vec!["rsa", "rsa-pkcs8"], vec!["rsa-other"]),
            ("p256", vec!["p256", "p256-pkcs8", "p256-bare"], vec!["p256-other"]),
            ("p384", vec!["p384", "p384-pkcs8"], vec![]),
            ("p521", vec!["p521", "p521-pkcs8"], vec![]),
            ("ed25519", vec!["ed25519"], vec!["ed25519-other"]),
        ];
        for (certificate, own, others) in &families {
            for key in own {
                assert_eq!(match_of(key, certificate), Some(true), "{key} {certificate}");
                for (other, ..) in families.iter().filter(|(other, ..)| other != certificate) {
                    assert_eq!(match_of(key, other), Some(false), "{key} {other}");
                }
            }
            for key in others {
                assert_eq!(match_of(key, certificate), Some(false), "{key} {certificate}");
            }
        }
    }

    #[test]
    fn keys_that_the_tls_library_cannot_use_are_not_judged() {
        assert_eq!(match_of("secp256k1", "p256"), None);
        assert_eq!(match_of("rsa-1024", "rsa"), None);
    }
}
