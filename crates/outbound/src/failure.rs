//! Why a request to another server brought no answer.

use std::error::Error;
use std::fmt;
use std::io;

use kes_tls::{Explanation, Side};
use rustls::AlertDescription;

/// A request that brought no whole answer. `Display` is for the log of an operator: for a failed TLS
/// handshake what was wrong and what would cure it, else the HTTP library's words; never the URL.
#[derive(Debug)]
pub struct Failure {
    kind: FailureKind,
    is_connect: bool,
    explanation: Option<Explanation>,
    error: reqwest::Error,
}

/// What kind of failure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// Nothing listens at the address; nothing was sent.
    Refused,
    /// There was no connection for another reason; nothing was sent.
    Connect,
    /// The server's certificate was not accepted; nothing was sent.
    Untrusted,
    /// The TLS handshake failed for another reason; no request was answered.
    Tls,
    /// A time limit was reached.
    TimedOut,
    /// The request may have arrived.
    Interrupted,
}

impl Failure {
    /// Looks into an error of the HTTP library; `side` names the settings that would cure it.
    pub fn new(error: reqwest::Error, side: Side) -> Self {
        let error = error.without_url();
        let found = kes_tls::tls_error(&error).cloned().or_else(|| kes_tls::alert_in_text(&error));
        let explanation = match &found {
            Some(found) => Some(kes_tls::explain(found, side)),
            None if error.is_connect() => {
                closed_handshake(&error).map(|error| kes_tls::explain_io(error, side))
            }
            None => None,
        };
        let kind = match &found {
            Some(rustls::Error::InvalidCertificate(_)) => FailureKind::Untrusted,
            Some(_) => FailureKind::Tls,
            None if explanation.is_some() => FailureKind::Tls,
            None if error.is_timeout() => FailureKind::TimedOut,
            None if error.is_connect() && is_refused(&error) => FailureKind::Refused,
            None if error.is_connect() => FailureKind::Connect,
            None => FailureKind::Interrupted,
        };
        let is_refusal = |found: &rustls::Error| matches!(found, rustls::Error::AlertReceived(alert) if REFUSALS.contains(alert));
        let is_connect = error.is_connect() || found.as_ref().is_some_and(is_refusal);
        Self { kind, is_connect, explanation, error }
    }

    /// What kind of failure it is.
    pub fn kind(&self) -> FailureKind {
        self.kind
    }

    /// What was wrong with TLS, and what would cure it; none if it was not TLS that failed.
    pub fn explanation(&self) -> Option<&Explanation> {
        self.explanation.as_ref()
    }

    /// Whether the connection could not be made, so that no request was read by the server.
    pub fn is_connect(&self) -> bool {
        self.is_connect
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.explanation {
            Some(explanation) => explanation.fmt(f),
            None => self.error.fmt(f),
        }
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        // What follows an explanation would be the library's own words for the same.
        if self.explanation.is_some() { None } else { self.error.source() }
    }
}

fn is_refused(error: &reqwest::Error) -> bool {
    io_error(error).is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

/// How a server refuses a client during the handshake. In TLS 1.3 the client is done with it by then,
/// and finds the alert in place of an answer.
const REFUSALS: [AlertDescription; 10] = [
    AlertDescription::AccessDenied,
    AlertDescription::BadCertificate,
    AlertDescription::CertificateExpired,
    AlertDescription::CertificateRequired,
    AlertDescription::CertificateRevoked,
    AlertDescription::CertificateUnknown,
    AlertDescription::DecryptError,
    AlertDescription::HandshakeFailure,
    AlertDescription::UnknownCA,
    AlertDescription::UnsupportedCertificate,
];

/// The end of a connection that was there already: the server closed it during the handshake.
fn closed_handshake(error: &reqwest::Error) -> Option<&io::Error> {
    io_error(error).filter(|error| {
        matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset)
    })
}

/// The operating system's error, or what stands for it, below those of the HTTP library.
fn io_error(error: &reqwest::Error) -> Option<&io::Error> {
    let mut next = error.source();
    while let Some(cause) = next {
        if let Some(mut error) = cause.downcast_ref::<io::Error>() {
            // One I/O error in another is not its cause.
            while let Some(inner) = error.get_ref().and_then(|inner| inner.downcast_ref()) {
                error = inner;
            }
            return Some(error);
        }
        next = cause.source();
    }
    None
}
