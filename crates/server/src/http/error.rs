//! Defines the errors that clients receive, and maps the errors of the key store to them.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt::{self, Write as _};
use std::sync::Arc;

use axum::http::StatusCode;
use kes_keyring::{CallError, CreateError, GetError};
use kes_store::StoreError;
use kes_types::wire::message;

/// Describes a failed request: status and message are sent to the client, the cause is only logged.
#[derive(Clone, Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    message: Cow<'static, str>,
    allow: Option<&'static str>,
    /// Whether the HTTP/1.1 connection is closed, because the bytes after the request cannot be interpreted.
    closes_connection: bool,
    cause: Option<Arc<dyn StdError + Send + Sync>>,
}

/// The operation that failed in the store; determines the message of a 502.
#[derive(Clone, Copy, Debug)]
pub(crate) enum StoreOperation {
    Create,
    Read,
    Delete,
    List,
}

impl StoreOperation {
    pub(crate) const fn failed(self) -> &'static str {
        match self {
            Self::Create => message::CREATE_FAILED,
            Self::Read => message::READ_FAILED,
            Self::Delete => message::DELETE_FAILED,
            Self::List => message::LIST_FAILED,
        }
    }
}

impl ApiError {
    pub(crate) fn new(status: StatusCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { status, message: message.into(), allow: None, closes_connection: false, cause: None }
    }

    fn because(mut self, cause: Arc<dyn StdError + Send + Sync>) -> Self {
        self.cause = Some(cause);
        self
    }

    pub(crate) fn bad_request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub(crate) fn not_found(message: &'static str) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    pub(crate) fn not_allowed() -> Self {
        Self::new(StatusCode::FORBIDDEN, message::NOT_ALLOWED)
    }

    pub(crate) fn no_such_route() -> Self {
        Self::not_found("not found")
    }

    pub(crate) fn malformed_path() -> Self {
        Self::bad_request("invalid request path")
    }

    /// An HTTP/1.1 head that is too long, or that a proxy may interpret differently. The connection is closed
    /// after the response.
    pub(crate) fn head(status: StatusCode, message: &'static str) -> Self {
        Self { closes_connection: true, ..Self::new(status, message) }
    }

    pub(crate) fn body_too_large() -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, message::BODY_TOO_LARGE)
    }

    /// The client sent its body below the least rate.
    pub(crate) fn body_too_slow() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, message::BODY_TOO_SLOW)
    }

    /// The client has too many requests in flight; it should retry later.
    pub(crate) fn too_many_requests() -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, message::TOO_MANY_REQUESTS)
    }

    /// The server is shutting down.
    pub(crate) fn shutting_down() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "server is shutting down")
    }

    /// The connection limit of the identity is reached, and none of its connections is idle.
    pub(crate) fn too_many_connections() -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too many connections")
    }

    /// The route does not have the method; `allow` lists those that it has.
    pub(crate) fn method_not_allowed(allow: &'static str) -> Self {
        let mut error = Self::new(StatusCode::METHOD_NOT_ALLOWED, "method not allowed");
        error.allow = Some(allow);
        error
    }

    /// The request took longer than its route's timeout.
    pub(crate) fn timed_out(message: &'static str) -> Self {
        Self::new(StatusCode::GATEWAY_TIMEOUT, message).because(Arc::new(TimedOut))
    }

    /// An error of the server itself.
    pub(crate) fn internal(cause: impl StdError + Send + Sync + 'static) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, message::INTERNAL).because(Arc::new(cause))
    }

    /// Maps an error of the store to a response. Clients compare these messages byte by byte.
    pub(crate) fn call(operation: StoreOperation, error: CallError) -> Self {
        let response = match &error {
            CallError::Store(error) => Self::of_store(operation, error),
            CallError::Busy(_) => Self::too_many_requests(),
        };
        response.because(Arc::new(error))
    }

    /// Maps an error of reading a key to a response.
    pub(crate) fn key(error: Arc<GetError>) -> Self {
        let response = match &*error {
            GetError::Store(_, error) => Self::of_store(StoreOperation::Read, error),
            GetError::Damaged(..) => Self::new(StatusCode::BAD_GATEWAY, message::READ_FAILED),
            GetError::Busy(..) => Self::too_many_requests(),
        };
        response.because(error)
    }

    /// Maps an error of creating a key to a response.
    pub(crate) fn create(error: CreateError) -> Self {
        let response = match &error {
            CreateError::Store(_, error) => Self::of_store(StoreOperation::Create, error),
            CreateError::Random(..) => {
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, message::INTERNAL)
            }
            CreateError::Busy(..) => Self::too_many_requests(),
        };
        response.because(Arc::new(error))
    }

    /// Maps a failed probe of the store to a response of the readiness route.
    pub(crate) fn readiness(error: Arc<StoreError>) -> Self {
        let response = match &*error {
            StoreError::Unreachable(_) => {
                Self::new(StatusCode::GATEWAY_TIMEOUT, message::STORE_UNREACHABLE)
            }
            _ => Self::new(StatusCode::BAD_GATEWAY, message::STORE_UNAVAILABLE),
        };
        response.because(error)
    }

    fn of_store(operation: StoreOperation, error: &StoreError) -> Self {
        match error {
            StoreError::Exists(_) => Self::bad_request(message::KEY_EXISTS),
            StoreError::NotFound(_) => Self::not_found(message::KEY_NOT_FOUND),
            StoreError::Refused(_) | StoreError::Unreachable(_) => {
                Self::new(StatusCode::BAD_GATEWAY, operation.failed())
            }
        }
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// Returns whether the request reached its timeout.
    pub(crate) fn is_timeout(&self) -> bool {
        self.status == StatusCode::GATEWAY_TIMEOUT
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// Returns the causes, outermost first, joined by `: `; only for the log.
    pub(crate) fn causes(&self) -> Causes<'_> {
        Causes(self.cause.as_deref().map(|cause| cause as &dyn StdError))
    }

    /// Returns the value of the `Allow` header, if there is one.
    pub(crate) fn allow(&self) -> Option<&'static str> {
        self.allow
    }

    /// Returns whether an HTTP/1.1 connection is closed after this response.
    pub(crate) fn closes_connection(&self) -> bool {
        self.closes_connection
    }
}

/// Formats a chain of causes as one line.
pub(crate) struct Causes<'a>(Option<&'a dyn StdError>);

impl<'a> Causes<'a> {
    /// Returns the innermost cause.
    pub(crate) fn innermost(&self) -> Option<&'a dyn StdError> {
        std::iter::successors(self.0, |&cause| cause.source()).last()
    }
}

impl fmt::Display for Causes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut next = self.0;
        let mut first = true;
        while let Some(cause) = next {
            if !std::mem::take(&mut first) {
                f.write_str(": ")?;
            }
            write!(f, "{cause}")?;
            next = cause.source();
        }
        if first { f.write_char('-') } else { Ok(()) }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the request reached its route's timeout")]
struct TimedOut;
