//! Detects the algorithm of a key, and whether TLS supports it.

use std::fmt;

use pkcs8::PrivateKeyInfoRef;
use pkcs8::der::asn1::{AnyRef, BitStringRef, ObjectIdentifier, UintRef};
use pkcs8::der::{Decode as _, Tag, TagNumber, Tagged as _};
use pkcs8::spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;

use super::der::fields;
use super::{PrivateKey, PrivateKeyKind};

/// The algorithm of a private key or of a certificate's public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyAlgorithm {
    /// RSA.
    Rsa {
        /// The length of the modulus, in bits.
        bits: usize,
    },
    /// An elliptic curve, by its object identifier.
    Ec(ObjectIdentifier),
    /// `Ed25519`.
    Ed25519,
    /// An algorithm that TLS does not support, by its name for messages.
    Unsupported(&'static str),
}

/// The lengths of RSA keys, in bits, that the TLS library signs with.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

impl KeyAlgorithm {
    /// Detects the algorithm of a private key; `None` if it is not known or cannot be read.
    pub fn of(key: &PrivateKey) -> Option<Self> {
        let der = key.der().expose();
        match key.kind() {
            PrivateKeyKind::Pkcs8 => {
                let info = PrivateKeyInfoRef::try_from(der).ok()?;
                let rsa = || rsa_of_private_key(info.private_key.as_bytes());
                Self::from_identifier(&info.algorithm, rsa)
            }
            PrivateKeyKind::Pkcs1 => rsa_of_private_key(der),
            PrivateKeyKind::Sec1 => of_sec1(der),
        }
    }

    /// Detects the algorithm of a DER certificate's public key; `None` if it is not known or cannot be read.
    pub fn of_certificate(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let info = SubjectPublicKeyInfoRef::from_der(certificate.public_key().raw).ok()?;
        let rsa = || rsa_of_public_key(&info.subject_public_key);
        Self::from_identifier(&info.algorithm, rsa)
    }

    /// Whether TLS servers and clients can use such a key.
    pub fn can_serve_tls(&self) -> bool {
        match self {
            Self::Rsa { bits } => RSA_BITS.contains(bits),
            Self::Ec(curve) => [P256, P384, P521].contains(curve),
            Self::Ed25519 => true,
            Self::Unsupported(_) => false,
        }
    }

    fn from_identifier(
        identifier: &AlgorithmIdentifierRef<'_>,
        rsa: impl FnOnce() -> Option<Self>,
    ) -> Option<Self> {
        match identifier.oid {
            RSA => rsa(),
            EC => curve(identifier.parameters?),
            ED25519 => Some(Self::Ed25519),
            oid => name(&UNSUPPORTED, &oid).map(Self::Unsupported),
        }
    }
}

impl fmt::Display for KeyAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rsa { bits } => write!(f, "RSA of {bits} bits"),
            Self::Ec(curve) => match name(&CURVES, curve) {
                Some(name) => write!(f, "EC on the curve {name}"),
                None => write!(f, "EC on the curve {curve}"),
            },
            Self::Ed25519 => f.write_str("Ed25519"),
            Self::Unsupported(name) => f.write_str(name),
        }
    }
}

/// Reads an `RSAPrivateKey` of RFC 8017: version, modulus, …
fn rsa_of_private_key(der: &[u8]) -> Option<KeyAlgorithm> {
    let fields = fields(der)?;
    rsa(*fields.get(1)?)
}

/// Reads an `RSAPublicKey` of RFC 8017: modulus, exponent.
fn rsa_of_public_key(key: &BitStringRef<'_>) -> Option<KeyAlgorithm> {
    let fields = fields(key.as_bytes()?)?;
    rsa(*fields.first()?)
}

fn rsa(modulus: AnyRef<'_>) -> Option<KeyAlgorithm> {
    let modulus = UintRef::try_from(modulus).ok()?;
    let (first, rest) = modulus.as_bytes().split_first()?;
    let first = usize::try_from(u8::BITS - first.leading_zeros()).ok()?;
    Some(KeyAlgorithm::Rsa { bits: first + 8 * rest.len() })
}

/// Reads an `ECPrivateKey` of RFC 5915: version, key, parameters `[0]`, …
fn of_sec1(der: &[u8]) -> Option<KeyAlgorithm> {
    let fields = fields(der)?;
    let parameters = fields
        .iter()
        .find(|field| field.tag().is_context_specific() && field.tag().number() == TagNumber(0))?;
    curve(AnyRef::from_der(parameters.value()).ok()?)
}

/// Reads `ECParameters` of RFC 5480.
fn curve(parameters: AnyRef<'_>) -> Option<KeyAlgorithm> {
    match parameters.tag() {
        Tag::ObjectIdentifier => ObjectIdentifier::try_from(parameters).ok().map(KeyAlgorithm::Ec),
        Tag::Sequence => Some(KeyAlgorithm::Unsupported("EC on a curve that is not named")),
        _ => None,
    }
}

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const P521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");

/// Finds the name of an object identifier.
fn name(
    names: &[(ObjectIdentifier, &'static str)],
    wanted: &ObjectIdentifier,
) -> Option<&'static str> {
    names.iter().find(|(oid, _)| oid == wanted).map(|(_, name)| *name)
}

/// Algorithms that TLS does not support, with their names for messages.
const UNSUPPORTED: [(ObjectIdentifier, &str); 7] = [
    (ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10"), "RSA restricted to PSS"),
    (ObjectIdentifier::new_unwrap("1.3.101.113"), "Ed448"),
    (ObjectIdentifier::new_unwrap("1.3.101.110"), "X25519, which cannot sign"),
    (ObjectIdentifier::new_unwrap("1.3.101.111"), "X448, which cannot sign"),
    (ObjectIdentifier::new_unwrap("1.2.840.10040.4.1"), "DSA"),
    (ObjectIdentifier::new_unwrap("1.2.840.113549.1.3.1"), "Diffie-Hellman, which cannot sign"),
    (ObjectIdentifier::new_unwrap("1.2.840.10046.2.1"), "Diffie-Hellman, which cannot sign"),
];

/// Names of curves, for messages.
const CURVES: [(ObjectIdentifier, &str); 10] = [
    (P256, "P-256"),
    (P384, "P-384"),
    (P521, "P-521"),
    (ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.1"), "P-192"),
    (ObjectIdentifier::new_unwrap("1.3.132.0.33"), "P-224"),
    (ObjectIdentifier::new_unwrap("1.3.132.0.10"), "secp256k1"),
    (ObjectIdentifier::new_unwrap("1.3.36.3.3.2.8.1.1.7"), "brainpoolP256r1"),
    (ObjectIdentifier::new_unwrap("1.3.36.3.3.2.8.1.1.11"), "brainpoolP384r1"),
    (ObjectIdentifier::new_unwrap("1.3.36.3.3.2.8.1.1.13"), "brainpoolP512r1"),
    (ObjectIdentifier::new_unwrap("1.2.156.10197.1.301"), "SM2"),
];
