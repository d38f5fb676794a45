//! Writes an audit record for each request to an authenticated route, refusals included, before its response is
//! sent.

use std::time::Duration;

use axum::http::StatusCode;
use kes_config::AuditEvents;
use kes_types::Timestamp;
use kes_types::wire::{AuditEvent, AuditRequest, AuditResponse};

use crate::http::request::RequestContext;
use crate::http::route::Access;
use crate::log::audit::AuditLog;

/// The status recorded where the caller hung up and nothing is known of an outcome.
const HUNG_UP: u16 = 499;

/// A request on its way into the audit log.
#[derive(Debug)]
pub(super) struct Audited<'a>(Option<Pending<'a>>);

#[derive(Debug)]
struct Pending<'a> {
    log: &'a AuditLog,
    to_stdout: bool,
    request: &'a RequestContext,
    time: Timestamp,
}

/// Begins the record of a request. Nothing is built for events that have no reader.
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
    let time = Timestamp::from(request.app.clock.now());
    Audited((is_followed || to_stdout).then_some(Pending { log, to_stdout, request, time }))
}

impl Audited<'_> {
    /// Writes the record. Waits for capacity where standard output is slow, within bounds.
    pub(super) async fn finish(mut self, status: StatusCode, taken: Duration) {
        // Until there is capacity the record stays pending: if the caller disconnects meanwhile, it is written as
        // such.
        if let Some(pending) = &self.0
            && pending.to_stdout
        {
            pending.log.room().await;
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
        // The caller hung up, or a change was cut off by the end of the server.
        if let Some(pending) = self.0.take() {
            pending.write(HUNG_UP, Duration::ZERO);
        }
    }
}
