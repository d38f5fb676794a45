//! A number for each request, and what the log says of one that failed.

use std::time::Instant;

use axum::http::{Method, StatusCode};
use kes_types::Identity;

use crate::connection::peer::Caller;
use crate::http::decoded_path::DecodedPath;
use crate::http::error::{ApiError, ApiResult};
use crate::http::response::ApiResponse;
use crate::log::failures::Failures;
use crate::state::app::App;
use crate::state::changes::Waiting;

/// A request in the log.
#[derive(Debug)]
pub(crate) struct Trace {
    id: u64,
    method: Method,
    target: DecodedPath,
    identity: Option<Identity>,
    begun: Instant,
    waiting: Waiting,
}

/// Numbers the request.
pub(crate) fn begin(
    app: &App,
    method: &Method,
    target: DecodedPath,
    caller: &Caller,
    waiting: Waiting,
) -> Trace {
    let identity = caller.subject.as_ref().ok().map(|subject| *subject.identity());
    Trace {
        id: app.next_request_id(),
        method: method.clone(),
        target,
        identity,
        begun: app.clock.monotonic(),
        waiting,
    }
}

impl Trace {
    /// The request's number.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    pub(crate) fn method(&self) -> &Method {
        &self.method
    }

    pub(crate) fn target(&self) -> &DecodedPath {
        &self.target
    }

    /// The caller, if it has one.
    pub(crate) fn identity(&self) -> Option<Identity> {
        self.identity
    }

    /// Whether the caller hung up before the change that it asked for ended.
    pub(crate) fn is_client_gone(&self) -> bool {
        self.waiting.has_ended()
    }

    /// When the request came.
    pub(crate) fn begun(&self) -> Instant {
        self.begun
    }

    /// Turns the outcome into an answer. A failure is logged here and nowhere below: one line,
    /// with its whole chain of causes, or a count of many alike.
    pub(crate) fn finish(&self, outcome: ApiResult, failures: &Failures) -> ApiResponse {
        match outcome {
            Ok(response) => response,
            Err(error) => {
                self.log(&error, failures);
                error.to_response()
            }
        }
    }

    fn log(&self, error: &ApiError, failures: &Failures) {
        let status = error.status().as_u16();
        let identity = self.identity.as_ref().map(tracing::field::display);
        let (request, method, path) = (self.id, self.method.as_str(), self.target.shown());
        let (message, cause) = (error.message(), error.causes());
        if error.status() >= StatusCode::INTERNAL_SERVER_ERROR {
            let Some(more) = failures.request_failed(error) else { return };
            let repeated = (more > 0).then_some(more);
            tracing::error!(request, method, path, identity, status, %cause, repeated, "{message}");
        } else {
            tracing::debug!(request, method, path, identity, status, %cause, "{message}");
        }
    }
}
