//! Why a peer was refused before it was known who it is, in words for an operator.

use std::borrow::Cow;
use std::{fmt, io};

use rustls::{AlertDescription, CertificateError, Error, PeerIncompatible};

/// A refusal: what failed, why, and what would cure it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Refusal {
    pub(crate) what: &'static str,
    pub(crate) reason: Cow<'static, str>,
    pub(crate) cure: Cow<'static, str>,
}

type Text = Cow<'static, str>;

const HANDSHAKE: &str = "TLS handshake failed";
const REQUEST: &str = "request refused";

const SPEAK_TLS: &str =
    "let the client use https://; switch the PROXY protocol off in a load balancer";
const TRUST_US: &str = "give the client the CA of tls.cert, and let it call the server by a name in \
                        that certificate";
const SPEAK_NEW_TLS: &str = "let the client speak TLS 1.2 or 1.3 with current algorithms";
const SEE_CLIENT: &str = "the client's log may say why";
const ISSUE_FOR_CLIENT: &str = "issue one for clients, with CA:FALSE";

/// No certificate, where one is asked for.
pub(crate) const NO_CERTIFICATE: &str = "the client sent no certificate";
pub(crate) const GIVE_CERTIFICATE: &str = "give the client a certificate or an API key; where a \
    probe has none, set skip_auth for its route, as for /v1/ready";

/// A CA's certificate, where the client's own should be.
pub(crate) const CLIENT_IS_CA: &str = "the client's certificate is that of a CA (CA:TRUE)";

/// A certificate that is damaged.
pub(crate) const UNREADABLE: &str = "the client's certificate cannot be read";

impl Refusal {
    pub(crate) fn new(what: &'static str, reason: impl Into<Text>, cure: impl Into<Text>) -> Self {
        Self { what, reason: reason.into(), cure: cure.into() }
    }

    /// A request whose caller has no identity.
    pub(crate) fn of_request(reason: impl Into<Text>, cure: impl Into<Text>) -> Self {
        Self::new(REQUEST, reason, cure)
    }

    /// Refusals of different kinds, counted together.
    pub(crate) fn various() -> Self {
        Self::new("refused", "various", "log.error: debug tells more")
    }

    /// A handshake that took too long.
    pub(crate) fn timed_out() -> Self {
        let reason = "the client did not finish the handshake in time";
        Self::new(
            HANDSHAKE,
            reason,
            "see whether the client speaks TLS, and whether the network loses packets",
        )
    }

    /// A connection that had to make room for others before its client was known.
    pub(crate) fn evicted() -> Self {
        let reason = "too many connections of clients without a policy";
        let cure =
            "stop these clients, or give them a policy; raise the limit of open files if it is low";
        Self::new("connection closed", reason, cure)
    }

    /// HTTP without TLS.
    pub(crate) fn plain_http() -> Self {
        Self::new(HANDSHAKE, "the client sent a plain HTTP request", "let the client use https://")
    }

    /// Something else than TLS.
    pub(crate) fn not_tls() -> Self {
        Self::new(HANDSHAKE, "what the client sent is not TLS", SPEAK_TLS)
    }

    /// A handshake that failed.
    pub(crate) fn of_handshake(error: &io::Error) -> Self {
        let (reason, cure) = match error.get_ref().and_then(|error| error.downcast_ref::<Error>()) {
            Some(error) => words(error),
            None if is_end(error) => {
                ("the client closed the connection during the handshake".into(), SEE_CLIENT.into())
            }
            None => (error.to_string().into(), SEE_CLIENT.into()),
        };
        Self::new(HANDSHAKE, reason, cure)
    }

    /// A certificate that a TLS proxy forwarded and that is not trusted.
    pub(crate) fn of_forwarded(error: &Error) -> Self {
        let (reason, cure) = words(error);
        Self::of_request(format!("forwarded by a TLS proxy: {reason}"), cure)
    }
}

fn is_end(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}

/// What was wrong with a handshake, and what would cure it.
fn words(error: &Error) -> (Text, Text) {
    match error {
        Error::NoCertificatesPresented => (NO_CERTIFICATE.into(), GIVE_CERTIFICATE.into()),
        Error::InvalidCertificate(error) => certificate(error),
        Error::AlertReceived(alert) => of_alert(*alert),
        Error::PeerIncompatible(kind) => incompatible(kind),
        Error::InvalidMessage(_)
        | Error::InappropriateMessage { .. }
        | Error::PeerSentOversizedRecord => {
            ("what the client sent is not TLS".into(), SPEAK_TLS.into())
        }
        Error::NoApplicationProtocol => (
            "the client offers neither h2 nor http/1.1 (ALPN)".into(),
            "let the client speak HTTP/1.1 or HTTP/2".into(),
        ),
        Error::PeerMisbehaved(kind) => {
            (format!("the client broke the rules of TLS ({kind:?})").into(), SEE_CLIENT.into())
        }
        other => (other.to_string().into(), SEE_CLIENT.into()),
    }
}

fn incompatible(kind: &PeerIncompatible) -> (Text, Text) {
    let reason = match kind {
        PeerIncompatible::Tls12NotOffered
        | PeerIncompatible::Tls12NotOfferedOrEnabled
        | PeerIncompatible::ServerDoesNotSupportTls12Or13
        | PeerIncompatible::SupportedVersionsExtensionRequired => {
            "the client speaks neither TLS 1.2 nor TLS 1.3".into()
        }
        kind => format!("client and server have no TLS algorithm in common ({kind:?})").into(),
    };
    (reason, SPEAK_NEW_TLS.into())
}

fn of_alert(alert: AlertDescription) -> (Text, Text) {
    use AlertDescription::{
        BadCertificate, CertificateExpired, CertificateRevoked, CertificateUnknown, DecryptError,
        UnknownCA, UnrecognisedName, UnsupportedCertificate,
    };
    match alert {
        CertificateExpired => (
            "the client says that the server's certificate has expired".into(),
            "renew tls.cert; see whether the client's clock is right".into(),
        ),
        BadCertificate
        | CertificateRevoked
        | CertificateUnknown
        | DecryptError
        | UnknownCA
        | UnrecognisedName
        | UnsupportedCertificate => (
            format!("the client does not trust the server's certificate (alert {alert:?})").into(),
            TRUST_US.into(),
        ),
        alert => {
            (format!("the client ended the handshake (alert {alert:?})").into(), SEE_CLIENT.into())
        }
    }
}

fn certificate(error: &CertificateError) -> (Text, Text) {
    use CertificateError as Kind;
    let (reason, cure) = match error {
        Kind::UnknownIssuer => {
            ("the client's certificate is signed by an unknown authority", "add its CA to tls.ca")
        }
        Kind::Expired | Kind::ExpiredContext { .. } => (
            "the client's certificate has expired",
            "renew it; see whether the server's clock is right",
        ),
        Kind::NotValidYet | Kind::NotValidYetContext { .. } => (
            "the client's certificate is not valid yet",
            "see whether the clocks of client and server are right",
        ),
        Kind::InvalidPurpose | Kind::InvalidPurposeContext { .. } => (
            "the client's certificate is not for clients",
            "issue it with the extended key usage clientAuth",
        ),
        Kind::BadEncoding => (UNREADABLE, "issue a new certificate"),
        Kind::BadSignature => (
            "a signature of the client is wrong: it does not have the private key of its \
             certificate, or an authority did not sign the certificate",
            "give the client the key that belongs to its certificate",
        ),
        Kind::Other(other) if is_authority(&*other.0) => (CLIENT_IS_CA, ISSUE_FOR_CLIENT),
        Kind::Other(other) => return not_accepted(&other.0),
        other => return not_accepted(other),
    };
    (reason.into(), cure.into())
}

fn not_accepted(error: &dyn fmt::Display) -> (Text, Text) {
    (format!("the client's certificate is not accepted: {error}").into(), ISSUE_FOR_CLIENT.into())
}

fn is_authority(error: &(dyn std::error::Error + 'static)) -> bool {
    matches!(error.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity))
}
