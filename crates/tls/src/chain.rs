//! Decides whether a peer's certificate is trusted, directly or by a path to a trusted issuer.

use std::sync::Arc;

use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ExtendedKeyPurpose, OtherError};
use webpki::{EndEntityCert, Error, KeyUsage, VerifiedPath};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;

use crate::path;
use crate::purpose::Purpose;
use crate::trust_store::TrustStore;

/// The rules that a peer's certificate is verified by.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) trust: TrustStore,
    pub(crate) algorithms: WebPkiSupportedAlgorithms,
    pub(crate) purpose: Purpose,
}

impl Rules {
    /// Verifies a peer's certificate at the time `now`; names are not checked.
    ///
    /// `presented` are the other certificates that the peer sent.
    pub(crate) fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        presented: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), CertificateError> {
        if self.trust.contains(leaf) {
            return self.verify_listed(leaf, now).map_err(certificate_error);
        }
        let checked = EndEntityCert::try_from(leaf).and_then(|certificate| {
            let issuers = self.trust.issuers();
            let (algorithms, purpose) = (self.algorithms.all, self.purpose);
            let may_end =
                |path: &VerifiedPath<'_>| self.trust.check_issuer(path.anchor(), purpose, now);
            let path = certificate.verify_for_usage(
                algorithms,
                issuers,
                presented,
                now,
                purpose,
                None,
                Some(&may_end),
            );
            path.map(drop)
        });
        let checked = match checked {
            // Go accepts both, webpki neither: the first has no extensions, the second is marked CA.
            Err(Error::UnsupportedCertVersion | Error::CaUsedAsEndEntity) => {
                path::verify(self, leaf, presented, now)
            }
            checked => checked,
        };
        checked.map_err(|error| match of_authority(&error, leaf, now) {
            Some(authority) => CertificateError::Other(OtherError(Arc::new(authority))),
            None => certificate_error(error),
        })
    }

    /// Verifies the dates and the key usage of a certificate that is in the list of trusted ones.
    fn verify_listed(&self, leaf: &CertificateDer<'_>, now: UnixTime) -> Result<(), Error> {
        let certificate = parse(leaf)?;
        path::check_validity(&certificate, now)?;
        self.purpose.check(&certificate)
    }
}

/// The error for an issuing CA that is not valid now, while the peer's certificate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AuthorityError {
    /// It was valid until this time.
    #[error("expired")]
    Expired(UnixTime),
    /// It is valid from this time on.
    #[error("not valid yet")]
    NotValidYet(UnixTime),
}

fn of_authority(error: &Error, leaf: &CertificateDer<'_>, now: UnixTime) -> Option<AuthorityError> {
    let authority = match error {
        Error::CertExpired { not_after, .. } => AuthorityError::Expired(*not_after),
        Error::CertNotValidYet { not_before, .. } => AuthorityError::NotValidYet(*not_before),
        _ => return None,
    };
    let is_leaf_valid = path::check_validity(&parse(leaf).ok()?, now).is_ok();
    is_leaf_valid.then_some(authority)
}

/// Parses a certificate, which must be the whole input.
pub(crate) fn parse<'a>(der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, Error> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        _ => Err(Error::BadDer),
    }
}

/// Parses a server's certificate for its names; certificates of version 1 have none.
pub(crate) fn parse_names<'a>(
    certificate: &'a CertificateDer<'_>,
) -> Result<ParsedCertificate<'a>, rustls::Error> {
    match EndEntityCert::try_from(certificate) {
        Err(Error::UnsupportedCertVersion) => Err(CertificateError::NotValidForName.into()),
        _ => ParsedCertificate::try_from(certificate),
    }
}

/// Converts a path error to the TLS library's error, which selects the alert that is sent to the peer.
pub(crate) fn certificate_error(error: Error) -> CertificateError {
    match error {
        Error::BadDer | Error::BadDerTime | Error::TrailingData(_) => CertificateError::BadEncoding,
        Error::CertNotValidYet { time, not_before } => {
            CertificateError::NotValidYetContext { time, not_before }
        }
        Error::CertExpired { time, not_after } => {
            CertificateError::ExpiredContext { time, not_after }
        }
        Error::InvalidCertValidity => CertificateError::Expired,
        Error::UnknownIssuer => CertificateError::UnknownIssuer,
        Error::InvalidSignatureForPublicKey => CertificateError::BadSignature,
        Error::UnsupportedCriticalExtension => CertificateError::UnhandledCriticalExtension,
        Error::UnsupportedSignatureAlgorithmContext(context) => {
            CertificateError::UnsupportedSignatureAlgorithmContext {
                signature_algorithm_id: context.signature_algorithm_id,
                supported_algorithms: context.supported_algorithms,
            }
        }
        Error::UnsupportedSignatureAlgorithmForPublicKeyContext(context) => {
            CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext {
                signature_algorithm_id: context.signature_algorithm_id,
                public_key_algorithm_id: context.public_key_algorithm_id,
            }
        }
        Error::RequiredEkuNotFoundContext(context) => CertificateError::InvalidPurposeContext {
            required: purpose(&context.required),
            presented: context.present.into_iter().map(ExtendedKeyPurpose::Other).collect(),
        },
        other => CertificateError::Other(OtherError(Arc::new(other))),
    }
}

fn purpose(usage: &KeyUsage) -> ExtendedKeyPurpose {
    let values: Vec<usize> = usage.oid_values().collect();
    match values.as_slice() {
        KeyUsage::SERVER_AUTH_REPR => ExtendedKeyPurpose::ServerAuth,
        KeyUsage::CLIENT_AUTH_REPR => ExtendedKeyPurpose::ClientAuth,
        _ => ExtendedKeyPurpose::Other(values),
    }
}
