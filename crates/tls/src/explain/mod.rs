//! Explains failed TLS handshakes to an operator: the problem, and what to do about it.

mod alert;
mod certificate;

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::io;

use rustls::{AlertDescription, Error, InvalidMessage, OtherError, PeerIncompatible};

/// The side of a handshake on which it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// This process is the client.
    Client {
        /// The setting of the trusted certificates, such as `keystore.vault.tls.ca`.
        trust: &'static str,
        /// The settings of the client certificate; empty if there are none.
        identity: &'static str,
    },
    /// This process is the server; client certificates are verified against `tls.ca`.
    Server,
}

/// The problem of a client that sent no certificate although one is required.
pub const NO_CERTIFICATE: &str = "the client sent no certificate";

/// What to do about [`NO_CERTIFICATE`].
pub const GIVE_CERTIFICATE: &str = "give the client a certificate or an API key; where a probe has \
                                    none, set skip_auth for its route, as for /v1/ready";

/// The problem of a client whose certificate is malformed.
pub const UNREADABLE_CERTIFICATE: &str = "the client's certificate cannot be read";

/// The problem of a failed handshake, and what to do about it.
///
/// `Display` is `<problem>: <cure>` on one line, without secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The problem.
    pub problem: Cow<'static, str>,
    /// What to do about it, if that is known.
    pub cure: Option<Cow<'static, str>>,
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cure {
            Some(cure) => write!(f, "{}: {cure}", self.problem),
            None => f.write_str(&self.problem),
        }
    }
}

impl StdError for Explanation {}

impl Explanation {
    fn new(problem: impl Into<Cow<'static, str>>, cure: impl Into<Cow<'static, str>>) -> Self {
        Self { problem: problem.into(), cure: Some(cure.into()) }
    }

    fn problem(problem: impl Into<Cow<'static, str>>) -> Self {
        Self { problem: problem.into(), cure: None }
    }
}

/// Finds the TLS library's error among an error and its causes.
pub fn tls_error<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Error> {
    causes(error).find_map(|error| {
        error.downcast_ref::<Error>().or_else(|| {
            // The source of an I/O error is the source of its inner error, not the inner error.
            tls_error(error.downcast_ref::<io::Error>()?.get_ref()?)
        })
    })
}

/// Finds a fatal alert in the texts of an error and its causes.
///
/// It is for libraries, such as h2, that keep only the text of the TLS library's error.
pub fn alert_in_text(error: &(dyn StdError + 'static)) -> Option<Error> {
    causes(error).find_map(|error| {
        let text = error.to_string();
        let mut alerts =
            (0..=u8::MAX).map(|code| Error::AlertReceived(AlertDescription::from(code)));
        alerts.find(|alert| text.contains(&alert.to_string()))
    })
}

/// An error and its causes, outermost first.
fn causes<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error| (*error).source())
}

/// Explains an I/O error of a handshake.
pub fn explain_io(error: &io::Error, side: Side) -> Explanation {
    if let Some(found) = tls_error(error) {
        return explain(found, side);
    }
    let peer = side.peer();
    match error.kind() {
        io::ErrorKind::UnexpectedEof
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe => Explanation::problem(format!(
            "the {peer} closed the connection during the TLS handshake"
        )),
        _ => {
            Explanation::new(format!("the TLS handshake was interrupted: {error}"), side.ask_peer())
        }
    }
}

/// Explains an error of the TLS library.
pub fn explain(error: &Error, side: Side) -> Explanation {
    let peer = side.peer();
    match error {
        Error::InvalidCertificate(error) => certificate::explain(error, side),
        Error::NoCertificatesPresented => no_certificate(side),
        Error::AlertReceived(alert) => alert::explain(*alert, side),
        Error::InvalidMessage(
            InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
        ) => not_tls(side),
        Error::PeerIncompatible(reason) => incompatible(reason, side),
        Error::NoApplicationProtocol => Explanation::new(
            format!("the {peer} offers neither h2 nor http/1.1 (ALPN)"),
            "is it an HTTP peer?",
        ),
        // The first bytes of a client decide whether it speaks TLS at all.
        Error::InvalidMessage(_)
        | Error::InappropriateMessage { .. }
        | Error::PeerSentOversizedRecord
            if side == Side::Server =>
        {
            not_tls(side)
        }
        Error::InvalidMessage(_)
        | Error::InappropriateMessage { .. }
        | Error::InappropriateHandshakeMessage { .. }
        | Error::PeerMisbehaved(_)
        | Error::PeerSentOversizedRecord
        | Error::DecryptError => Explanation::new(
            format!(
                "the {peer} broke the rules of the TLS handshake, or something between changed it \
                 ({})",
                plain(error)
            ),
            side.ask_peer(),
        ),
        _ => {
            Explanation::new(format!("the TLS handshake failed: {}", plain(error)), side.ask_peer())
        }
    }
}

impl Side {
    /// The other side.
    fn peer(self) -> &'static str {
        match self {
            Self::Client { .. } => "server",
            Self::Server => "client",
        }
    }

    /// What to do where this side has no more information.
    fn ask_peer(self) -> &'static str {
        match self {
            Self::Client { .. } => "the server's log may say why",
            Self::Server => "the client's log may say why",
        }
    }

    /// The setting of the trusted certificates.
    fn trust(self) -> &'static str {
        match self {
            Self::Client { trust, .. } => trust,
            Self::Server => "tls.ca",
        }
    }
}

fn no_certificate(side: Side) -> Explanation {
    match side {
        Side::Server => Explanation::new(NO_CERTIFICATE, GIVE_CERTIFICATE),
        Side::Client { .. } => {
            Explanation::new("the server sent no certificate", "a TLS server needs one")
        }
    }
}

fn not_tls(side: Side) -> Explanation {
    match side {
        Side::Server => Explanation::new(
            "what the client sent is not TLS",
            "let the client use https://; switch the PROXY protocol off in a load balancer",
        ),
        Side::Client { .. } => Explanation::new(
            "the server does not speak TLS",
            "is it a plain HTTP server (http://), or is the port another service's?",
        ),
    }
}

/// Formats an error without the names of the library's types.
fn plain(error: &Error) -> String {
    match error {
        Error::Other(OtherError(inner)) => inner.to_string(),
        other => other.to_string(),
    }
}

fn incompatible(reason: &PeerIncompatible, side: Side) -> Explanation {
    let peer = side.peer();
    match reason {
        PeerIncompatible::ServerDoesNotSupportTls12Or13
        | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
        | PeerIncompatible::SupportedVersionsExtensionRequired
        | PeerIncompatible::Tls12NotOffered
        | PeerIncompatible::Tls12NotOfferedOrEnabled => Explanation::new(
            format!("the {peer} speaks neither TLS 1.2 nor 1.3"),
            "bring it up to date",
        ),
        PeerIncompatible::NoSignatureSchemesInCommon
        | PeerIncompatible::NoCertificateRequestSignatureSchemesInCommon => Explanation::new(
            format!("the {peer} and this side have no signature algorithm in common"),
            "use a certificate with an Ed25519, ECDSA P-256 or RSA key of 2048 bits",
        ),
        PeerIncompatible::NoCipherSuitesInCommon | PeerIncompatible::NoKxGroupsInCommon => {
            Explanation::new(
                format!("the {peer} and this side have no cipher suite or key exchange in common"),
                "bring it up to date",
            )
        }
        other => Explanation::problem(format!(
            "the {peer}'s TLS does not fit ({})",
            Error::PeerIncompatible(other.clone())
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use rustls::CertificateError;
    use rustls::pki_types::{ServerName, UnixTime};

    use super::*;

    const VAULT: Side = Side::Client {
        trust: "keystore.vault.tls.ca",
        identity: "keystore.vault.tls.cert and keystore.vault.tls.key",
    };

    fn text(error: impl Into<Error>, side: Side) -> String {
        explain(&error.into(), side).to_string()
    }

    #[test]
    fn each_explanation_has_the_peer_the_problem_and_what_to_do() {
        let name = ServerName::try_from("vault.corp").unwrap();
        let presented =
            vec!["DnsName(\"localhost\")".to_owned(), "IpAddress(127.0.0.1)".to_owned()];
        let not_after = UnixTime::since_unix_epoch(Duration::from_secs(1_700_000_000));
        for (error, side, words) in [
            (
                CertificateError::UnknownIssuer.into(),
                VAULT,
                "the server's certificate is signed by an unknown authority: add its CA, or a \
                 self-signed certificate itself, to keystore.vault.tls.ca",
            ),
            (
                CertificateError::NotValidForNameContext { expected: name, presented }.into(),
                VAULT,
                "the server's certificate is not valid for 'vault.corp', but for localhost, \
                 127.0.0.1: connect by such a name, or have it issued for this one as subject \
                 alternative name",
            ),
            (
                CertificateError::ExpiredContext { time: not_after, not_after }.into(),
                Side::Server,
                "the client's certificate expired at 2023-11-14T22:13:20Z: renew it at the client, \
                 or is this machine's clock wrong?",
            ),
            (
                Error::AlertReceived(AlertDescription::CertificateRequired),
                VAULT,
                "the server wants a client certificate (TLS alert certificate required): set \
                 keystore.vault.tls.cert and keystore.vault.tls.key",
            ),
            (
                Error::AlertReceived(AlertDescription::UnknownCA),
                Side::Server,
                "the client does not trust the server's certificate (TLS alert unknown ca): give \
                 the client the CA of tls.cert, or the certificate itself, and let it call the \
                 server by a name in it",
            ),
        ] {
            assert_eq!(text(error, side), words);
        }
    }

    #[test]
    fn no_explanation_shows_the_library_s_types() {
        let path_errors = [
            webpki::Error::EndEntityUsedAsCa,
            webpki::Error::PathLenConstraintViolated,
            webpki::Error::MaximumPathDepthExceeded,
            webpki::Error::MalformedExtensions,
            webpki::Error::UnsupportedCertVersion,
        ];
        let mut errors: Vec<Error> = path_errors
            .into_iter()
            .map(|error| CertificateError::Other(OtherError(Arc::new(error))).into())
            .collect();
        errors.push(Error::Other(OtherError(Arc::new(io::Error::other("no more entropy")))));
        errors.push(Error::PeerIncompatible(PeerIncompatible::NoKxGroupsInCommon));
        errors.push(Error::InvalidMessage(InvalidMessage::InvalidContentType));
        for error in errors {
            for side in [VAULT, Side::Server] {
                let text = text(error.clone(), side);
                assert!(!text.contains("Other"), "{text}");
                assert!(text.contains(side.peer()) || text.contains("entropy"), "{text}");
            }
        }
    }

    #[test]
    fn the_library_s_error_is_found_below_others() {
        let inner = Error::from(CertificateError::UnknownIssuer);
        let wrapped = io::Error::other(io::Error::other(inner.clone()));
        assert_eq!(tls_error(&wrapped), Some(&inner));
        assert_eq!(tls_error(&io::Error::other("no")), None);
        let alert = Error::AlertReceived(AlertDescription::CertificateRequired);
        let as_text = io::Error::other(io::Error::other(alert.to_string()));
        assert_eq!(alert_in_text(&as_text), Some(alert));
        assert_eq!(alert_in_text(&io::Error::other("received fatal")), None);
    }
}
