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
    /// RSA that is restricted to PSS (`id-RSASSA-PSS`).
    RsaPss,
    /// An elliptic curve, by its object identifier.
    Ec(ObjectIdentifier),
    /// An elliptic curve that is described by its parameters instead of a name.
    EcParameters,
    /// `Ed25519`.
    Ed25519,
    /// `Ed448`.
    Ed448,
    /// `X25519`, which cannot sign.
    X25519,
    /// `X448`, which cannot sign.
    X448,
    /// DSA.
    Dsa,
    /// Diffie-Hellman, which cannot sign.
    Dh,
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
            Self::RsaPss
            | Self::EcParameters
            | Self::Ed448
            | Self::X25519
            | Self::X448
            | Self::Dsa
            | Self::Dh => false,
        }
    }

    fn from_identifier(
        identifier: &AlgorithmIdentifierRef<'_>,
        rsa: impl FnOnce() -> Option<Self>,
    ) -> Option<Self> {
        match identifier.oid {
            RSA => rsa(),
            RSA_PSS => Some(Self::RsaPss),
            EC => curve(identifier.parameters?),
            ED25519 => Some(Self::Ed25519),
            ED448 => Some(Self::Ed448),
            X25519 => Some(Self::X25519),
            X448 => Some(Self::X448),
            DSA => Some(Self::Dsa),
            DH | DH_X942 => Some(Self::Dh),
            _ => None,
        }
    }
}

impl fmt::Display for KeyAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rsa { bits } => write!(f, "RSA of {bits} bits"),
            Self::RsaPss => f.write_str("RSA restricted to PSS"),
            Self::Ec(curve) => match CURVES.iter().find(|(oid, _)| oid == curve) {
                Some((_, name)) => write!(f, "EC on the curve {name}"),
                None => write!(f, "EC on the curve {curve}"),
            },
            Self::EcParameters => f.write_str("EC on a curve that is not named"),
            Self::Ed25519 => f.write_str("Ed25519"),
            Self::Ed448 => f.write_str("Ed448"),
            Self::X25519 => f.write_str("X25519, which cannot sign"),
            Self::X448 => f.write_str("X448, which cannot sign"),
            Self::Dsa => f.write_str("DSA"),
            Self::Dh => f.write_str("Diffie-Hellman, which cannot sign"),
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
        Tag::Sequence => Some(KeyAlgorithm::EcParameters),
        _ => None,
    }
}

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const RSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const ED448: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.113");
const X25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.110");
const X448: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.111");
const DSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10040.4.1");
const DH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.3.1");
const DH_X942: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10046.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const P521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");

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
