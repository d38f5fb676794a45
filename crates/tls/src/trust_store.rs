//! Lists of trusted certificates: as issuers of others, and as peers.

use std::collections::HashSet;
use std::fmt;
use std::time::Duration;

use ring::digest::{SHA256, digest};
use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::Error;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::X509Version;

use crate::purpose::Purpose;

/// A list of trusted certificates.
///
/// It follows the rules of Go's `x509.CertPool`: a certificate of the list is trusted when a peer sends
/// exactly this certificate, whatever signed it and whether or not it is marked CA. It is trusted as an
/// issuer only if it may issue certificates: it has version 1, or is marked CA, and is not restricted to
/// other uses.
pub struct TrustStore {
    /// SHA-256 of the DER of each certificate.
    listed: HashSet<[u8; 32]>,
    issuers: Vec<TrustAnchor<'static>>,
    /// The validity and uses of the issuers, in the same order; webpki does not keep them.
    terms: Vec<Terms>,
}

/// The validity and the uses of a trusted certificate as an issuer.
#[derive(Clone, Copy, Debug)]
struct Terms {
    not_before: UnixTime,
    not_after: UnixTime,
    for_servers: bool,
    for_clients: bool,
}

/// The reasons why a list of trusted certificates cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum TrustStoreError {
    /// A certificate of the list cannot be read.
    #[error("a certificate that is to be trusted cannot be read")]
    Certificate,
    /// The operating system has no trusted certificates, or they cannot be read.
    #[error("the system has no root certificates")]
    NoSystemRoots(#[source] Option<rustls_native_certs::Error>),
}

impl TrustStore {
    /// Makes a list of DER certificates.
    pub fn of(certificates: &[Vec<u8>]) -> Result<Self, TrustStoreError> {
        Self::empty().with(certificates)
    }

    /// Makes a list of the certificates that the operating system trusts.
    ///
    /// `SSL_CERT_FILE` and `SSL_CERT_DIR` replace them. Certificates that cannot be read are skipped.
    pub fn system() -> Result<Self, TrustStoreError> {
        let (store, error) = Self::native();
        if store.listed.is_empty() { Err(TrustStoreError::NoSystemRoots(error)) } else { Ok(store) }
    }

    /// Makes a list of the certificates that the operating system trusts, if any, and of DER certificates.
    pub fn system_and(certificates: &[Vec<u8>]) -> Result<Self, TrustStoreError> {
        Self::native().0.with(certificates)
    }

    /// Makes a list of DER certificates, or of those of the system if there are none.
    pub fn of_or_system(certificates: Option<&[Vec<u8>]>) -> Result<Self, TrustStoreError> {
        certificates.map_or_else(Self::system, Self::of)
    }

    fn empty() -> Self {
        Self { listed: HashSet::new(), issuers: Vec::new(), terms: Vec::new() }
    }

    /// Returns the system's certificates, and the error of the first that cannot be read.
    fn native() -> (Self, Option<rustls_native_certs::Error>) {
        let found = rustls_native_certs::load_native_certs();
        let mut store = Self::empty();
        for certificate in &found.certs {
            store.add(certificate);
        }
        (store, found.errors.into_iter().next())
    }

    /// Adds the certificates of a list, all of which must be readable.
    fn with(mut self, certificates: &[Vec<u8>]) -> Result<Self, TrustStoreError> {
        for der in certificates {
            if !self.add(der) {
                return Err(TrustStoreError::Certificate);
            }
        }
        Ok(self)
    }

    /// Adds a certificate; `false` if it cannot be read.
    fn add(&mut self, der: &[u8]) -> bool {
        let Ok(([], certificate)) = X509Certificate::from_der(der) else { return false };
        self.listed.insert(fingerprint(der));
        if may_issue(&certificate) {
            let der = CertificateDer::from(der);
            if let Ok(anchor) = webpki::anchor_from_trusted_cert(&der) {
                self.issuers.push(anchor.to_owned());
                self.terms.push(Terms::of(&certificate));
            }
        }
        true
    }

    /// Whether exactly this certificate is in the list.
    pub(crate) fn contains(&self, certificate: &CertificateDer<'_>) -> bool {
        self.listed.contains(&fingerprint(certificate))
    }

    /// Checks whether one of [`Self::issuers`] may be used now and for this purpose.
    ///
    /// The dates and extended key usages of a trusted certificate count like those of any other one of a
    /// path.
    pub(crate) fn check_issuer(
        &self,
        issuer: &TrustAnchor<'_>,
        purpose: Purpose,
        now: UnixTime,
    ) -> Result<(), Error> {
        let mut checked = Err(Error::UnknownIssuer);
        // A renewed CA certificate has the same name and key: the old and the new one may be in the list.
        for (_, terms) in self.issuers.iter().zip(&self.terms).filter(|(other, _)| *other == issuer)
        {
            checked = terms.check(purpose, now);
            if checked.is_ok() {
                break;
            }
        }
        checked
    }

    /// The trusted certificates that may issue others.
    pub(crate) fn issuers(&self) -> &[TrustAnchor<'static>] {
        &self.issuers
    }
}

impl fmt::Debug for TrustStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{} trusted certificates]", self.listed.len())
    }
}

impl Terms {
    fn of(certificate: &X509Certificate<'_>) -> Self {
        let (not_before, not_after) = validity(certificate);
        Self {
            not_before,
            not_after,
            for_servers: Purpose::Server.check(certificate).is_ok(),
            for_clients: Purpose::Client.check(certificate).is_ok(),
        }
    }

    fn check(&self, purpose: Purpose, now: UnixTime) -> Result<(), Error> {
        check_dates(self.not_before, self.not_after, now)?;
        let is_meant = match purpose {
            Purpose::Server => self.for_servers,
            Purpose::Client => self.for_clients,
        };
        if is_meant { Ok(()) } else { Err(purpose.missing(Vec::new())) }
    }
}

/// Returns the validity of a certificate; times before 1970 become 1970.
pub(crate) fn validity(certificate: &X509Certificate<'_>) -> (UnixTime, UnixTime) {
    let time = |seconds: i64| {
        UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
    };
    let validity = certificate.validity();
    (time(validity.not_before.timestamp()), time(validity.not_after.timestamp()))
}

/// Checks whether `now` is in a validity.
pub(crate) fn check_dates(
    not_before: UnixTime,
    not_after: UnixTime,
    now: UnixTime,
) -> Result<(), Error> {
    if now < not_before {
        return Err(Error::CertNotValidYet { time: now, not_before });
    }
    if now > not_after {
        return Err(Error::CertExpired { time: now, not_after });
    }
    Ok(())
}

fn fingerprint(der: &[u8]) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest(&SHA256, der).as_ref());
    bytes
}

/// Whether a trusted certificate may issue others; version 1 has no extensions that could forbid it.
pub(crate) fn may_issue(certificate: &X509Certificate<'_>) -> bool {
    if certificate.version() == X509Version::V1 {
        return true;
    }
    let is_ca = match certificate.basic_constraints() {
        Ok(Some(constraints)) => constraints.value.ca,
        Ok(None) | Err(_) => false,
    };
    let may_sign = match certificate.key_usage() {
        Ok(Some(usage)) => usage.value.key_cert_sign(),
        Ok(None) => true,
        Err(_) => false,
    };
    is_ca && may_sign
}
