//! Explains why a peer's certificate is not accepted.

use std::error::Error as StdError;

use kes_types::Timestamp;
use rustls::pki_types::UnixTime;
use rustls::{CertificateError, ExtendedKeyPurpose, OtherError};

use super::{Explanation, Side};
use crate::chain::AuthorityError;

/// Explains why a certificate is not accepted.
pub(super) fn explain(error: &CertificateError, side: Side) -> Explanation {
    let (peer, trust) = (side.peer(), side.trust());
    let about = |text: &str| format!("the {peer}'s certificate {text}");
    match error {
        CertificateError::UnknownIssuer => Explanation::new(
            about("is signed by an unknown authority"),
            format!("add its CA, or a self-signed certificate itself, to {trust}"),
        ),
        CertificateError::BadSignature if side == Side::Server => Explanation::new(
            "a signature of the client is wrong: it does not have the private key of its \
             certificate, or an authority of that name did not sign the certificate, or a key is of \
             a size that is not supported",
            "give the client the key that belongs to its certificate; RSA keys need 2048 bits",
        ),
        CertificateError::BadSignature => Explanation::new(
            about("names a trusted authority that has not signed it"),
            format!("was that CA replaced by one of the same name? add the new one to {trust}"),
        ),
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => dates(error, side),
        CertificateError::NotValidForName => Explanation::new(
            about("is not valid for the name that was asked for"),
            "have it issued for that name as subject alternative name, or connect by another",
        ),
        CertificateError::NotValidForNameContext { expected, presented } => Explanation::new(
            about(&format!(
                "is not valid for '{}', but for {}",
                expected.to_str(),
                names(presented)
            )),
            "connect by such a name, or have it issued for this one as subject alternative name",
        ),
        CertificateError::InvalidPurposeContext { required, .. } => {
            let usage = match required {
                ExtendedKeyPurpose::ServerAuth => "serverAuth",
                ExtendedKeyPurpose::ClientAuth => "clientAuth",
                ExtendedKeyPurpose::Other(_) => "this use",
            };
            Explanation::new(
                about(&format!("is not for {peer}s")),
                format!("have it issued with extendedKeyUsage={usage}"),
            )
        }
        CertificateError::InvalidPurpose => Explanation::new(
            about(&format!("is not for {peer}s")),
            "have it issued with another extendedKeyUsage",
        ),
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            Explanation::new(
                about("is signed with an algorithm or a key that is not supported"),
                "have it issued with SHA-256 or better, and RSA of 2048 bits or more, ECDSA or \
                 Ed25519",
            )
        }
        CertificateError::UnhandledCriticalExtension => {
            Explanation::problem(about("has a critical extension that is not supported"))
        }
        CertificateError::BadEncoding => {
            Explanation::new(about("cannot be read"), "issue a new certificate")
        }
        CertificateError::Revoked => Explanation::problem(about("is revoked")),
        CertificateError::Other(OtherError(inner)) => path(inner.as_ref(), side),
        other => Explanation::problem(about(&format!("is not accepted: {other}"))),
    }
}

/// Explains a certificate that is not valid now.
fn dates(error: &CertificateError, side: Side) -> Explanation {
    let about = |text: &str| format!("the {}'s certificate {text}", side.peer());
    match error {
        CertificateError::ExpiredContext { not_after, .. } => {
            Explanation::new(about(&format!("expired at {}", date(*not_after))), renew(side))
        }
        CertificateError::NotValidYet => Explanation::new(about("is not valid yet"), CLOCKS),
        CertificateError::NotValidYetContext { not_before, .. } => {
            let text = format!("is not valid before {}", date(*not_before));
            Explanation::new(about(&text), CLOCKS)
        }
        _ => Explanation::new(about("has expired"), renew(side)),
    }
}

/// Explains an error of the certification path that the TLS library has no variant for.
fn path(error: &(dyn StdError + Send + Sync + 'static), side: Side) -> Explanation {
    let peer = side.peer();
    let about = |text: &str| format!("the {peer}'s certificate chain {text}");
    if let Some(authority) = error.downcast_ref::<AuthorityError>() {
        let (when, time) = match authority {
            AuthorityError::Expired(time) => ("expired at", *time),
            AuthorityError::NotValidYet(time) => ("is not valid before", *time),
        };
        return Explanation::new(
            format!("an authority above the {peer}'s certificate {when} {}", date(time)),
            "renew that authority's certificate, or is this machine's clock wrong?",
        );
    }
    match error.downcast_ref::<webpki::Error>() {
        Some(webpki::Error::EndEntityUsedAsCa) => Explanation::new(
            about("has an issuer that is no CA"),
            "the issuer's certificate needs basicConstraints=CA:TRUE",
        ),
        Some(webpki::Error::NameConstraintViolation) => {
            Explanation::problem(about("violates the name constraints of one of its issuers"))
        }
        Some(webpki::Error::PathLenConstraintViolated) => {
            Explanation::problem(about("is longer than one of its issuers permits (pathlen)"))
        }
        Some(
            webpki::Error::MaximumPathBuildCallsExceeded
            | webpki::Error::MaximumPathDepthExceeded
            | webpki::Error::MaximumSignatureChecksExceeded
            | webpki::Error::MaximumNameConstraintComparisonsExceeded,
        ) => Explanation::problem(about("is too long")),
        Some(webpki::Error::EmptyEkuExtension) => {
            Explanation::problem(about("has a certificate with an empty extendedKeyUsage"))
        }
        Some(webpki::Error::UnsupportedCertVersion) => {
            Explanation::problem(about("has a certificate that is not of version 3"))
        }
        Some(_) => Explanation::problem(about("is malformed")),
        None => Explanation::problem(format!("the {peer}'s certificate is not accepted: {error}")),
    }
}

const CLOCKS: &str = "are the clocks of both machines right?";

fn renew(side: Side) -> &'static str {
    match side {
        Side::Server => "renew it at the client, or is this machine's clock wrong?",
        Side::Client { .. } => "renew it at the server, or is this machine's clock wrong?",
    }
}

fn names(presented: &[String]) -> String {
    const SHOWN_MAX: usize = 8;
    const NAME_LEN_MAX: usize = 100;
    if presented.is_empty() {
        return "no name at all (it has no subject alternative name)".to_owned();
    }
    // The library formats names as `DnsName("localhost")`.
    let bare = |name: &String| {
        let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
        let bare = inner.unwrap_or(name).trim_matches('"');
        // A name is text of the peer.
        bare.chars().take(NAME_LEN_MAX).flat_map(char::escape_debug).collect::<String>()
    };
    let shown: Vec<_> = presented.iter().take(SHOWN_MAX).map(bare).collect();
    let more = if presented.len() > SHOWN_MAX { ", …" } else { "" };
    format!("{}{more}", shown.join(", "))
}

fn date(time: UnixTime) -> String {
    let seconds = i64::try_from(time.as_secs()).ok();
    let time = seconds.and_then(|seconds| Timestamp::from_unix(seconds, 0).ok());
    time.map_or_else(|| "an unknown time".to_owned(), |time| time.to_string())
}
