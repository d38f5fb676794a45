//! Logs, followed live.

use kes_types::wire::{AuditEvent, ErrorEvent};

use super::Call;
use crate::http::error::ApiResult;

/// `GET /v1/log/error`.
pub(crate) fn error(call: Call) -> ApiResult {
    let hub = &call.app.errors.0;
    let identity = call.permit.identity().copied();
    hub.follow::<ErrorEvent>(&call.app.streams, identity, call.id, &call.app.stop)
}

/// `GET /v1/log/audit`.
pub(crate) fn audit(call: Call) -> ApiResult {
    let hub = &call.app.audit.hub;
    let identity = call.permit.identity().copied();
    hub.follow::<AuditEvent<'_>>(&call.app.streams, identity, call.id, &call.app.stop)
}
