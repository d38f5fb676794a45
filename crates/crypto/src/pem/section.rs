//! Reads and writes the sections of PEM files; the only module that uses PEM libraries.

use ::pem::{EncodeConfig, LineEnding, Pem};
use kes_types::Secret;
use zeroize::Zeroizing;

use super::{PemError, PrivateKey, PrivateKeyKind};

const CERTIFICATE: &str = "CERTIFICATE";
const ENCRYPTED_PKCS8: &str = "ENCRYPTED PRIVATE KEY";

/// The dashes between two sections without a line break between them.
const GLUED: &[u8] = b"----------";

/// A private key section of a file.
pub(super) struct KeySection {
    /// The format; `None` for a PKCS#8 key in PBES2.
    pub(super) kind: Option<PrivateKeyKind>,
    /// The value of `DEK-Info` if the contents are encrypted as a whole.
    pub(super) encryption: Option<String>,
    pub(super) contents: Secret,
}

/// Returns the contents of all certificate sections.
pub(super) fn certificates(pem: &[u8]) -> Result<Vec<Vec<u8>>, PemError> {
    let lines = without_headers(&in_strict_lines(pem));
    let mut rest = lines.as_slice();
    rustls_pemfile::certs(&mut rest)
        .map(|certificate| certificate.map(|der| der.to_vec()).map_err(|_| PemError::Malformed))
        .collect()
}

/// Returns the private key section, of which there must be exactly one.
pub(super) fn private_key(pem: &[u8]) -> Result<KeySection, PemError> {
    let pem = in_strict_lines(pem);
    let sections = ::pem::parse_many(&*pem).map_err(|_| PemError::Malformed)?;
    let mut keys = sections.into_iter().filter_map(KeySection::new);
    match (keys.next(), keys.next()) {
        (None, _) => Err(PemError::NoKey),
        (Some(key), None) => Ok(key),
        (Some(_), Some(_)) => Err(PemError::SeveralKeys),
    }
}

/// Returns the labels of all sections that begin in the file.
pub(super) fn labels(pem: &[u8]) -> Vec<&str> {
    let lines = pem.split(|byte| *byte == b'\n').flat_map(unglued);
    let labels = lines
        .filter_map(|line| line.trim_ascii().strip_prefix(b"-----BEGIN ")?.strip_suffix(b"-----"));
    labels.filter_map(|label| std::str::from_utf8(label).ok()).collect()
}

/// Normalizes a file for strict parsers.
///
/// It removes the byte order mark, adds a missing line break between two sections, and removes blank lines
/// in sections except those that end headers (the library takes all lines before a blank line for
/// headers, other parsers skip blank lines).
fn in_strict_lines(pem: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut kept = Zeroizing::new(Vec::with_capacity(pem.len() + 1));
    let mut position = Position::Outside;
    let pem = pem.strip_prefix(b"\xef\xbb\xbf").unwrap_or(pem);
    let lines = pem.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    for line in lines.flat_map(unglued) {
        position = match position {
            _ if line.starts_with(b"-----BEGIN ") => Position::Begin,
            _ if line.starts_with(b"-----END ") => Position::Outside,
            Position::Begin | Position::Body if line.is_empty() => continue,
            Position::Begin if line.contains(&b':') => Position::Headers,
            Position::Headers if !line.is_empty() => Position::Headers,
            Position::Begin | Position::Headers | Position::Body => Position::Body,
            Position::Outside => Position::Outside,
        };
        kept.extend_from_slice(line);
        kept.push(b'\n');
    }
    kept
}

/// Removes the headers of sections, such as encrypted private keys, which the library does not support.
///
/// Base64 has no colon.
fn without_headers(lines: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut kept = Zeroizing::new(Vec::with_capacity(lines.len()));
    for line in lines.split_inclusive(|byte| *byte == b'\n') {
        if line.starts_with(b"-----") || !line.contains(&b':') {
            kept.extend_from_slice(line);
        }
    }
    kept
}

/// Splits a line that should be two lines: `-----END X----------BEGIN Y-----`.
fn unglued(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let glued = line.windows(GLUED.len()).position(|part| part == GLUED);
    let halves = glued.and_then(|at| line.split_at_checked(at + GLUED.len() / 2));
    match halves {
        Some((first, second)) => [Some(first), Some(second)],
        None => [Some(line), None],
    }
    .into_iter()
    .flatten()
}

/// The position of a line in a PEM file.
#[derive(Clone, Copy)]
enum Position {
    Outside,
    Begin,
    Headers,
    Body,
}

/// Writes a certificate section.
pub(crate) fn certificate(der: &[u8]) -> String {
    write(CERTIFICATE, der)
}

/// Writes a private key section that is not encrypted.
pub(super) fn write_private_key(key: &PrivateKey) -> Secret {
    Secret::from(write(label(key.kind()), key.der().expose()))
}

/// Writes a section with a PKCS#8 key in PBES2.
pub(super) fn write_encrypted_pkcs8(der: &[u8]) -> Secret {
    Secret::from(write(ENCRYPTED_PKCS8, der))
}

/// Writes a private key section whose contents are encrypted as a whole; `scheme` is its `DEK-Info`.
pub(super) fn write_encrypted(kind: PrivateKeyKind, scheme: &str, contents: &[u8]) -> Secret {
    // OpenSSL accepts the headers in this order only.
    let headers = format!("\nProc-Type: 4,ENCRYPTED\nDEK-Info: {scheme}\n\n");
    Secret::from(write(label(kind), contents).replacen('\n', &headers, 1))
}

impl KeySection {
    /// Reads a section; `None` if it is not a private key.
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
