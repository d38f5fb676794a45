//! Writes an audit event for each request to an authenticated route, before the response is sent.
//!
//! Refused requests are included.

use std::time::Duration;

use axum::http::StatusCode;
use kes_config::AuditEvents;
use kes_types::Timestamp;
use kes_types::wire::{AuditEvent, AuditRequest, AuditResponse};

use crate::http::request::RequestContext;
use crate::http::route::Access;
use crate::log::audit::AuditLog;

/// The status that is recorded if the client has disconnected and the outcome is unknown.
const CLIENT_DISCONNECTED: u16 = 499;

/// Writes the audit event of a request when it has finished, or when it is dropped.
#[derive(Debug)]
pub(super) struct Audited<'a>(Option<Pending<'a>>);

#[derive(Debug)]
struct Pending<'a> {
    log: &'a AuditLog,
    to_stdout: bool,
    request: &'a RequestContext,
    time: Timestamp,
}

/// Begins the audit event of a request. An event without a subscriber or output is not created.
pub(super) fn begin(request: &RequestContext) -> Audited<'_> {
    if request.route.route.access == Access::Open {
        return Audited(None);
    }
    let log = &request.app.audit;
    let is_followed = log.broadcast.count();
    let to_stdout = match request.snapshot.audit {
        AuditEvents::Off => false,
        AuditEvents::Changes => request.route.route.is_change,
        AuditEvents::All => true,
    };
    let pending = || {
        let time = Timestamp::from(request.app.clock.now());
        Pending { log, to_stdout, request, time }
    };
    Audited((is_followed || to_stdout).then(pending))
}

impl Audited<'_> {
    /// Writes the event. If standard output is slow, waits for space in the line buffer, for a limited time.
    pub(super) async fn finish(mut self, status: StatusCode, taken: Duration) {
        // While it waits the event stays pending: if the client disconnects, `drop` writes it.
        if let Some(pending) = &self.0
            && pending.to_stdout
        {
            pending.log.writable().await;
        }
        if let Some(pending) = self.0.take() {
            pending.write(status.as_u16(), taken);
        }
    }
}

impl Pending<'_> {
    fn write(&self, code: u16, taken: Duration) {
        let time = u64::try_from(taken.as_nanos()).unwrap_or(u64::MAX);
        let Self { log, request, .. } = self;
        let event = AuditEvent {
            time: self.time,
            request: AuditRequest {
                ip: (&*request.caller.ip).into(),
                path: request.path.shown().into(),
                identity: request.identity(),
                policy: request.caller.policy().map(|policy| policy.as_str().into()),
                proxy_ip: request.caller.proxy_ip.as_deref().map(Into::into),
            },
            response: AuditResponse { code, time },
            client_gone: request.waiting.has_ended(),
            lost: 0,
        };
        log.broadcast.publish(&event, Some(request.id));
        if self.to_stdout {
            log.write(&request.method, &event);
        }
    }
}

impl Drop for Audited<'_> {
    fn drop(&mut self) {
        // The client has disconnected, or a change was aborted by the end of the server.
        if let Some(pending) = self.0.take() {
            pending.write(CLIENT_DISCONNECTED, Duration::ZERO);
        }
    }
}
