//! Failures of requests to other servers.

use std::error::Error;
use std::fmt;
use std::io;

use kes_tls::{Explanation, Side};
use rustls::AlertDescription;

/// The failure of a request that got no complete response.
///
/// `Display` is for the log: for a failed TLS handshake the problem and what to do, otherwise the message of
/// the HTTP library; never the URL.
#[derive(Debug)]
pub struct Failure {
    kind: FailureKind,
    is_connect: bool,
    explanation: Option<Explanation>,
    error: reqwest::Error,
}

/// The kind of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// The connection was refused; nothing was sent.
    Refused,
    /// There was no connection for another reason; nothing was sent.
    Connect,
    /// The server's certificate was not accepted; nothing was sent.
    Untrusted,
    /// The TLS handshake failed for another reason; no request was answered.
    Tls,
    /// A timeout expired.
    TimedOut,
    /// The request may have arrived.
    Interrupted,
}

impl Failure {
    /// Classifies an error of the HTTP library; `side` names the settings for the explanation.
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

    /// The kind of the failure.
    pub fn kind(&self) -> FailureKind {
        self.kind
    }

    /// The explanation of a failed TLS handshake; `None` if TLS did not fail.
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
        // The causes of an explained error would repeat it in the words of the library.
        if self.explanation.is_some() { None } else { self.error.source() }
    }
}

fn is_refused(error: &reqwest::Error) -> bool {
    io_error(error).is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

/// The alerts by which a server refuses a client during the handshake.
///
/// In TLS 1.3 the client has finished the handshake by then, and reads the alert instead of a response.
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

/// Finds the error of a connection that the server closed during the handshake.
fn closed_handshake(error: &reqwest::Error) -> Option<&io::Error> {
    io_error(error).filter(|error| {
        matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset)
    })
}

/// Finds the I/O error below those of the HTTP library.
fn io_error(error: &reqwest::Error) -> Option<&io::Error> {
    let causes = std::iter::successors(error.source(), |cause| (*cause).source());
    let outer = causes.into_iter().find_map(|cause| cause.downcast_ref::<io::Error>());
    // An I/O error in another one is not its source.
    std::iter::successors(outer, |outer| outer.get_ref()?.downcast_ref()).last()
}
