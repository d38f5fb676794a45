//! Handles the routes of the log streams.

use crate::http::request::RequestContext;
use crate::http::response::ApiResult;
use kes_policy::Permit;
use kes_types::wire::{AuditEvent, ErrorEvent};

/// `GET /v1/log/error`.
pub(crate) fn error(request: &RequestContext, permit: &Permit) -> ApiResult {
    let broadcast = &request.app.errors.0;
    let identity = permit.identity().copied();
    broadcast.follow::<ErrorEvent>(&request.app.streams, identity, request.id, &request.app.stop)
}

/// `GET /v1/log/audit`.
pub(crate) fn audit(request: &RequestContext, permit: &Permit) -> ApiResult {
    let broadcast = &request.app.audit.broadcast;
    let identity = permit.identity().copied();
    broadcast.follow::<AuditEvent<'_>>(
        &request.app.streams,
        identity,
        request.id,
        &request.app.stop,
    )
}
