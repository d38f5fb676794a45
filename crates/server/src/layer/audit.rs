//! A record for each request to an authenticated route, refusals included, written before the
//! answer leaves.

use std::time::Instant;

use axum::http::{Method, StatusCode};
use kes_types::wire::{AuditEvent, AuditRequest, AuditResponse};
use kes_types::{Clock, Timestamp};

use crate::app::App;
use crate::audit::AuditLog;
use crate::layer::trace::Trace;
use crate::live::Snapshot;
use crate::peer::Caller;
use crate::route::{Access, Route};

/// The status recorded for a caller that hung up before its answer.
const HUNG_UP: u16 = 499;

/// A request on its way into the audit log.
#[derive(Debug)]
pub(crate) struct Audited<'a>(Option<Pending<'a>>);

#[derive(Debug)]
struct Pending<'a> {
    log: &'a AuditLog,
    clock: &'a dyn Clock,
    to_stdout: bool,
    /// The request's number in the log.
    id: u64,
    method: Method,
    begun: Instant,
    time: Timestamp,
    request: AuditRequest,
}

/// Begins the record of a request. Nothing is built while nobody listens.
pub(crate) fn begin<'a>(
    app: &'a App,
    trace: &Trace,
    snapshot: &Snapshot,
    route: &Route,
    caller: &Caller,
) -> Audited<'a> {
    if route.access == Access::Open {
        return Audited(None);
    }
    let is_followed = app.audit.hub.count();
    let to_stdout = snapshot.audit_to_stdout;
    Audited((is_followed || to_stdout).then(|| Pending {
        log: &app.audit,
        clock: &*app.clock,
        to_stdout,
        id: trace.id(),
        method: trace.method().clone(),
        begun: app.clock.monotonic(),
        time: Timestamp::from(app.clock.now()),
        request: AuditRequest {
            ip: caller.ip.to_string(),
            path: trace.target().shown().to_owned(),
            identity: trace.identity(),
            proxy_ip: caller.proxy_ip.map(|ip| ip.to_string()),
        },
    }))
}

impl Audited<'_> {
    /// Writes the record. Waits for room where standard output is slow, within bounds.
    pub(crate) async fn finish(mut self, status: StatusCode) {
        // Until there is a place the record stays pending: should the caller hang up meanwhile, it
        // is written as that.
        let place = match &self.0 {
            Some(pending) if pending.to_stdout => pending.log.place().await,
            _ => None,
        };
        if let Some(pending) = self.0.take() {
            let taken = pending.clock.monotonic().saturating_duration_since(pending.begun);
            let time = u64::try_from(taken.as_nanos()).unwrap_or(u64::MAX);
            let event = pending.event(status.as_u16(), time);
            pending.log.hub.publish(&event, Some(pending.id));
            match place {
                Some(place) => place.write(&pending.method, &event),
                None if pending.to_stdout => pending.log.write_now(&pending.method, &event),
                None => {}
            }
        }
    }
}

impl Pending<'_> {
    fn event(&self, code: u16, time: u64) -> AuditEvent {
        let response = AuditResponse { code, time };
        AuditEvent { time: self.time, request: self.request.clone(), response, lost: 0 }
    }
}

impl Drop for Audited<'_> {
    fn drop(&mut self) {
        // The caller hung up: what it asked for may have been done all the same.
        if let Some(pending) = self.0.take() {
            let event = pending.event(HUNG_UP, 0);
            pending.log.hub.publish(&event, Some(pending.id));
            if pending.to_stdout {
                pending.log.write_now(&pending.method, &event);
            }
        }
    }
}
