//! Verifies certification paths of leaf certificates that webpki does not accept: those of version 1, and
//! those that are marked CA.
//!
//! Source: RFC 5280, section 6.1, as far as it applies here. It is stricter in two points: an issuer with
//! name constraints is never used, and an unknown critical extension ends the path.

use rustls::DistinguishedName;
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer, TrustAnchor, UnixTime};
use webpki::{Error, RawPublicKeyEntity};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::X509Version;

use crate::chain::{Rules, parse};
use crate::trust_store;

/// The maximum number of certificates between the peer's own and the trusted issuer.
const INTERMEDIATES_MAX: usize = 6;
/// The maximum number of signatures that are verified for one peer.
const SIGNATURES_MAX: usize = 100;
/// The maximum number of other certificates of a peer that are used.
const PRESENTED_MAX: usize = 32;

/// Verifies a peer's certificate: dates, key usage, and a path of signatures to a trusted issuer.
pub(crate) fn verify(
    rules: &Rules,
    leaf: &CertificateDer<'_>,
    presented: &[CertificateDer<'_>],
    now: UnixTime,
) -> Result<(), Error> {
    let leaf = parse(leaf)?;
    check_certificate(rules, &leaf, now)?;
    // Certificates that cannot be read are skipped.
    let presented: Vec<_> =
        presented.iter().take(PRESENTED_MAX).filter_map(|der| parse(der).ok()).collect();
    let mut search = Search { rules, presented: &presented, now, signatures_left: SIGNATURES_MAX };
    search.find_issuer(&leaf, 0)
}

/// Checks the dates of a certificate.
pub(crate) fn check_validity(
    certificate: &X509Certificate<'_>,
    now: UnixTime,
) -> Result<(), Error> {
    let (not_before, not_after) = trust_store::validity(certificate);
    trust_store::check_dates(not_before, not_after, now)
}

/// Checks a certificate of a path without its issuer.
fn check_certificate(
    rules: &Rules,
    certificate: &X509Certificate<'_>,
    now: UnixTime,
) -> Result<(), Error> {
    check_validity(certificate, now)?;
    check_extensions(certificate)?;
    rules.purpose.check(certificate)
}

/// Refuses extensions that occur twice or cannot be read, and unknown critical ones.
///
/// Certificates of version 1 have no extensions.
fn check_extensions(certificate: &X509Certificate<'_>) -> Result<(), Error> {
    certificate.extensions_map().map_err(|_| Error::MalformedExtensions)?;
    for extension in certificate.extensions() {
        match extension.parsed_extension() {
            ParsedExtension::BasicConstraints(_)
            | ParsedExtension::KeyUsage(_)
            | ParsedExtension::ExtendedKeyUsage(_)
            | ParsedExtension::SubjectAlternativeName(_)
            | ParsedExtension::NameConstraints(_) => {}
            ParsedExtension::ParseError { .. } => return Err(Error::MalformedExtensions),
            _ if extension.critical => return Err(Error::UnsupportedCriticalExtension),
            _ => {}
        }
    }
    Ok(())
}

/// A depth-first search for a path, with limits.
struct Search<'a> {
    rules: &'a Rules,
    presented: &'a [X509Certificate<'a>],
    now: UnixTime,
    signatures_left: usize,
}

impl Search<'_> {
    /// Finds a path from a certificate to a trusted issuer; `depth` is the number of certificates between it
    /// and the peer's own.
    fn find_issuer(&mut self, child: &X509Certificate<'_>, depth: usize) -> Result<(), Error> {
        let mut failed = Error::UnknownIssuer;
        let rules = self.rules;
        for anchor in rules.trust.issuers() {
            if is_subject(anchor, child) && anchor.name_constraints.is_none() {
                let signed = self.verify_signature(child, &webpki::spki_for_anchor(anchor));
                let may = |()| rules.trust.check_issuer(anchor, rules.purpose, self.now);
                match signed.and_then(may) {
                    Ok(()) => return Ok(()),
                    Err(error) => failed = error,
                }
            }
        }
        if depth == INTERMEDIATES_MAX {
            return Err(failed);
        }
        for issuer in self.presented {
            if issuer.subject().as_raw() == child.issuer().as_raw() {
                match self.verify_issued(child, issuer, depth) {
                    Ok(()) => return Ok(()),
                    // Those that were sent come last: their errors say more.
                    Err(error) => failed = error,
                }
            }
        }
        Err(failed)
    }

    /// Verifies that an issuer that the peer sent issued a certificate, and goes on from there.
    fn verify_issued(
        &mut self,
        child: &X509Certificate<'_>,
        issuer: &X509Certificate<'_>,
        depth: usize,
    ) -> Result<(), Error> {
        check_certificate(self.rules, issuer, self.now)?;
        check_may_issue(issuer, depth)?;
        self.verify_signature(child, &SubjectPublicKeyInfoDer::from(issuer.public_key().raw))?;
        self.find_issuer(issuer, depth + 1)
    }

    /// Verifies a certificate's signature, by the algorithms that webpki's paths are verified with.
    fn verify_signature(
        &mut self,
        child: &X509Certificate<'_>,
        issuer_key: &SubjectPublicKeyInfoDer<'_>,
    ) -> Result<(), Error> {
        let left = self.signatures_left.checked_sub(1);
        self.signatures_left = left.ok_or(Error::MaximumSignatureChecksExceeded)?;
        if child.signature_algorithm != child.tbs_certificate.signature {
            return Err(Error::SignatureAlgorithmMismatch);
        }
        let key = RawPublicKeyEntity::try_from(issuer_key)?;
        let identifier = signature_algorithm(child)?;
        let algorithms = self.rules.algorithms.all.iter();
        let mut fitting =
            algorithms.filter(|algorithm| algorithm.signature_alg_id().as_ref() == identifier);
        let (message, signature) = (child.tbs_certificate.as_ref(), &child.signature_value.data);
        if fitting.any(|algorithm| key.verify_signature(*algorithm, message, signature).is_ok()) {
            return Ok(());
        }
        Err(Error::InvalidSignatureForPublicKey)
    }
}

/// Checks whether a certificate that a peer sent may issue one with `depth` certificates below it.
fn check_may_issue(issuer: &X509Certificate<'_>, depth: usize) -> Result<(), Error> {
    // Certificates of versions without extensions cannot be marked CA; only trusted ones may issue.
    if issuer.version() != X509Version::V3 || !trust_store::may_issue(issuer) {
        return Err(Error::EndEntityUsedAsCa);
    }
    if issuer.name_constraints().map_err(|_| Error::MalformedExtensions)?.is_some() {
        return Err(Error::NameConstraintViolation);
    }
    let constraints = issuer.basic_constraints().map_err(|_| Error::MalformedExtensions)?;
    let path_len = constraints.and_then(|constraints| constraints.value.path_len_constraint);
    match path_len {
        Some(most) if usize::try_from(most).is_ok_and(|most| depth > most) => {
            Err(Error::PathLenConstraintViolated)
        }
        _ => Ok(()),
    }
}

fn is_subject(anchor: &TrustAnchor<'_>, child: &X509Certificate<'_>) -> bool {
    DistinguishedName::in_sequence(&anchor.subject).as_ref() == child.issuer().as_raw()
}

/// Returns the contents of the `AlgorithmIdentifier` after the signed part of a certificate, by which
/// webpki identifies algorithms.
fn signature_algorithm<'a>(certificate: &X509Certificate<'a>) -> Result<&'a [u8], Error> {
    let (_, whole) =
        x509_parser::asn1_rs::Any::from_der(certificate.as_raw()).map_err(|_| Error::BadDer)?;
    let signed_len = certificate.tbs_certificate.as_ref().len();
    let rest = whole.data.get(signed_len..).ok_or(Error::BadDer)?;
    let (_, identifier) = x509_parser::asn1_rs::Any::from_der(rest).map_err(|_| Error::BadDer)?;
    Ok(identifier.data)
}
