//! Background clients, which run while other clients are measured.

use std::thread::{self, JoinHandle};

use http_body_util::BodyExt as _;
use kes_harness::{Credential, Proto, Server};
use tokio::sync::oneshot;

use crate::wire::{Prepared, Wire};

/// Scheduling priority of the audit log's subscriber: below the measured clients, high enough to
/// keep up.
const NICENESS: i32 = 5;

/// Runs a future on a thread of its own, on the clients' processor, with the scheduling priority
/// `nice`.
pub(crate) fn run<T: Send + 'static>(
    nice: i32,
    work: impl Future<Output = T> + Send + 'static,
) -> JoinHandle<T> {
    thread::spawn(move || {
        // On Linux the nice value belongs to the thread.
        let _ = rustix::process::nice(nice);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime can be made").block_on(work)
    })
}

/// A background client that subscribes to the audit log and discards its lines.
pub(crate) struct AuditSubscriber(JoinHandle<()>);

impl AuditSubscriber {
    /// Subscribes to `/v1/log/audit` of a server.
    pub(crate) async fn of(server: &Server, admin: &Credential) -> Self {
        let dialer = server.dial().show(admin);
        let (subscribed, is_subscribed) = oneshot::channel();
        let thread = run(NICENESS, async move {
            let mut wire = Wire::open(&dialer, Proto::H2).await;
            let response = wire.start(&Prepared::get("/v1/log/audit")).await;
            assert_eq!(response.status(), 200);
            let _ = subscribed.send(());
            let mut body = response.into_body();
            while let Some(Ok(_)) = body.frame().await {}
        });
        is_subscribed.await.expect("the server answers the subscription");
        Self(thread)
    }

    /// Asserts that the stream of the audit log has not ended.
    pub(crate) fn assert_subscribed(&self) {
        assert!(!self.0.is_finished(), "the audit log's stream has ended");
    }
}
