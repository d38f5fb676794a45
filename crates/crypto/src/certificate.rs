//! Who a certificate stands for.

use kes_types::Identity;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{ParsedExtension, X509Extension};
use x509_parser::oid_registry::OID_X509_EXT_BASIC_CONSTRAINTS;
use x509_parser::prelude::FromDer as _;

/// What a certificate says about its holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CertificateIdentity {
    /// The identity of the certificate's public key.
    pub identity: Identity,
    /// Whether its basic constraints make it a certificate authority's.
    pub is_ca: bool,
}

/// Reads a DER certificate. Nothing in it is verified: neither its signature nor its validity.
pub fn certificate_identity(der: &[u8]) -> Result<CertificateIdentity, InvalidCertificate> {
    let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| InvalidCertificate)?;
    if !rest.is_empty() {
        return Err(InvalidCertificate);
    }
    Ok(CertificateIdentity {
        identity: Identity::of_public_key(certificate.public_key().raw),
        is_ca: is_ca(&certificate)?,
    })
}

/// The DER `SubjectPublicKeyInfo` of a DER certificate. Nothing is verified.
pub fn certificate_public_key(der: &[u8]) -> Result<Vec<u8>, InvalidCertificate> {
    let (_, certificate) = X509Certificate::from_der(der).map_err(|_| InvalidCertificate)?;
    Ok(certificate.public_key().raw.to_vec())
}

/// Basic constraints that are there twice or cannot be read make the certificate invalid: to take
/// them for none would pass an authority off as a holder.
fn is_ca(certificate: &X509Certificate<'_>) -> Result<bool, InvalidCertificate> {
    let extension = certificate.get_extension_unique(&OID_X509_EXT_BASIC_CONSTRAINTS);
    match extension.map_err(|_| InvalidCertificate)?.map(X509Extension::parsed_extension) {
        None => Ok(false),
        Some(ParsedExtension::BasicConstraints(constraints)) => Ok(constraints.ca),
        Some(_) => Err(InvalidCertificate),
    }
}

/// The bytes are not one X.509 certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an X.509 certificate")]
pub struct InvalidCertificate;
