//! Logs a failed request and creates its response.

use axum::http::StatusCode;

use crate::http::error::ApiError;
use crate::http::request::RequestContext;
use crate::http::response::{self, ApiResponse};

/// Returns the response to a failed request. The failure is logged only here: as one line with its whole chain
/// of causes, or in a count of equal failures.
pub(crate) fn respond(request: &RequestContext, error: &ApiError) -> ApiResponse {
    log(request, error);
    response::of_error(error)
}

fn log(request: &RequestContext, error: &ApiError) {
    let status = error.status().as_u16();
    let identity = request.identity();
    let identity = identity.as_ref().map(tracing::field::display);
    let (method, path, id) = (request.method.as_str(), request.path.shown(), request.id);
    let (message, cause) = (error.message(), error.causes());
    if error.status() >= StatusCode::INTERNAL_SERVER_ERROR {
        let Some(more) = request.app.failures.request_failed(error) else { return };
        let repeated = (more > 0).then_some(more);
        tracing::error!(request = id, method, path, identity, status, %cause, repeated, "{message}");
    } else {
        tracing::debug!(request = id, method, path, identity, status, %cause, "{message}");
    }
}
