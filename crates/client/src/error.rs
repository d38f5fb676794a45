//! Errors of the client.

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use kes_outbound::FailureKind;
use kes_tls::{ClientTlsError, Explanation};
use kes_types::wire::message;

use crate::endpoint::Endpoint;

/// An error of a client's configuration.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The list of servers is empty.
    #[error("no server address is given")]
    NoEndpoint,
    /// The certificate or the private key cannot be used, or the key does not belong to the
    /// certificate.
    #[error(transparent)]
    Identity(ClientTlsError),
    /// There are no trusted certificates, or TLS cannot be set up.
    #[error(transparent)]
    Tls(ClientTlsError),
    /// The HTTP library rejected its settings.
    #[error("the HTTP client cannot be set up")]
    Http(#[source] Box<dyn Error + Send + Sync>),
}

impl SetupError {
    /// Whether no trusted certificates were found.
    pub fn is_without_trust(&self) -> bool {
        matches!(self, Self::Tls(ClientTlsError::Trust(_)))
    }
}

impl From<ClientTlsError> for SetupError {
    fn from(error: ClientTlsError) -> Self {
        match error {
            ClientTlsError::Key(_) | ClientTlsError::Identity(_) => Self::Identity(error),
            ClientTlsError::Trust(_) | ClientTlsError::Settings(_) => Self::Tls(error),
        }
    }
}

/// An error of a call.
///
/// After [`Interrupted`](Self::Interrupted), [`TimedOut`](Self::TimedOut),
/// [`BadAnswer`](Self::BadAnswer) and a 5xx [`Status`](Self::Status) a write may still have taken
/// effect.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The server answered with an error.
    #[error("{message} ({})", code.as_u16())]
    Status {
        /// The HTTP status, never 200.
        code: StatusCode,
        /// The server's message, or the status's reason phrase if the body is not a JSON error.
        message: String,
    },
    /// No server could be reached; nothing was sent.
    #[error("no key server can be reached")]
    Unreachable(#[source] Attempts),
    /// Servers were reached, but the TLS handshake failed with each; nothing was sent.
    #[error("no secure connection to a key server")]
    Tls(#[source] Attempts),
    /// The connection ended while the request was sent or afterwards.
    #[error("{endpoint} did not answer")]
    Interrupted {
        /// The server that was asked.
        endpoint: Endpoint,
        /// Why the connection ended.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The time limit of the call was reached.
    #[error("no answer within {} s", .0.as_secs_f64())]
    TimedOut(Duration),
    /// The answer is not as the API specifies, or too long.
    #[error("{endpoint} does not answer as a key server does")]
    BadAnswer {
        /// The server that was asked.
        endpoint: Endpoint,
        /// What is wrong with the answer.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The request could not be built; a bug in this crate.
    #[error("the request cannot be made")]
    Request(#[source] Box<dyn Error + Send + Sync>),
}

impl ClientError {
    /// Whether it is a 403: the caller's policy does not allow the call, or the caller has no
    /// policy.
    pub fn is_not_allowed(&self) -> bool {
        self.is(StatusCode::FORBIDDEN, message::NOT_ALLOWED)
    }

    /// Whether it is a 404: there is no such key in the key store.
    pub fn is_key_not_found(&self) -> bool {
        self.is(StatusCode::NOT_FOUND, message::KEY_NOT_FOUND)
    }

    /// Whether it is a 400: a key of that name exists.
    pub fn is_key_exists(&self) -> bool {
        self.is(StatusCode::BAD_REQUEST, message::KEY_EXISTS)
    }

    /// Whether it is a 400: wrong key, wrong context or damaged ciphertext.
    pub fn is_not_authentic(&self) -> bool {
        self.is(StatusCode::BAD_REQUEST, message::NOT_AUTHENTIC)
    }

    /// Whether it is a 404: there is no such policy.
    pub fn is_policy_not_found(&self) -> bool {
        self.is(StatusCode::NOT_FOUND, message::POLICY_NOT_FOUND)
    }

    /// Whether it is a 404: the identity is not the admin's and in no policy.
    pub fn is_identity_not_found(&self) -> bool {
        self.is(StatusCode::NOT_FOUND, message::IDENTITY_NOT_FOUND)
    }

    /// Whether a server's certificate could not be verified.
    pub fn is_untrusted(&self) -> bool {
        match self {
            Self::Unreachable(attempts) | Self::Tls(attempts) => {
                attempts.0.iter().any(|attempt| matches!(attempt.error, ConnectError::Untrusted(_)))
            }
            _ => false,
        }
    }

    /// Whether both the status and the message are these. The status alone may be a proxy's.
    fn is(&self, status: StatusCode, text: &str) -> bool {
        matches!(self, Self::Status { code, message } if *code == status && message == text)
    }

    /// The error of a call that no server answered.
    pub(crate) fn no_server(attempts: Vec<Attempt>) -> Self {
        let tls = |attempt: &Attempt| {
            matches!(attempt.error, ConnectError::Tls(_) | ConnectError::Untrusted(_))
        };
        if attempts.iter().all(tls) {
            Self::Tls(Attempts(attempts))
        } else {
            Self::Unreachable(Attempts(attempts))
        }
    }
}

/// An error of a connection to a server, before anything was sent.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ConnectError {
    /// Name resolution, the TCP connection or the proxy failed.
    #[error("connection failed")]
    Tcp(#[source] Arc<io::Error>),
    /// The TLS handshake failed.
    #[error(transparent)]
    Tls(Explanation),
    /// The server's certificate could not be verified.
    #[error(transparent)]
    Untrusted(Explanation),
    /// The time limit of a connection was reached.
    #[error("no connection within {} s", .0.as_secs_f64())]
    TimedOut(Duration),
}

impl ConnectError {
    /// Converts a failure; `limit` is the time limit of a connection.
    pub(crate) fn new(failure: &kes_outbound::Failure, limit: Duration) -> Self {
        match (failure.kind(), failure.explanation()) {
            (FailureKind::Untrusted, Some(explanation)) => Self::Untrusted(explanation.clone()),
            (_, Some(explanation)) => Self::Tls(explanation.clone()),
            (FailureKind::TimedOut, None) => Self::TimedOut(limit),
            (_, None) => Self::Tcp(Arc::new(io_error(failure))),
        }
    }
}

/// The error of the operating system that caused a failure, without the HTTP library's errors
/// around it.
fn io_error(failure: &kes_outbound::Failure) -> io::Error {
    let cause = last_cause(failure);
    let code = cause.downcast_ref().and_then(io::Error::raw_os_error);
    code.map_or_else(|| io::Error::other(cause.to_string()), io::Error::from_raw_os_error)
}

/// The innermost error in the chain of sources.
fn last_cause<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    let mut last = error;
    while let Some(cause) = last.source() {
        last = cause;
    }
    last
}

/// The reason for which a connection ended.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Cause(String);

impl Cause {
    pub(crate) fn of(failure: &kes_outbound::Failure) -> Self {
        Self(last_cause(failure).to_string())
    }
}

/// A failed connection to one of the servers.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The server.
    pub endpoint: Endpoint,
    /// Why there is no connection.
    pub error: ConnectError,
}

/// The failed connections to all servers, in the order of the attempts.
#[derive(Clone, Debug)]
pub struct Attempts(pub Vec<Attempt>);

impl fmt::Display for Attempts {
    /// Writes each server with its chain of errors, since a list has no single source.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, Attempt { endpoint, error }) in self.0.iter().enumerate() {
            let separator = if i == 0 { "" } else { "; " };
            write!(f, "{separator}{endpoint}: {error}")?;
            let mut cause = error.source();
            while let Some(error) = cause {
                write!(f, ": {error}")?;
                cause = error.source();
            }
        }
        Ok(())
    }
}

impl Error for Attempts {}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(code: u16, text: &str) -> ClientError {
        ClientError::Status { code: StatusCode::from_u16(code).unwrap(), message: text.to_owned() }
    }

    #[test]
    fn well_known_errors_are_status_and_message_together() {
        assert!(status(404, "key does not exist").is_key_not_found());
        assert!(!status(400, "key does not exist").is_key_not_found());
        assert!(!status(404, "Not Found").is_key_not_found());
        assert!(status(400, "key already exists").is_key_exists());
        assert!(status(403, "not authorized: insufficient permissions").is_not_allowed());
        assert!(status(400, "decryption failed: ciphertext is not authentic").is_not_authentic());
        assert!(status(404, "policy does not exist").is_policy_not_found());
        assert!(status(404, "identity does not exist").is_identity_not_found());
        assert!(!ClientError::TimedOut(Duration::from_secs(1)).is_key_not_found());
    }

    #[test]
    fn every_server_that_was_tried_is_named_with_its_reason() {
        let refused = Arc::new(io::Error::new(io::ErrorKind::ConnectionRefused, "refused"));
        let bad = Explanation {
            problem: "the server's certificate is signed by an unknown authority".into(),
            cure: Some("trust it".into()),
        };
        let tcp = Attempt { endpoint: "a:1".parse().unwrap(), error: ConnectError::Tcp(refused) };
        let tls = Attempt { endpoint: "b:2".parse().unwrap(), error: ConnectError::Untrusted(bad) };
        let mixed = ClientError::no_server(vec![tcp, tls.clone()]);
        assert!(matches!(mixed, ClientError::Unreachable(_)) && mixed.is_untrusted());
        assert_eq!(
            mixed.source().unwrap().to_string(),
            "https://a:1: connection failed: refused; \
             https://b:2: the server's certificate is signed by an unknown authority: trust it"
        );
        assert!(matches!(ClientError::no_server(vec![tls]), ClientError::Tls(_)));
    }
}
