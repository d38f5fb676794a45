//! Logs, followed live.

use super::Call;
use crate::error::Outcome;

/// `GET /v1/log/error`.
pub(crate) fn error(call: Call) -> Outcome {
    let hub = &call.app.errors.0;
    hub.follow(&call.app.streams, call.permit.identity().copied(), call.id, &call.app.stop)
}

/// `GET /v1/log/audit`.
pub(crate) fn audit(call: Call) -> Outcome {
    let hub = &call.app.audit.hub;
    hub.follow(&call.app.streams, call.permit.identity().copied(), call.id, &call.app.stop)
}
