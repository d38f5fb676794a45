//! A record for each request to an authenticated route, refusals included, written before the
//! answer leaves.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use kes_config::AuditEvents;
use kes_types::Timestamp;
use kes_types::wire::{AuditEvent, AuditRequest, AuditResponse};

use crate::connection::peer::Caller;
use crate::http::layer::trace::Trace;
use crate::http::route::{Access, Route};
use crate::log::audit::AuditLog;
use crate::state::app::App;
use crate::state::snapshot::Snapshot;

/// The status recorded where the caller hung up and nothing is known of an outcome.
const HUNG_UP: u16 = 499;

/// A request on its way into the audit log.
#[derive(Debug)]
pub(crate) struct Audited<'a>(Option<Pending<'a>>);

#[derive(Debug)]
struct Pending<'a> {
    log: &'a AuditLog,
    to_stdout: bool,
    trace: &'a Trace,
    time: Timestamp,
    ip: Arc<str>,
    proxy_ip: Option<Arc<str>>,
}

/// Begins the record of a request. Nothing is built for events that nobody reads.
pub(crate) fn begin<'a>(
    app: &'a App,
    trace: &'a Trace,
    snapshot: &Snapshot,
    route: &Route,
    caller: &Caller,
) -> Audited<'a> {
    if route.access == Access::Open {
        return Audited(None);
    }
    let is_followed = app.audit.hub.count();
    let to_stdout = match snapshot.audit {
        AuditEvents::Off => false,
        AuditEvents::Changes => route.is_change,
        AuditEvents::All => true,
    };
    Audited((is_followed || to_stdout).then(|| Pending {
        log: &app.audit,
        to_stdout,
        trace,
        time: Timestamp::from(app.clock.now()),
        ip: Arc::clone(&caller.ip),
        proxy_ip: caller.proxy_ip.clone(),
    }))
}

impl Audited<'_> {
    /// Writes the record. Waits for room where standard output is slow, within bounds.
    pub(crate) async fn finish(mut self, status: StatusCode, taken: Duration) {
        // Until there is room the record stays pending: should the caller hang up meanwhile, it is
        // written as that.
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
        let event = AuditEvent {
            time: self.time,
            request: AuditRequest {
                ip: (&*self.ip).into(),
                path: self.trace.target().shown().into(),
                identity: self.trace.identity(),
                proxy_ip: self.proxy_ip.as_deref().map(Into::into),
            },
            response: AuditResponse { code, time },
            client_gone: self.trace.is_client_gone(),
            lost: 0,
        };
        self.log.hub.publish(&event, Some(self.trace.id()));
        if self.to_stdout {
            self.log.write(self.trace.method(), &event);
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
