//! Why a call failed.

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

/// Why a client cannot be made of its configuration.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// There is no server to talk to.
    #[error("no server address is given")]
    NoEndpoint,
    /// The certificate or the private key cannot be used, or they do not belong together.
    #[error(transparent)]
    Identity(ClientTlsError),
    /// There are no trusted certificates, or TLS cannot be set up.
    #[error(transparent)]
    Tls(ClientTlsError),
    /// The HTTP library refuses its settings.
    #[error("the HTTP client cannot be set up")]
    Http(#[source] Box<dyn Error + Send + Sync>),
}

impl SetupError {
    /// Whether there are no trusted certificates to verify servers with.
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

/// Why a call failed.
///
/// After [`Interrupted`](Self::Interrupted), [`TimedOut`](Self::TimedOut),
/// [`BadAnswer`](Self::BadAnswer) and a 5xx [`Status`](Self::Status) a write may still have taken
/// effect.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The server refused.
    #[error("{message} ({})", code.as_u16())]
    Status {
        /// The HTTP status, never 200.
        code: StatusCode,
        /// The server's words; the status's own phrase if the answer was no JSON error.
        message: String,
    },
    /// No server could be reached; nothing was sent.
    #[error("no key server can be reached")]
    Unreachable(#[source] Attempts),
    /// Servers were reached, but the TLS handshake failed with each; nothing was sent.
    #[error("no secure connection to a key server")]
    Tls(#[source] Attempts),
    /// The connection broke after the request was sent, or while it was.
    #[error("{endpoint} did not answer")]
    Interrupted {
        /// The server that was asked.
        endpoint: Endpoint,
        /// What became of the connection.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The time for the whole call was over.
    #[error("no answer within {} s", .0.as_secs_f64())]
    TimedOut(Duration),
    /// The answer is not what the API promises, or too long.
    #[error("{endpoint} does not answer as a key server does")]
    BadAnswer {
        /// The server that was asked.
        endpoint: Endpoint,
        /// What is wrong with the answer.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The request could not be made; a defect of this crate.
    #[error("the request cannot be made")]
    Request(#[source] Box<dyn Error + Send + Sync>),
}

impl ClientError {
    /// 403: the caller's policy does not allow the call, or it has none.
    pub fn is_not_allowed(&self) -> bool {
        self.is(StatusCode::FORBIDDEN, message::NOT_ALLOWED)
    }

    /// 404: the key store said that there is no such key.
    pub fn is_key_not_found(&self) -> bool {
        self.is(StatusCode::NOT_FOUND, message::KEY_NOT_FOUND)
    }

    /// 400: the key's name is taken.
    pub fn is_key_exists(&self) -> bool {
        self.is(StatusCode::BAD_REQUEST, message::KEY_EXISTS)
    }

    /// 400: wrong key, wrong context or damaged ciphertext.
    pub fn is_not_authentic(&self) -> bool {
        self.is(StatusCode::BAD_REQUEST, message::NOT_AUTHENTIC)
    }

    /// 404: no policy of that name.
    pub fn is_policy_not_found(&self) -> bool {
        self.is(StatusCode::NOT_FOUND, message::POLICY_NOT_FOUND)
    }

    /// 404: neither the admin nor in any policy.
    pub fn is_identity_not_found(&self) -> bool {
        self.is(StatusCode::NOT_FOUND, message::IDENTITY_NOT_FOUND)
    }

    /// A server's certificate could not be verified.
    pub fn is_untrusted(&self) -> bool {
        match self {
            Self::Unreachable(attempts) | Self::Tls(attempts) => {
                attempts.0.iter().any(|attempt| matches!(attempt.error, ConnectError::Untrusted(_)))
            }
            _ => false,
        }
    }

    /// Whether this is exactly the status and the message; a proxy's 404 is nobody's "no such key".
    fn is(&self, status: StatusCode, text: &str) -> bool {
        matches!(self, Self::Status { code, message } if *code == status && message == text)
    }

    /// What became of a call when not one of the servers answered.
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

/// Why there is no connection to a server. Nothing was sent.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ConnectError {
    /// The name does not resolve, no address accepts connections, or the proxy opens none.
    #[error("connection failed")]
    Tcp(#[source] Arc<io::Error>),
    /// The TLS handshake failed.
    #[error(transparent)]
    Tls(Explanation),
    /// The server's certificate could not be verified.
    #[error(transparent)]
    Untrusted(Explanation),
    /// All of it together took too long.
    #[error("no connection within {} s", .0.as_secs_f64())]
    TimedOut(Duration),
}

impl ConnectError {
    /// Takes the time limit of connections for [`TimedOut`](Self::TimedOut).
    pub(crate) fn new(failure: &kes_outbound::Failure, limit: Duration) -> Self {
        match (failure.kind(), failure.explanation()) {
            (FailureKind::Untrusted, Some(explanation)) => Self::Untrusted(explanation.clone()),
            (_, Some(explanation)) => Self::Tls(explanation.clone()),
            (FailureKind::TimedOut, None) => Self::TimedOut(limit),
            (_, None) => Self::Tcp(Arc::new(io_error(failure))),
        }
    }
}

/// A failure as the operating system knows it, without the words of the HTTP library around it.
fn io_error(failure: &kes_outbound::Failure) -> io::Error {
    let cause = last_cause(failure);
    let code = cause.downcast_ref().and_then(io::Error::raw_os_error);
    code.map_or_else(|| io::Error::other(cause.to_string()), io::Error::from_raw_os_error)
}

/// The last of the causes, which says what happened in the fewest words.
fn last_cause<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    let mut last = error;
    while let Some(cause) = last.source() {
        last = cause;
    }
    last
}

/// What became of a connection.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Cause(String);

impl Cause {
    pub(crate) fn of(failure: &kes_outbound::Failure) -> Self {
        Self(last_cause(failure).to_string())
    }
}

/// A server that could not be connected to.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The server.
    pub endpoint: Endpoint,
    /// What happened.
    pub error: ConnectError,
}

/// Every server that was tried, in order.
#[derive(Clone, Debug)]
pub struct Attempts(pub Vec<Attempt>);

impl fmt::Display for Attempts {
    /// Writes the servers, each with the whole reason, since a list has no single source.
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
