//! Logs, followed live.

use super::Call;
use crate::error::Outcome;

/// `GET /v1/log/error`.
pub(crate) async fn error(call: Call) -> Outcome {
    let hub = &call.app.errors.0;
    hub.follow(&call.app.streams, call.permit.identity().copied(), &call.app.stop)
}

/// `GET /v1/log/audit`.
pub(crate) async fn audit(call: Call) -> Outcome {
    let hub = &call.app.audit.hub;
    hub.follow(&call.app.streams, call.permit.identity().copied(), &call.app.stop)
}
