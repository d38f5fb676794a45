//! Reads identities and facts from X.509 certificates.

use std::net::{Ipv4Addr, Ipv6Addr};

use kes_types::{Identity, Timestamp};
use x509_parser::certificate::{X509Certificate, X509CertificateParser};
use x509_parser::extensions::{BasicConstraints, GeneralName};
use x509_parser::nom::Parser as _;
use x509_parser::oid_registry::OID_X509_EXT_BASIC_CONSTRAINTS;
use x509_parser::prelude::FromDer as _;
use x509_parser::time::ASN1Time;

/// The identity of a certificate's public key, and whether the certificate is a CA's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CertificateIdentity {
    /// The identity of the certificate's public key.
    pub identity: Identity,
    /// Whether its basic constraints mark it as a CA's.
    pub is_ca: bool,
}

/// Computes the identity of a DER certificate; neither its signature nor its validity is verified.
pub fn certificate_identity(der: &[u8]) -> Result<CertificateIdentity, InvalidCertificate> {
    let (rest, certificate) = read(der)?;
    if !rest.is_empty() {
        return Err(InvalidCertificate);
    }
    Ok(CertificateIdentity {
        identity: Identity::of_public_key(certificate.public_key().raw),
        is_ca: is_ca(&certificate)?,
    })
}

/// Returns the DER `SubjectPublicKeyInfo` of a DER certificate; nothing is verified.
pub fn certificate_public_key(der: &[u8]) -> Result<Vec<u8>, InvalidCertificate> {
    let (_, certificate) = read(der)?;
    Ok(certificate.public_key().raw.to_vec())
}

/// The subject, names and validity of a certificate, to be shown to an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFacts {
    /// Its subject, such as `CN=localhost`; may be empty.
    pub subject: String,
    /// Its DNS names and IP addresses.
    pub names: Vec<String>,
    /// When it becomes valid.
    pub not_before: Timestamp,
    /// When it expires.
    pub not_after: Timestamp,
}

/// Reads the facts of a DER certificate; nothing is verified.
pub fn certificate_facts(der: &[u8]) -> Result<CertificateFacts, InvalidCertificate> {
    let (_, certificate) = X509Certificate::from_der(der).map_err(|_| InvalidCertificate)?;
    let names = certificate.subject_alternative_name().ok().flatten();
    let names = names.map(|names| names.value.general_names.iter().filter_map(shown).collect());
    let time =
        |time: ASN1Time| Timestamp::from_unix(time.timestamp(), 0).map_err(|_| InvalidCertificate);
    Ok(CertificateFacts {
        subject: certificate.subject().to_string(),
        names: names.unwrap_or_default(),
        not_before: time(certificate.validity().not_before)?,
        not_after: time(certificate.validity().not_after)?,
    })
}

fn shown(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes).ok().map(|ip| Ipv4Addr::from(ip).to_string()),
            16 => <[u8; 16]>::try_from(*bytes).ok().map(|ip| Ipv6Addr::from(ip).to_string()),
            _ => None,
        },
        _ => None,
    }
}

/// Parses a certificate, but not the contents of its extensions, which every handshake would pay for.
///
/// The verification of handshakes and the computation of identities use this one parser: two parsers
/// that disagree about where the public key is would let one caller be taken for another.
fn read(der: &[u8]) -> Result<(&[u8], X509Certificate<'_>), InvalidCertificate> {
    let mut parser = X509CertificateParser::new().with_deep_parse_extensions(false);
    parser.parse(der).map_err(|_| InvalidCertificate)
}

/// Whether the basic constraints mark the certificate as a CA's.
///
/// Basic constraints that occur twice or cannot be read make the certificate invalid. If they counted as
/// absent, a CA's certificate could be taken for a caller's.
fn is_ca(certificate: &X509Certificate<'_>) -> Result<bool, InvalidCertificate> {
    let extension = certificate.get_extension_unique(&OID_X509_EXT_BASIC_CONSTRAINTS);
    match extension.map_err(|_| InvalidCertificate)? {
        None => Ok(false),
        Some(extension) => {
            let constraints = BasicConstraints::from_der(extension.value);
            constraints.map(|(_, constraints)| constraints.ca).map_err(|_| InvalidCertificate)
        }
    }
}

/// The error for bytes that are not exactly one X.509 certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an X.509 certificate")]
pub struct InvalidCertificate;
