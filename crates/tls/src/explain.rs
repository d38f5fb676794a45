//! What a failed handshake means to an operator: what was wrong, and what would cure it.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::time::Duration;

use kes_types::Timestamp;
use rustls::pki_types::UnixTime;
use rustls::{
    AlertDescription, CertificateError, Error, ExtendedKeyPurpose, InvalidMessage, OtherError,
    PeerIncompatible,
};

use crate::chain::AuthorityError;

/// The side of a handshake that explains it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// We are the client.
    Client {
        /// The setting that lists the authorities that are trusted, `keystore.vault.tls.ca`, say.
        trust: &'static str,
        /// The settings of the client certificate; empty where there is none to be set.
        identity: &'static str,
    },
    /// We are the server; client certificates are checked against `tls.ca`.
    Server,
}

/// A client without a certificate, where one is asked for.
pub const NO_CERTIFICATE: &str = "the client sent no certificate";

/// What cures [`NO_CERTIFICATE`].
pub const GIVE_CERTIFICATE: &str = "give the client a certificate or an API key; where a probe has \
                                    none, set skip_auth for its route, as for /v1/ready";

/// A client whose certificate is damaged.
pub const UNREADABLE_CERTIFICATE: &str = "the client's certificate cannot be read";

/// What was wrong, and what would cure it. `Display` is `<problem>: <cure>` on one line, without
/// secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// What was wrong.
    pub problem: Cow<'static, str>,
    /// What would cure it, if that can be said.
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
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<Error>() {
            return Some(found);
        }
        // The cause of an I/O error is its inner error's cause, not the inner error.
        if let Some(inner) = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref)
            && let Some(found) = tls_error(inner)
        {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// Finds a fatal alert in the texts of an error and its causes, for libraries that keep no more than
/// the text of the TLS library's error (h2 does).
pub fn alert_in_text(error: &(dyn StdError + 'static)) -> Option<Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        let is_said = |alert: &Error| text.contains(&alert.to_string());
        let known = (0..=u8::MAX).map(|code| Error::AlertReceived(AlertDescription::from(code)));
        if let Some(alert) = known.into_iter().find(is_said) {
            return Some(alert);
        }
        next = error.source();
    }
    None
}

/// Explains why a handshake did not come to its end.
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
        Error::InvalidCertificate(error) => certificate(error, side),
        Error::NoCertificatesPresented => no_certificate(side),
        Error::AlertReceived(alert) => alert_received(*alert, side),
        Error::InvalidMessage(
            InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
        ) => not_tls(side),
        Error::PeerIncompatible(reason) => incompatible(reason, side),
        Error::NoApplicationProtocol => Explanation::new(
            format!("the {peer} offers neither h2 nor http/1.1 (ALPN)"),
            "is it an HTTP peer?",
        ),
        // What a client begins with decides whether it speaks TLS at all.
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

    /// The cure where this side does not know more.
    fn ask_peer(self) -> &'static str {
        match self {
            Self::Client { .. } => "the server's log may say why",
            Self::Server => "the client's log may say why",
        }
    }

    /// The setting that lists the authorities that are trusted.
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

/// An error in words, without the names of the library's types.
fn plain(error: &Error) -> String {
    match error {
        Error::Other(OtherError(inner)) => inner.to_string(),
        other => other.to_string(),
    }
}

fn certificate(error: &CertificateError, side: Side) -> Explanation {
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

/// Explains an error of the certification path for which the TLS library has no word.
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
    // The library shows names as `DnsName("localhost")`.
    let bare = |name: &String| {
        let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
        let bare = inner.unwrap_or(name).trim_matches('"');
        // A name is the peer's text.
        bare.chars().take(NAME_LEN_MAX).flat_map(char::escape_debug).collect::<String>()
    };
    let shown: Vec<_> = presented.iter().take(SHOWN_MAX).map(bare).collect();
    let more = if presented.len() > SHOWN_MAX { ", …" } else { "" };
    format!("{}{more}", shown.join(", "))
}

fn date(time: UnixTime) -> String {
    let seconds = Duration::from_secs(time.as_secs()).as_secs();
    let time =
        i64::try_from(seconds).ok().and_then(|seconds| Timestamp::from_unix(seconds, 0).ok());
    time.map_or_else(|| "an unknown time".to_owned(), |time| time.to_string())
}

/// Explains why the peer ended the handshake.
fn alert_received(alert: AlertDescription, side: Side) -> Explanation {
    let peer = side.peer();
    let refused = |text: &str| format!("the {peer} {text} (TLS alert {})", words(alert));
    let is_about_certificate = matches!(
        alert,
        AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRevoked
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
            | AlertDescription::DecryptError
            | AlertDescription::UnrecognisedName
    );
    match (alert, side) {
        (AlertDescription::CertificateExpired, Side::Server) => Explanation::new(
            refused("says that the server's certificate has expired"),
            "renew tls.cert, or is the client's clock wrong?",
        ),
        (_, Side::Server) if is_about_certificate => Explanation::new(
            refused("does not trust the server's certificate"),
            "give the client the CA of tls.cert, or the certificate itself, and let it call the \
             server by a name in it",
        ),
        (AlertDescription::CertificateRequired, Side::Client { identity, .. }) => Explanation {
            problem: refused("wants a client certificate").into(),
            cure: set(identity),
        },
        (_, Side::Client { identity, .. }) if is_about_certificate => Explanation {
            problem: refused("does not accept our client certificate").into(),
            cure: set(identity),
        },
        // TLS 1.2 has no other word for a missing certificate.
        (AlertDescription::HandshakeFailure, Side::Client { identity, .. }) => Explanation {
            problem: refused("refused the handshake").into(),
            cure: set(identity)
                .map(|cure| format!("it may want a client certificate: {cure}").into()),
        },
        (AlertDescription::ProtocolVersion, _) => {
            Explanation::new(refused("speaks neither TLS 1.2 nor 1.3"), "bring it up to date")
        }
        (AlertDescription::UnrecognisedName, _) => Explanation::new(
            refused("does not know the name that was asked for"),
            "is the host name right?",
        ),
        _ => Explanation::new(refused("ended the handshake"), side.ask_peer()),
    }
}

fn set(identity: &'static str) -> Option<Cow<'static, str>> {
    (!identity.is_empty()).then(|| format!("set {identity}").into())
}

/// `CertificateRequired` as `certificate required`.
fn words(alert: AlertDescription) -> String {
    let name = format!("{alert:?}");
    let mut words = String::with_capacity(name.len() + 4);
    let mut was_lower = false;
    for letter in name.chars() {
        if letter.is_uppercase() && was_lower {
            words.push(' ');
        }
        was_lower = letter.is_lowercase();
        words.extend(letter.to_lowercase());
    }
    words
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

    use rustls::pki_types::ServerName;

    use super::*;

    const VAULT: Side = Side::Client {
        trust: "keystore.vault.tls.ca",
        identity: "keystore.vault.tls.cert and keystore.vault.tls.key",
    };

    fn text(error: impl Into<Error>, side: Side) -> String {
        explain(&error.into(), side).to_string()
    }

    #[test]
    fn each_explanation_says_who_what_and_the_cure() {
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
