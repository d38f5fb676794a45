//! The errors of the API: status, message and cause.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt::{self, Write as _};
use std::sync::Arc;

use axum::http::StatusCode;
use kes_keyring::{CallError, CreateError, GetError};
use kes_store::StoreError;
use kes_types::wire::message;

/// A failed request: status and message are the wire's words, the cause is for our log.
#[derive(Clone, Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    message: Cow<'static, str>,
    allow: Option<&'static str>,
    /// What follows the request on its HTTP/1.1 connection cannot be read.
    closes_connection: bool,
    cause: Option<Arc<dyn StdError + Send + Sync>>,
}

/// What was being done when the store failed; it chooses the words of a 502.
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

    /// A head of HTTP/1.1 that is too long, or that others may read in another way. The connection is
    /// closed after the answer.
    pub(crate) fn head(status: StatusCode, message: &'static str) -> Self {
        Self { closes_connection: true, ..Self::new(status, message) }
    }

    pub(crate) fn body_too_large() -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, message::BODY_TOO_LARGE)
    }

    /// The client did not send its body at the lowest rate that is accepted.
    pub(crate) fn body_too_slow() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, message::BODY_TOO_SLOW)
    }

    /// The client has too many requests in flight; it should retry later.
    pub(crate) fn too_many_requests() -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, message::TOO_MANY_REQUESTS)
    }

    /// The server is about to end.
    pub(crate) fn shutting_down() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "server is shutting down")
    }

    /// The identity holds as many connections as it may, and none of them is idle.
    pub(crate) fn too_many_connections() -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too many connections")
    }

    /// `allow` lists the methods that the route has.
    pub(crate) fn method_not_allowed(allow: &'static str) -> Self {
        let mut error = Self::new(StatusCode::METHOD_NOT_ALLOWED, "method not allowed");
        error.allow = Some(allow);
        error
    }

    /// The request took longer than its route's timeout.
    pub(crate) fn timed_out(message: &'static str) -> Self {
        Self::new(StatusCode::GATEWAY_TIMEOUT, message).because(Arc::new(TimedOut))
    }

    /// An internal error of this server.
    pub(crate) fn internal(cause: impl StdError + Send + Sync + 'static) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, message::INTERNAL).because(Arc::new(cause))
    }

    /// Turns a store's answer into ours. Clients compare these messages byte for byte.
    pub(crate) fn call(operation: StoreOperation, error: CallError) -> Self {
        let answer = match &error {
            CallError::Store(error) => Self::of_store(operation, error),
            CallError::Busy(_) => Self::too_many_requests(),
        };
        answer.because(Arc::new(error))
    }

    /// Turns a keyring's answer into ours.
    pub(crate) fn key(error: Arc<GetError>) -> Self {
        let answer = match &*error {
            GetError::Store(_, error) => Self::of_store(StoreOperation::Read, error),
            GetError::Damaged(..) => Self::new(StatusCode::BAD_GATEWAY, message::READ_FAILED),
            GetError::Busy(..) => Self::too_many_requests(),
        };
        answer.because(error)
    }

    /// Turns a failed creation into an answer.
    pub(crate) fn create(error: CreateError) -> Self {
        let answer = match &error {
            CreateError::Store(_, error) => Self::of_store(StoreOperation::Create, error),
            CreateError::Random(..) => {
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, message::INTERNAL)
            }
            CreateError::Busy(..) => Self::too_many_requests(),
        };
        answer.because(Arc::new(error))
    }

    /// Turns a failed sign of life into an answer of the readiness route.
    pub(crate) fn readiness(error: Arc<StoreError>) -> Self {
        let answer = match &*error {
            StoreError::Unreachable(_) => {
                Self::new(StatusCode::GATEWAY_TIMEOUT, message::STORE_UNREACHABLE)
            }
            _ => Self::new(StatusCode::BAD_GATEWAY, message::STORE_UNAVAILABLE),
        };
        answer.because(error)
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

    /// Whether the request has used up its time.
    pub(crate) fn is_timeout(&self) -> bool {
        self.status == StatusCode::GATEWAY_TIMEOUT
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// The causes, outermost first, joined by `: `; for the log alone.
    pub(crate) fn causes(&self) -> Causes<'_> {
        Causes(self.cause.as_deref().map(|cause| cause as &dyn StdError))
    }

    /// The value of the `Allow` header, where there is one.
    pub(crate) fn allow(&self) -> Option<&'static str> {
        self.allow
    }

    /// Whether an HTTP/1.1 connection has to end with this response.
    pub(crate) fn closes_connection(&self) -> bool {
        self.closes_connection
    }
}

/// A chain of causes as one line.
pub(crate) struct Causes<'a>(Option<&'a dyn StdError>);

impl<'a> Causes<'a> {
    /// The last of them.
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
