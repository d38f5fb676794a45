//! Reads and writes certificates and private keys in PEM (RFC 7468), encrypted keys included.

mod algorithm;
mod der;
mod legacy;
mod material;
mod pbes2;
mod section;

use kes_types::{RandomFailed, Secret};

pub use algorithm::KeyAlgorithm;
pub use legacy::encrypt_legacy;
pub use material::Material;
pub use pbes2::encrypt;
pub(crate) use section::certificate;

/// Returns the certificates of a PEM file, in DER and in their order; at least one.
///
/// Other sections are skipped.
pub fn certificates(pem: &[u8]) -> Result<Vec<Vec<u8>>, PemError> {
    let certificates = section::certificates(pem)?;
    if certificates.is_empty() { Err(PemError::NoCertificate) } else { Ok(certificates) }
}

/// Returns the private key of a PEM file, which must contain exactly one.
///
/// The key is in PKCS#8, PKCS#1 or SEC1, plain or encrypted with `password`: by PBES2 of PKCS#8 (RFC 8018),
/// or by the headers `Proc-Type: 4,ENCRYPTED` (RFC 1421) with AES or 3DES. A password that is not needed
/// is ignored. Other sections are skipped. The key itself is not checked.
pub fn private_key(pem: &[u8], password: Option<&Secret>) -> Result<PrivateKey, PemError> {
    let key = section::private_key(pem)?;
    // Some tools write one format under the label of another.
    let labelled = |der: Secret, label| {
        let kind = kind_of(der.expose()).unwrap_or(label);
        PrivateKey { der, kind }
    };
    match (key.kind, key.encryption) {
        (Some(kind), None) => Ok(labelled(key.contents, kind)),
        (Some(kind), Some(scheme)) => {
            let password = password.ok_or(PemError::PasswordNeeded)?;
            Ok(labelled(legacy::decrypt(&scheme, &key.contents, password)?, kind))
        }
        (None, _) => {
            let password = password.ok_or(PemError::PasswordNeeded)?;
            let der = pbes2::decrypt(key.contents.expose(), password)?;
            Ok(PrivateKey { der, kind: PrivateKeyKind::Pkcs8 })
        }
    }
}

/// Detects the format of a private key in DER by what follows its version number: an algorithm (PKCS#8),
/// a modulus (PKCS#1) or the key itself (SEC1).
fn kind_of(der: &[u8]) -> Option<PrivateKeyKind> {
    let length = *der.get(1)?;
    let header_len = if length < 0x80 { 2 } else { 2 + usize::from(length & 0x7f) };
    match der.get(header_len..)? {
        [0x02, 0x01, _, 0x30, ..] => Some(PrivateKeyKind::Pkcs8),
        [0x02, 0x01, _, 0x02, ..] => Some(PrivateKeyKind::Pkcs1),
        [0x02, 0x01, _, 0x04, ..] => Some(PrivateKeyKind::Sec1),
        _ => None,
    }
}

/// A private key that is not encrypted.
#[derive(Clone, Debug)]
pub struct PrivateKey {
    der: Secret,
    kind: PrivateKeyKind,
}

/// The format of a private key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrivateKeyKind {
    /// PKCS#8 (RFC 5208), for any algorithm: `PRIVATE KEY`.
    Pkcs8,
    /// PKCS#1 (RFC 8017), for RSA: `RSA PRIVATE KEY`.
    Pkcs1,
    /// SEC1 (RFC 5915), for elliptic curves: `EC PRIVATE KEY`.
    Sec1,
}

impl PrivateKey {
    pub(crate) fn new(der: Secret, kind: PrivateKeyKind) -> Self {
        Self { der, kind }
    }

    /// The key in DER.
    pub fn der(&self) -> &Secret {
        &self.der
    }

    /// The format of the DER.
    pub fn kind(&self) -> PrivateKeyKind {
        self.kind
    }

    /// The key in PEM, not encrypted.
    pub fn to_pem(&self) -> Secret {
        section::write_private_key(self)
    }
}

/// The reasons why a PEM file does not contain the certificate or key that is expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PemError {
    /// A section is incomplete, or is not base64.
    #[error("not a well-formed PEM file")]
    Malformed,
    /// There is no certificate.
    #[error("the PEM file holds no certificate")]
    NoCertificate,
    /// There is no private key.
    #[error("the PEM file holds no private key")]
    NoKey,
    /// There is more than one private key.
    #[error("the PEM file holds more than one private key")]
    SeveralKeys,
    /// The private key is encrypted, and there is no password.
    #[error("the private key is encrypted and needs a password")]
    PasswordNeeded,
    /// The password does not decrypt the private key, or the key is damaged.
    #[error("the password does not decrypt the private key")]
    WrongPassword,
    /// The encryption of the private key, a name or an object identifier, is not supported.
    #[error("the private key is encrypted with {0}, which is not supported")]
    Unsupported(String),
    /// The encryption parameters of the private key cannot be read.
    #[error("the encryption parameters of the private key cannot be read")]
    Parameters,
}

/// The reasons why a private key cannot be encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncryptError {
    /// There are no random bytes.
    #[error("cannot make a salt")]
    Random(#[from] RandomFailed),
    /// The cipher does not accept the length of the key; this does not happen.
    #[error("cannot encrypt the private key")]
    Cipher,
    /// The key is not PKCS#8, or not well-formed.
    #[error("only a PKCS#8 private key can be encrypted")]
    NotPkcs8,
}
