//! Whether a private key is that of a certificate.

use kes_crypto::pem::{PrivateKey, PrivateKeyKind};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _, RsaKeyPair,
};
use x509_parser::der_parser::ber::BerObject;
use x509_parser::der_parser::der::parse_der;
use x509_parser::x509::SubjectPublicKeyInfo;
use zeroize::Zeroizing;

const RSA: &str = "1.2.840.113549.1.1.1";
const EC: &str = "1.2.840.10045.2.1";
const ED25519: &str = "1.3.101.112";
const P256: &str = "1.2.840.10045.3.1.7";
const P384: &str = "1.3.132.0.34";

/// Whether the private key belongs to the public key. None where this cannot tell: curves other
/// than P-256 and P-384, RSA keys of unusual sizes, other algorithms; the TLS library has the last
/// word there.
pub(crate) fn matches(key: &PrivateKey, public: &SubjectPublicKeyInfo<'_>) -> Option<bool> {
    let der = key.der().expose();
    let algorithm = public.algorithm.algorithm.to_id_string();
    if key_algorithm(key)? != algorithm {
        return Some(false);
    }
    let wanted = public.subject_public_key.data.as_ref();
    match algorithm.as_str() {
        RSA => {
            let pair = match key.kind() {
                PrivateKeyKind::Pkcs1 => RsaKeyPair::from_der(der),
                _ => RsaKeyPair::from_pkcs8(der),
            };
            Some(pair.ok()?.public_key().as_ref() == wanted)
        }
        ED25519 => {
            let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).ok()?;
            Some(pair.public_key().as_ref() == wanted)
        }
        EC => {
            let curve = public.algorithm.parameters.as_ref()?.as_oid().ok()?.to_id_string();
            let (curve, scalar_len): (&'static EcdsaSigningAlgorithm, usize) = match curve.as_str()
            {
                P256 => (&ECDSA_P256_SHA256_ASN1_SIGNING, 32),
                P384 => (&ECDSA_P384_SHA384_ASN1_SIGNING, 48),
                _ => return None,
            };
            // Some writers strip leading zeros, some add one.
            let scalar = ec_scalar(key)?;
            let zeros = scalar.iter().take_while(|byte| **byte == 0).count();
            let digits = scalar.get(zeros..)?;
            let Some(padding) = scalar_len.checked_sub(digits.len()) else {
                return Some(false);
            };
            let mut scalar = Zeroizing::new(Vec::with_capacity(scalar_len));
            scalar.resize(padding, 0);
            scalar.extend_from_slice(digits);
            // Fails unless the point is the scalar's. Randomness is only asked for by the type.
            let random = SystemRandom::new();
            let pair =
                EcdsaKeyPair::from_private_key_and_public_key(curve, &scalar, wanted, &random);
            Some(pair.is_ok())
        }
        _ => None,
    }
}

/// The object identifier of the key's algorithm.
fn key_algorithm(key: &PrivateKey) -> Option<String> {
    match key.kind() {
        PrivateKeyKind::Pkcs1 => Some(RSA.to_owned()),
        PrivateKeyKind::Sec1 => Some(EC.to_owned()),
        // PrivateKeyInfo: version, algorithm, private key (RFC 5958).
        PrivateKeyKind::Pkcs8 => {
            let info = sequence(key.der().expose())?;
            let algorithm = info.get(1)?.as_sequence().ok()?;
            Some(algorithm.first()?.as_oid().ok()?.to_id_string())
        }
    }
}

/// The private scalar of an EC key, big-endian, of the curve's length.
fn ec_scalar(key: &PrivateKey) -> Option<Zeroizing<Vec<u8>>> {
    let scalar = |sec1: &[u8]| {
        // ECPrivateKey: version, private key, … (RFC 5915).
        let key = sequence(sec1)?;
        Some(Zeroizing::new(key.get(1)?.as_slice().ok()?.to_vec()))
    };
    match key.kind() {
        PrivateKeyKind::Sec1 => scalar(key.der().expose()),
        PrivateKeyKind::Pkcs8 => scalar(sequence(key.der().expose())?.get(2)?.as_slice().ok()?),
        PrivateKeyKind::Pkcs1 => None,
    }
}

fn sequence(der: &[u8]) -> Option<Vec<BerObject<'_>>> {
    let (_, object) = parse_der(der).ok()?;
    Some(object.as_sequence().ok()?.clone())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use kes_crypto::pem;
    use x509_parser::certificate::X509Certificate;
    use x509_parser::prelude::FromDer as _;

    use super::*;

    fn pem(name: &str) -> Vec<u8> {
        std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pem").join(name)).unwrap()
    }

    fn match_of(key: &str, certificate: &str) -> Option<bool> {
        let key = pem::private_key(&pem(&format!("{key}.key")), None).unwrap();
        let chain = pem::certificates(&pem(&format!("{certificate}.cert"))).unwrap();
        let (_, certificate) = X509Certificate::from_der(&chain[0]).unwrap();
        matches(&key, certificate.public_key())
    }

    #[test]
    fn a_key_of_any_form_matches_its_certificate_and_no_other() {
        let families = [
            ("rsa", vec!["rsa", "rsa-pkcs8"], vec!["rsa-other"]),
            ("p256", vec!["p256", "p256-pkcs8", "p256-bare"], vec!["p256-other"]),
            ("p384", vec!["p384", "p384-pkcs8"], vec![]),
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
    fn curves_that_cannot_be_checked_are_left_to_the_tls_library() {
        assert_eq!(match_of("p521", "p521"), None);
        assert_eq!(match_of("p521-pkcs8", "p521"), None);
        assert_eq!(match_of("p521", "p256"), Some(false));
    }
}
