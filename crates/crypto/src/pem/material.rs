//! Detects what a file contains that is not the expected PEM.

use std::fmt;

use pkcs8::der::asn1::AnyRef;
use pkcs8::der::{Tag, Tagged as _};
use pkcs8::{EncryptedPrivateKeyInfoRef, PrivateKeyInfoRef};
use x509_parser::certificate::X509Certificate;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::der::{fields, first};
use super::{kind_of, section};

/// Key material of a format or kind that is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Material {
    /// A certificate in DER.
    DerCertificate,
    /// A private key in DER.
    DerPrivateKey,
    /// An encrypted private key in DER.
    DerEncryptedKey,
    /// A PKCS#12 archive: `.p12`, `.pfx`.
    Pkcs12,
    /// Certificates in PKCS#7, in DER: `.p7b`.
    DerPkcs7,
    /// Certificates in PKCS#7, in PEM.
    Pkcs7,
    /// A private key in OpenSSH's format.
    OpenSshKey,
    /// A private key for DSA, in its old format.
    DsaKey,
    /// A public key.
    PublicKey,
    /// A certificate request (CSR).
    Request,
    /// A certificate with OpenSSL's trust settings: `TRUSTED CERTIFICATE`.
    TrustedCertificate,
    /// A text in UTF-16, as Windows writes it.
    Utf16,
    /// An empty file.
    Empty,
}

impl Material {
    /// Detects the kind of a file's contents; `None` if it is not known.
    ///
    /// PEM sections that are accepted are not detected.
    pub fn of(contents: &[u8]) -> Option<Self> {
        if contents.trim_ascii().is_empty() {
            return Some(Self::Empty);
        }
        if contents.starts_with(b"\xff\xfe") || contents.starts_with(b"\xfe\xff") {
            return Some(Self::Utf16);
        }
        let labels = section::labels(contents);
        let of_label =
            |(label, material): &(&str, Self)| labels.contains(label).then_some(*material);
        if !labels.is_empty() {
            return LABELS.iter().find_map(of_label);
        }
        Self::of_der(contents)
    }

    fn of_der(der: &[u8]) -> Option<Self> {
        if X509Certificate::from_der(der).is_ok() {
            return Some(Self::DerCertificate);
        }
        if X509CertificationRequest::from_der(der).is_ok() {
            return Some(Self::Request);
        }
        if EncryptedPrivateKeyInfoRef::try_from(der).is_ok() {
            return Some(Self::DerEncryptedKey);
        }
        if SubjectPublicKeyInfo::from_der(der).is_ok() {
            return Some(Self::PublicKey);
        }
        let fields = fields(der)?;
        let (one, two) = (fields.first()?, fields.get(1)?);
        // ContentInfo of RFC 2315.
        if is_pkcs7(one) {
            return Some(Self::DerPkcs7);
        }
        // PFX of RFC 7292: a version, and contents in PKCS#7.
        if one.tag() == Tag::Integer && first(two.value()).is_some_and(|oid| is_pkcs7(&oid)) {
            return Some(Self::Pkcs12);
        }
        let is_key = PrivateKeyInfoRef::try_from(der).is_ok() || kind_of(der).is_some();
        (one.tag() == Tag::Integer && is_key).then_some(Self::DerPrivateKey)
    }
}

impl fmt::Display for Material {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DerCertificate => "a certificate in DER",
            Self::DerPrivateKey => "a private key in DER",
            Self::DerEncryptedKey => "an encrypted private key in DER",
            Self::Pkcs12 => "a PKCS#12 archive",
            Self::DerPkcs7 | Self::Pkcs7 => "certificates in PKCS#7",
            Self::OpenSshKey => "a private key in the form of OpenSSH",
            Self::DsaKey => "a DSA key",
            Self::PublicKey => "a public key",
            Self::Request => "a certificate request (CSR)",
            Self::TrustedCertificate => "a certificate in OpenSSL's own form",
            Self::Utf16 => "text in UTF-16",
            Self::Empty => "nothing",
        })
    }
}

/// The labels of PEM sections that are not accepted.
const LABELS: [(&str, Material); 9] = [
    ("OPENSSH PRIVATE KEY", Material::OpenSshKey),
    ("DSA PRIVATE KEY", Material::DsaKey),
    ("CERTIFICATE REQUEST", Material::Request),
    ("NEW CERTIFICATE REQUEST", Material::Request),
    ("PUBLIC KEY", Material::PublicKey),
    ("RSA PUBLIC KEY", Material::PublicKey),
    ("PKCS7", Material::Pkcs7),
    ("TRUSTED CERTIFICATE", Material::TrustedCertificate),
    ("X509 CERTIFICATE", Material::TrustedCertificate),
];

/// The prefix of the object identifiers of PKCS#7, 1.2.840.113549.1.7.
const PKCS7: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07];

fn is_pkcs7(value: &AnyRef<'_>) -> bool {
    value.tag() == Tag::ObjectIdentifier && value.value().starts_with(PKCS7)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::*;
    use crate::pem::{KeyAlgorithm, PrivateKey, PrivateKeyKind};
    use kes_types::Secret;

    const P256: &[u8] = include_bytes!("../../../config/tests/pem/p256-key.der");
    const P12: &[u8] = include_bytes!("../../../config/tests/pem/p256.p12");
    const CERTIFICATE: &[u8] = include_bytes!("../../../config/tests/pem/p256-cert.der");

    #[test]
    fn what_can_be_taken_is_not_reported() {
        for pem in ["-----BEGIN CERTIFICATE-----\n", "-----BEGIN PRIVATE KEY-----\n", "text"] {
            assert_eq!(Material::of(pem.as_bytes()), None, "{pem}");
        }
        assert_eq!(Material::of(b" \n"), Some(Material::Empty));
    }

    proptest! {
        #[test]
        fn no_bytes_are_a_panic(bytes in any::<Vec<u8>>()) {
            let _ = Material::of(&bytes);
        }

        #[test]
        fn no_damage_is_a_panic(file in 0..3_usize, at in 0..400_usize, byte in any::<u8>(), end in 0..400_usize) {
            let mut der = [P256, P12, CERTIFICATE][file].to_vec();
            if let Some(place) = der.get_mut(at) {
                *place = byte;
            }
            der.truncate(der.len().saturating_sub(end));
            let _ = Material::of(&der);
            let _ = KeyAlgorithm::of_certificate(&der);
            for kind in [PrivateKeyKind::Pkcs8, PrivateKeyKind::Pkcs1, PrivateKeyKind::Sec1] {
                let _ = KeyAlgorithm::of(&PrivateKey::new(Secret::new(der.clone()), kind));
            }
        }
    }
}
