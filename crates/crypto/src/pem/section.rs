//! The sections of a PEM file. The only module that names PEM libraries.

use ::pem::{EncodeConfig, LineEnding, Pem};
use kes_types::Secret;
use zeroize::Zeroizing;

use super::{PemError, PrivateKey, PrivateKeyKind};

const CERTIFICATE: &str = "CERTIFICATE";
const ENCRYPTED_PKCS8: &str = "ENCRYPTED PRIVATE KEY";

/// A private key as it stands in a file.
pub(super) struct KeySection {
    /// None for a PKCS#8 key in PBES2.
    pub(super) kind: Option<PrivateKeyKind>,
    /// The value of `DEK-Info` if the contents are encrypted as a whole.
    pub(super) encryption: Option<String>,
    pub(super) contents: Secret,
}

/// The contents of all certificate sections.
pub(super) fn certificates(pem: &[u8]) -> Result<Vec<Vec<u8>>, PemError> {
    let mut rest = pem;
    rustls_pemfile::certs(&mut rest)
        .map(|certificate| certificate.map(|der| der.to_vec()).map_err(|_| PemError::Malformed))
        .collect()
}

/// The one private key section.
pub(super) fn private_key(pem: &[u8]) -> Result<KeySection, PemError> {
    let pem = without_blank_lines(pem);
    let sections = ::pem::parse_many(&*pem).map_err(|_| PemError::Malformed)?;
    let mut keys = sections.into_iter().filter_map(KeySection::new);
    match (keys.next(), keys.next()) {
        (None, _) => Err(PemError::NoKey),
        (Some(key), None) => Ok(key),
        (Some(_), Some(_)) => Err(PemError::SeveralKeys),
    }
}

/// Drops the blank lines of sections that do not end headers: the library takes whatever stands
/// before one for headers, other readers pass over them.
fn without_blank_lines(pem: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut kept = Zeroizing::new(Vec::with_capacity(pem.len() + 1));
    let mut place = Place::Outside;
    for line in pem.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii) {
        place = match place {
            _ if line.starts_with(b"-----BEGIN ") => Place::Begin,
            _ if line.starts_with(b"-----END ") => Place::Outside,
            Place::Begin | Place::Body if line.is_empty() => continue,
            Place::Begin if line.contains(&b':') => Place::Headers,
            Place::Headers if !line.is_empty() => Place::Headers,
            Place::Begin | Place::Headers | Place::Body => Place::Body,
            Place::Outside => Place::Outside,
        };
        kept.extend_from_slice(line);
        kept.push(b'\n');
    }
    kept
}

/// Where in a PEM file a line stands.
#[derive(Clone, Copy)]
enum Place {
    Outside,
    Begin,
    Headers,
    Body,
}

/// A certificate section.
pub(crate) fn certificate(der: &[u8]) -> String {
    write(CERTIFICATE, der)
}

/// A private key section, not encrypted.
pub(super) fn write_private_key(key: &PrivateKey) -> Secret {
    Secret::from(write(label(key.kind()), key.der().expose()))
}

/// A section with a PKCS#8 key in PBES2.
pub(super) fn write_encrypted_pkcs8(der: &[u8]) -> Secret {
    Secret::from(write(ENCRYPTED_PKCS8, der))
}

impl KeySection {
    /// None if the section is not a private key.
    fn new(section: Pem) -> Option<Self> {
        let kind = match section.tag() {
            ENCRYPTED_PKCS8 => None,
            tag => Some(kind(tag)?),
        };
        let headers = section.headers();
        let is_encrypted =
            headers.get("Proc-Type").is_some_and(|value| value.ends_with("ENCRYPTED"));
        let encryption =
            is_encrypted.then(|| headers.get("DEK-Info").unwrap_or_default().to_owned());
        Some(Self { kind, encryption, contents: Secret::new(section.into_contents()) })
    }
}

fn kind(label: &str) -> Option<PrivateKeyKind> {
    match label {
        "PRIVATE KEY" => Some(PrivateKeyKind::Pkcs8),
        "RSA PRIVATE KEY" => Some(PrivateKeyKind::Pkcs1),
        "EC PRIVATE KEY" => Some(PrivateKeyKind::Sec1),
        _ => None,
    }
}

fn label(kind: PrivateKeyKind) -> &'static str {
    match kind {
        PrivateKeyKind::Pkcs8 => "PRIVATE KEY",
        PrivateKeyKind::Pkcs1 => "RSA PRIVATE KEY",
        PrivateKeyKind::Sec1 => "EC PRIVATE KEY",
    }
}

fn write(label: &str, der: &[u8]) -> String {
    let config = EncodeConfig::new().set_line_ending(LineEnding::LF);
    ::pem::encode_config(&Pem::new(label, der), config)
}
